"""After Neurosurgeon (Y. Kang et al., ASPLOS 2017): regressions of compute times, bytes over the rate, the best sum.

There, of each device and kind of layer, a regression of the layer's time on its configuration, fitted to layers that
were timed one by one on that device beforehand. Here, of each host, one line of a slice's time over the slice's
floating point operations, fitted to a few cuts that are measured: a slice mixes kinds of layers, and more unknowns than
a line has could not be told from so few cuts.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from slicebed.errors import RunError, SpecError
from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.estimate import estimate
from slicebed.split.search.objective import best_of, error, score
from slicebed.split.search.options import Kind, count, read
from slicebed.split.search.walk import computed_s, walks

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Candidate, Measure, Problem


def neurosurgeon(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """A few cuts of each placement, spread along the model; then the one that the fitted lines put first.

    The time of each of its slices is a straight line over the slice's floating point operations. Option ``fit``: cuts
    measured for the lines of one placement with one setting of the knobs (3). Codecs share them.

    Raises:
        SpecError: nobody says how many operations a slice has, or a measure how long it took.
    """
    fit = count(read(problem, {"fit": Kind.COUNT}), "fit", 3)
    objective = problem.objective
    if unknown := [candidate for candidate in problem.candidates if len(candidate.flops) != len(candidate.hosts)]:
        raise SpecError(f"{unknown[0].key} has no FLOPs of its slices", mend="give each candidate its flops")
    groups = _sharing_lines(problem.candidates)
    wanted = [candidate.key for group in groups for candidate in _spread(group, fit)]
    measures = {measure.key: measure for measure in (yield Ask(tuple(wanted)))}
    scores = {}
    for group in groups:
        measured = [(c.flops, computed_s(c, measures[c.key])) for c in group if c.key in measures]
        known = [zip(flops, seconds, strict=True) for flops, seconds in measured if seconds]
        by_slice = list(zip(*known, strict=True))
        for candidate in group if known else ():
            times = [_line(points, flops) for points, flops in zip(by_slice, candidate.flops, strict=True)]
            scores[candidate.key] = score(objective, estimate(candidate, times, problem.rate_per_s))
    if not scores:
        raise RunError("none of the cuts for the regressions could be measured", mend="see why their runs failed")
    best = min(scores, key=lambda key: (scores[key], key))
    if best not in measures:
        measures |= {measure.key: measure for measure in (yield Ask((best,)))}
    return Choice(
        best_of(measures.values(), objective).key,
        f"the best of {len(measures)} measured; the lines through them put {best} first",
        error=error(objective, scores[best], score(objective, measures[best].figures)) if best in measures else None,
    )


def _sharing_lines(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    groups: dict[tuple[object, ...], list[Candidate]] = {}
    for walk in walks(candidates):
        first = walk[0]
        groups.setdefault((first.placement, first.hosts, tuple(sorted(first.knobs.items()))), []).extend(walk)
    return list(groups.values())


def _spread(group: Sequence[Candidate], fit: int) -> list[Candidate]:
    """The first, the last and some between, of the first codec."""
    walk = [candidate for candidate in group if candidate.codec == group[0].codec]
    if fit >= len(walk):
        return walk
    return [walk[round(at * (len(walk) - 1) / max(1, fit - 1))] for at in range(fit)]


def _line(known: Sequence[tuple[int, float]], flops: int) -> float:
    """The least-squares line at a number of operations, never below 0; the mean where all had equally many."""
    work, times = zip(*known, strict=True)
    if len(set(work)) < 2:
        return statistics.fmean(times)
    slope, intercept = statistics.linear_regression(work, times)
    return max(0.0, intercept + slope * flops)
