"""Scission's search (L. Lockhart et al., UCC 2020): sums of what was timed in isolation, of which the best is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.estimate import estimate
from slicebed.split.search.objective import best_of, error, score
from slicebed.split.search.options import read
from slicebed.split.search.registry import with_profiles

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Measure, Problem


@with_profiles
def scission(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """The candidate with the best sum of isolated compute times and transfers; it alone is measured. No options.

    Raises:
        SpecError: a candidate has no profile behind it.
    """
    read(problem, {})
    objective = problem.objective
    scores = {}
    for candidate in problem.candidates:
        if len(candidate.compute_s) != len(candidate.hosts):
            raise SpecError(f"{candidate.key} has no times from profiles", mend="let the hosts be profiled first")
        scores[candidate.key] = score(objective, estimate(candidate, candidate.compute_s, problem.rate_per_s))
    best = min(scores, key=lambda key: (scores[key], key))
    measures = yield Ask((best,))
    found = score(objective, best_of(measures, objective).figures)
    return Choice(
        best,
        f"the best of {len(scores)} by times in isolation",
        error=error(objective, scores[best], found),
    )
