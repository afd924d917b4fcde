"""The candidates that are not beaten in two metrics at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.spec.objective import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.split.search.contracts import Measure


def non_dominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points that no other beats, less being better.

    A point beats another where it is no worse in both and better in one, so that equal points stay together. A point
    that holds no number is left out.

    Returns:
        In ascending order of the first coordinate; equal points in the order given.
    """
    front: list[int] = []
    numbers = [at for at, point in enumerate(points) if not any(math.isnan(coordinate) for coordinate in point)]
    for at in sorted(numbers, key=lambda at: points[at]):
        # Of what came before, none is worse in the first; the last kept is the lowest in the second.
        if not front or points[at][1] < points[front[-1]][1] or points[at] == points[front[-1]]:
            front.append(at)
    return front


def front(measures: Sequence[Measure], first: str, second: str) -> tuple[Measure, ...]:
    """The measures that no other beats in two metrics, from the best in `first` to the best in `second`.

    A candidate without one of the two (none of its frames came through) is left out.

    Raises:
        SpecError: there is no such metric, both are the same, or no candidate has one of them.
    """
    if first == second:
        raise SpecError(f"{first} against itself has no front", where="--pareto", mend="name two metrics")
    for metric in (first, second):
        if metric not in METRICS:
            raise SpecError(f'"{metric}" is no metric', where="--pareto", mend=f"allowed: {', '.join(METRICS)}")
        if measures and not any(metric in measure.figures for measure in measures):
            raise SpecError(f"{metric} was not measured", where="--pareto", mend="name another metric")
    whole = [measure for measure in measures if first in measure.figures and second in measure.figures]
    points = [(_less_is_better(measure, first), _less_is_better(measure, second)) for measure in whole]
    return tuple(whole[at] for at in non_dominated(points))


def _less_is_better(measure: Measure, metric: str) -> float:
    figure = measure.figures[metric].value
    return -figure if metric == "throughput" else figure
