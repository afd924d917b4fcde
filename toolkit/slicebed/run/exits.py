"""Early exits: the heads that an experiment names, looked up, and held against the cuts that they follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.run.files import read_run_file
from slicebed.split.model import open_source
from slicebed_agent.errors import AgentError
from slicebed_agent.model.exit_card import HeadCard, card_of
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.run.files import RunFile
    from slicebed.spec.cuts import Cut
    from slicebed.spec.experiment import Experiment
    from slicebed.spec.pipeline import Exit
    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.graph import Tensor

Shapes = tuple[tuple[str, tuple[int | None, ...] | None], ...]


@dataclass(frozen=True)
class Head:
    """An early exit's model: its file, what it is fed and what it answers with."""

    exit: Exit
    file: RunFile
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]


def heads_of(
    experiment: Experiment, opened: OpenedModel, boundaries: Mapping[Cut, tuple[tuple[str, ...], ...]]
) -> dict[Cut, dict[int, Head]]:
    """The early exits of every cut, by the slice that they follow, counted from 0.

    An exit after a named split point is part of the cuts that have it; one after a numbered slice is part of all that
    have so many, and must fit each.

    Raises:
        SpecError: a head cannot be opened, has not one answer, or was trained on other weights; or a boundary is not
            what it is fed.
        AgentConfigError: a head's card is damaged.
    """
    found: dict[Cut, dict[int, Head]] = {}
    for each in experiment.pipeline.exits:
        head, wanted = _opened(each)
        _require_weights(each, opened)
        for cut in boundaries:
            tier = _tier(each, cut)
            if tier is None:
                continue
            given = _shapes(opened, boundaries[cut][tier + 1])
            if not _fit(wanted, given):
                fed = f"{head.file.name} is fed {_told(wanted)}"
                raise SpecError(
                    f"{fed}, slice {tier + 1} of cut {cut.label} gives {_told(given)}",
                    where=each.place,
                    mend="name the split point that the head was trained on",
                )
            if tier in found.setdefault(cut, {}):
                raise SpecError(f"a second exit after slice {tier + 1} of cut {cut.label}", where=each.place)
            found[cut][tier] = head
    return found


def _opened(each: Exit) -> tuple[Head, Shapes]:
    """A head, and the tensors that it is fed."""
    try:
        model = open_source(ModelSource(str(each.head)))
    except (AgentError, SpecError) as error:
        error.where = ": ".join(filter(None, (each.place, error.where)))
        raise
    if len(model.graph.outputs) != 1:
        what = f"an exit's head has one answer, {each.head} has {len(model.graph.outputs)}"
        raise SpecError(what, where=each.place, mend="see slicebed-agent train-exit")
    card = model.frozen.card
    head = Head(each, read_run_file(each.head, where=each.place), tuple(model.graph.inputs), tuple(model.graph.outputs))
    return head, tuple((tensor.dtype, tensor.shape) for tensor in card.inputs)


def _require_weights(each: Exit, opened: OpenedModel) -> None:
    """Refuse a head that was trained on other weights, as far as its card says: its answers would be noise."""
    path = card_of(each.head)
    if not path.is_file():
        return
    card = HeadCard.from_json(path.read_text(encoding="utf-8"), where=f"{each.place}: {path}")
    misfit = card.misfit(opened.frozen.card, opened.frozen.graph_sha256())
    if misfit is not None:
        raise SpecError(
            f"{each.head.name} was {misfit}", where=each.place, mend="train a head on these: slicebed-agent train-exit"
        )


def _tier(each: Exit, cut: Cut) -> int | None:
    """The slice of a cut that an exit follows; None where it follows none. The last slice's answer is no early one."""
    if isinstance(each.after, int):
        return each.after - 1 if each.after <= len(cut.points) else None
    points = [str(point) for point in cut.points]
    return points.index(each.after) if each.after in points else None


def _shapes(opened: OpenedModel, boundary: tuple[str, ...]) -> Shapes:
    tensors: dict[str, Tensor] = {tensor.name: tensor for each in opened.graph.operators for tensor in each.outputs}
    return tuple((tensors[name].dtype, tensors[name].shape) if name in tensors else ("?", None) for name in boundary)


def _fit(wanted: Shapes, given: Shapes) -> bool:
    """Whether tensors are what a head is fed, as far as both are known; the batch is free."""
    if len(wanted) != len(given):
        return False
    return all(
        dtype == its_dtype and _same_sizes(shape, its_shape)
        for (dtype, shape), (its_dtype, its_shape) in zip(wanted, given, strict=True)
    )


def _same_sizes(one: tuple[int | None, ...] | None, other: tuple[int | None, ...] | None) -> bool:
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(
        None in pair or pair[0] == pair[1] for pair in zip(one[1:], other[1:], strict=True)
    )


def _told(shapes: Shapes) -> str:
    return ", ".join(
        f"{dtype} {'?' if shape is None else 'x'.join('?' if size is None else str(size) for size in shape)}"
        for dtype, shape in shapes
    )
