"""Measures every candidate: the answer that the other methods are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import best_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Measure, Problem


def strongman(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """All candidates at once (Couper, section 5.4, figure 8a)."""
    measures = yield Ask(tuple(candidate.key for candidate in problem.candidates))
    return Choice(best_of(measures, problem.objective).key, f"the best of all {len(measures)} measured")
