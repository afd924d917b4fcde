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
    """One cut at a time from the model's input, until a host computes longer than the last one; no options."""
    read(problem, {})
    measures = yield from until_edge_is_slower(problem.candidates)
    return Choice(
        best_of(measures, problem.objective).key,
        f"the best of {len(measures)} measured from the input on, until a host computed longer than the last",
    )


def until_edge_is_slower(candidates: Sequence[Candidate]) -> Generator[Ask, Sequence[Measure], list[Measure]]:
    """Measure along the model; placements, codecs and knobs are walked beside each other.

    Couper has an edge, a cloud and one split point: behind the one at which the edge is the slower, the edge has more
    to compute and the cloud less, so none is tried. With several split points the same holds of each host before the
    last: once it took longer than the last one, no cut is tried in which it has that slice, and perhaps more, and the
    last host no more than then. The cut that shows it is measured, and counts. One that cannot be measured is passed.

    Returns:
        What was measured.

    Raises:
        SpecError: a measure does not say how long each host computed.
    """
    found: list[Measure] = []
    ahead = walks(candidates)
    while ahead:
        measures = {measure.key: measure for measure in (yield Ask(tuple(walk[0].key for walk in ahead)))}
        found += measures.values()
        ahead = [left for walk in ahead if (left := _left(walk, measures.get(walk[0].key)))]
    return found


def _left(walk: Sequence[Candidate], measure: Measure | None) -> list[Candidate]:
    """What of a walk is still to be tried, by the measure of its first cut."""
    first, *rest = walk
    # Where no frame came through, who was the slower one is not known; of a whole model there is one host alone.
    times = () if measure is None or not first.cut else computed_s(first, measure)
    slower = [tier for tier, seconds in enumerate(times[:-1]) if seconds > times[-1]]
    return [candidate for candidate in rest if not any(_is_slower_still(candidate, first, tier) for tier in slower)]


def _is_slower_still(candidate: Candidate, first: Candidate, tier: int) -> bool:
    """Whether all that a slice has in one cut is in it here, and the last slice has no more than there."""
    begins, began = (0, *candidate.places)[tier], (0, *first.places)[tier]
    return begins <= began and candidate.places[tier] >= first.places[tier] and candidate.places[-1] >= first.places[-1]
