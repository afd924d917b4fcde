"""Candidates along the model, and what their transfers take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.split.search.objective import came_through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.split.search.contracts import Candidate, Measure


def transfer_s(candidate: Candidate) -> float:
    """Seconds that a frame is under way: half the round trip of each link, and its bytes at the link's rate.

    Links are taken as asked, bytes as `Boundary.sent_bytes` has them; what a codec takes to encode is not counted.
    """
    return sum(
        boundary.rtt_s / 2 + (boundary.sent_bytes * 8 / boundary.rate_bit_per_s if boundary.rate_bit_per_s else 0)
        for boundary in candidate.boundaries
    )


def walks(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates that differ in their cut alone, each list from the model's input to its output.

    Of several split points the last goes through the model first, then the one before it moves on, and so forth.
    """
    found: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in candidates:
        knobs = tuple(sorted(candidate.knobs.items()))
        found.setdefault((candidate.placement, candidate.hosts, candidate.codec, knobs), []).append(candidate)
    return [sorted(walk, key=lambda candidate: candidate.places) for walk in found.values()]


def computed_s(candidate: Candidate, measure: Measure) -> tuple[float, ...]:
    """Seconds that each slice of a candidate was measured to take its host; () where no frame came through.

    Raises:
        SpecError: frames came through, and yet a slice has no time.
    """
    if not came_through(measure.figures):
        return ()
    if len(measure.compute_s) != len(candidate.hosts):
        raise SpecError(
            f"{candidate.key}: of {len(candidate.hosts)} slices, {len(measure.compute_s)} have times of computing",
            mend="use a method that needs none: strongman, comm-slim",
        )
    return measure.compute_s
