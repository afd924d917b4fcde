"""After Neurosurgeon (Y. Kang et al., ASPLOS 2017): regressions of compute times, bytes over the rate, the best sum.

There the regressions are over layers of other models; here, over a few measured cuts of this one.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from slicebed.errors import RunError
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

    Each host's compute time is a straight line over the place of the cut. Option ``fit``: cuts measured for the lines
    of one placement with one setting of the knobs (3). Codecs share them.

    Raises:
        SpecError: a measure does not say how long each host computed.
    """
    fit = count(read(problem, {"fit": Kind.COUNT}), "fit", 3)
    objective = problem.objective
    groups = _sharing_lines(problem.candidates)
    wanted = [candidate.key for group in groups for candidate in _spread(group, fit)]
    measures = {measure.key: measure for measure in (yield Ask(tuple(wanted)))}
    scores = {}
    for group in groups:
        measured = [(c.place, computed_s(c, measures[c.key])) for c in group if c.key in measures]
        known = [(place, seconds) for place, seconds in measured if seconds]
        for candidate in group if known else ():
            hosts = range(len(candidate.hosts))
            times = [_line([(place, seconds[host]) for place, seconds in known], candidate.place) for host in hosts]
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


def _line(known: Sequence[tuple[int, float]], place: int) -> float:
    """The least-squares line at a place, never below 0; the mean where all were measured at one place."""
    places, times = zip(*known, strict=True)
    if len(set(places)) < 2:
        return statistics.fmean(times)
    slope, intercept = statistics.linear_regression(places, times)
    return max(0.0, intercept + slope * place)
