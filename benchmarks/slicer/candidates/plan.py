"""What every candidate is asked to run: the whole model and cuts of it in three slices, the same for all."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.slicer.chosen import boundaries, drawn, thirds

from slicebed.split.model import open_source
from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.cuts.layers import layer_points
from slicebed_agent.model.execute.slice import Boundary
from slicebed_agent.model.profile.boundaries import ProfiledExecutor, fusion_safe
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.graph import Graph, SplitPoint

# With one tensor these two have 8 cuts, all at their ends; with more, there are cuts at thirds of the work.
MAX_TENSORS: Final = {"nasnet_large": 3, "pnasnet5_large": 3}
_DRAWN: Final = 2


@dataclass(frozen=True)
class Part:
    """What lies between two boundaries.

    Attributes:
        feeds: tensors that enter.
        fetches: tensors that leave; those that are fed too pass through.
        needed: of the feeds, those that something is computed from.
        computed: of the fetches, those that are not fed.
    """

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    needed: tuple[str, ...]
    computed: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        model: of the zoo.
        path: of its frozen GraphDef.
        inputs: name, dtype and shape of what a frame is fed to.
        whole: from the inputs to the outputs.
        cuts: each in three parts; the first is at thirds of the work, the others are drawn.
        segments: parts between all neighbouring boundaries at which the whole is not fused, layers' outputs or not.
        layers: the layer that returns a tensor, of those that cross a cut.
        seed: of the frame and of what is drawn.
    """

    model: str
    path: str
    inputs: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    whole: Part
    cuts: tuple[tuple[Part, ...], ...]
    segments: tuple[Part, ...]
    layers: dict[str, str]
    seed: int

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """A plan from what `to_json` wrote."""
        row: dict[str, Any] = json.loads(text)
        return cls(
            **{
                **row,
                "inputs": tuple((name, dtype, tuple(shape)) for name, dtype, shape in row["inputs"]),
                "whole": _read(row["whole"]),
                "cuts": tuple(tuple(_read(part) for part in cut) for cut in row["cuts"]),
                "segments": tuple(_read(part) for part in row["segments"]),
            }
        )

    def entrances(self) -> tuple[Boundary, ...]:
        """What a frame is fed to, for `check.seeded_frame`."""
        return tuple(Boundary(name, np.dtype(dtype), shape) for name, dtype, shape in self.inputs)


def part(graph: Graph, feeds: Sequence[str], fetches: Sequence[str]) -> Part:
    """What has to be computed between two boundaries, and from which of the feeds.

    Args:
        graph: at operator level.
        feeds: names of the tensors that enter.
        fetches: names of those that leave.
    """
    makers = {tensor.name: operator for operator in graph.operators for tensor in operator.outputs}
    computed = [name for name in fetches if name not in feeds]
    waiting, seen = list(computed), set(computed)
    while waiting:
        name = waiting.pop()
        sources = () if name in feeds else makers[name].inputs
        waiting.extend(set(sources) - seen)
        seen.update(sources)
    return Part(tuple(feeds), tuple(fetches), tuple(name for name in feeds if name in seen), tuple(computed))


def parts(graph: Graph, points: Sequence[SplitPoint]) -> tuple[Part, ...]:
    """The parts between split points, from the model's inputs to its outputs."""
    return tuple(part(graph, feeds, fetches) for feeds, fetches in pairwise(boundaries(graph, points)))


def plan(opened: OpenedModel, seed: int) -> Plan:
    """Choose cuts that every candidate can run: at the outputs of layers, where the whole is not fused.

    Args:
        opened: the model.
        seed: draws the cuts behind the first, and the frame.

    Raises:
        ValueError: the model has fewer than two such places.
    """
    graph, card = opened.graph, opened.frozen.card
    points = split_points(graph, "exact", MAX_TENSORS.get(opened.name, 1))
    with ProfiledExecutor(opened.frozen.path) as executor:
        safe = fusion_safe(executor, graph, points)
    returned = {layer.outputs[0]: layer.name for layer in reversed(card.layers) if len(layer.outputs) == 1}
    at_layers = {point.position for point in layer_points(graph, points)}
    eligible = [
        point
        for point in safe
        if point.position in at_layers and all(tensor.name in returned for tensor in point.tensors)
    ]
    cuts = [thirds(eligible), *drawn(eligible, _DRAWN, seed)]
    crossing = {tensor.name for cut in cuts for point in cut for tensor in point.tensors}
    return Plan(
        model=opened.name,
        path=str(opened.frozen.path),
        inputs=tuple((each.name, each.dtype, each.shape or ()) for each in card.inputs),
        whole=part(graph, graph.inputs, graph.outputs),
        cuts=tuple(parts(graph, cut) for cut in cuts),
        segments=parts(graph, safe),
        layers={name: returned[name] for name in sorted(crossing)},
        seed=seed,
    )


def _read(row: dict[str, Any]) -> Part:
    return Part(**{key: tuple(names) for key, names in row.items()})


if __name__ == "__main__":
    made = plan(open_source(ModelSource(sys.argv[1])), int(sys.argv[2]))
    sys.stdout.write(made.to_json() + "\n")
