"""Which run comes when: a pure plan that is the same every time for the same experiment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from slicebed.errors import SpecError
from slicebed.spec.experiment import MAX_FRAMES, Configuration, Cut, Experiment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")


@dataclass(frozen=True)
class PlannedRun:
    """One cut under one configuration; ``repeat`` counts from 1 and ``run_id`` is like ``c1_1-8_r1``."""

    run_id: str
    configuration: Configuration
    cut: Cut
    repeat: int
    frames: int


def plan_runs(
    experiment: Experiment,
    configuration_names: Iterable[str] | None = None,
    cut_labels: Iterable[str] | None = None,
    frames: int | None = None,
) -> tuple[PlannedRun, ...]:
    """Put the runs of an experiment in order.

    A configuration is a block, so that conditions change between configurations only. With ``order.randomised`` the
    blocks are shuffled, and inside each block every repeat shuffles the cuts anew; otherwise all follow the file.
    A part of the experiment keeps the order that its runs have in the whole.

    Args:
        experiment: the validated experiment.
        configuration_names: only these configurations; None means all.
        cut_labels: only these cuts; None means all.
        frames: frames of every run instead of the experiment's.

    Raises:
        SpecError: a configuration or cut that the experiment lacks, or a count of frames out of range.
    """
    names = _chosen("configuration", configuration_names, [each.name for each in experiment.configurations])
    labels = _chosen("cut", cut_labels, [cut.label for cut in experiment.cuts])
    count = experiment.frames if frames is None else frames
    if not 1 <= count <= MAX_FRAMES:
        raise SpecError(f"{count} frames are out of range", mend=f"allowed: 1 to {MAX_FRAMES}")
    # A repeatable shuffle is wanted here, not a secret one.
    shuffle = random.Random(experiment.order.seed)  # noqa: S311

    def ordered(items: Sequence[T]) -> list[T]:
        return shuffle.sample(items, len(items)) if experiment.order.randomised else list(items)

    whole = [
        PlannedRun(f"c{configuration.name}_{cut.label}_r{repeat}", configuration, cut, repeat, count)
        for configuration in ordered(experiment.configurations)
        for repeat in range(1, experiment.repeats + 1)
        for cut in ordered(experiment.cuts)
    ]
    return tuple(run for run in whole if run.configuration.name in names and run.cut.label in labels)


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
