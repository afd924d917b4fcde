"""Goes along the model until the edge is slower than the cloud (Couper, section 5.4, figure 8c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import best_of
from slicebed.split.search.options import read
from slicebed.split.search.walk import computed_s, walks

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Candidate, Measure, Problem


def early_stop(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """One cut at a time from the model's input, until the first host computes longer than the last; no options."""
    read(problem, {})
    measures = yield from until_edge_is_slower(problem.candidates)
    return Choice(
        best_of(measures, problem.objective).key,
        f"the best of {len(measures)} measured from the input on, until the first host computed longer than the last",
    )


def until_edge_is_slower(candidates: Sequence[Candidate]) -> Generator[Ask, Sequence[Measure], list[Measure]]:
    """Measure along the model; placements, codecs and knobs are walked beside each other.

    The cut at which the first host is the slower one is measured, and counts. One that cannot be measured is passed.

    Returns:
        What was measured.

    Raises:
        SpecError: a measure does not say how long each host computed.
    """
    found: list[Measure] = []
    ahead = [list(reversed(walk)) for walk in walks(candidates)]
    while ahead:
        now = [walk.pop() for walk in ahead]
        measures = {measure.key: measure for measure in (yield Ask(tuple(candidate.key for candidate in now)))}
        found += measures.values()
        overloaded = {candidate.key for candidate in now if _overloaded(candidate, measures.get(candidate.key))}
        ahead = [walk for walk, candidate in zip(ahead, now, strict=True) if walk and candidate.key not in overloaded]
    return found


def _overloaded(candidate: Candidate, measure: Measure | None) -> bool:
    if measure is None or len(candidate.hosts) < 2:
        return False
    # Where no frame came through, who was the slower one is not known.
    times = computed_s(candidate, measure)
    return bool(times) and times[0] > times[-1]
