"""Which run comes when: a pure plan that is the same every time for the same experiment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from slicebed.errors import SpecError
from slicebed.spec.experiment import MAX_FRAMES, Configuration, Cut, Experiment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slicebed.spec.pipeline import Placement

T = TypeVar("T")


@dataclass(frozen=True)
class PlannedRun:
    """One cut of one placement under one configuration; ``repeat`` counts from 1.

    ``run_id`` is like ``c1_1-8_r1``, of a placement with a name like ``ctestbed_sliced_1-8_r1``. ``apart`` is what else
    differs between the runs of a search: model, codec, knobs.
    """

    run_id: str
    configuration: Configuration
    cut: Cut
    repeat: int
    frames: int
    placement: Placement
    apart: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Placement and cut, as far as they have a name, and what else tells it apart, for whoever waits."""
        cut = f"cut {self.cut.label}" if self.cut.points else ""
        placed = f"placement {self.placement.name}" if self.placement.name else ""
        return ", ".join(filter(None, (placed, cut, *self.apart)))


def plan_runs(
    experiment: Experiment,
    configuration_names: Iterable[str] | None = None,
    cut_labels: Iterable[str] | None = None,
    frames: int | None = None,
) -> tuple[PlannedRun, ...]:
    """Put the runs of an experiment in order.

    A configuration is a block, so that conditions change between configurations only. With ``order.randomised`` the
    blocks are shuffled, and inside each block every repeat shuffles placements and cuts anew; otherwise all follow the
    file. A part of the experiment keeps the order that its runs have in the whole.

    Args:
        experiment: the validated experiment.
        configuration_names: only these configurations; None means all.
        cut_labels: only these cuts; None means all.
        frames: frames of every run instead of the experiment's.

    Raises:
        SpecError: a configuration or cut that the experiment lacks, or a count of frames out of range.
    """
    names = _chosen("configuration", configuration_names, [each.name for each in experiment.configurations])
    labels = _chosen("cut", cut_labels, [cut.label for cut in experiment.every_cut])
    count = experiment.frames if frames is None else frames
    if not 1 <= count <= MAX_FRAMES:
        raise SpecError(f"{count} frames are out of range", mend=f"allowed: 1 to {MAX_FRAMES}")
    # A repeatable shuffle is wanted here, not a secret one.
    shuffle = random.Random(experiment.order.seed)  # noqa: S311

    def ordered(items: Sequence[T]) -> list[T]:
        return shuffle.sample(items, len(items)) if experiment.order.randomised else list(items)

    pairs = [(placement, cut) for placement in experiment.every_placement for cut in placement.cuts]
    whole = [
        PlannedRun(_run_id(configuration, placement, cut, repeat), configuration, cut, repeat, count, placement)
        for configuration in ordered(experiment.configurations)
        for repeat in range(1, experiment.repeats + 1)
        for placement, cut in ordered(pairs)
    ]
    return tuple(run for run in whole if run.configuration.name in names and run.cut.label in labels)


def _run_id(configuration: Configuration, placement: Placement, cut: Cut, repeat: int) -> str:
    words = [f"c{configuration.name}", placement.name, cut.label, f"r{repeat}"]
    return "_".join(word for word in words if word)


def _chosen(kind: str, asked: Iterable[str] | None, known: list[str]) -> frozenset[str]:
    if asked is None:
        return frozenset(known)
    chosen = frozenset(asked)
    unknown = sorted(chosen - set(known))
    if unknown:
        raise SpecError(f'unknown {kind} "{unknown[0]}"', mend=f"allowed: {', '.join(known)}")
    if not chosen:
        raise SpecError(f"no {kind} chosen", mend=f"allowed: {', '.join(known)}")
    return chosen
