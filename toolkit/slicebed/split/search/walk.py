"""Candidates along the model, and what their transfers take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.split.search.objective import came_through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.split.search.contracts import Candidate, Measure


def transfer_s(candidate: Candidate) -> float:
    """Seconds that a frame is under way: half the round trip of each link, and its bytes at the link's rate."""
    return sum(
        boundary.rtt_s / 2 + (boundary.bytes_per_frame * 8 / boundary.rate_bit_per_s if boundary.rate_bit_per_s else 0)
        for boundary in candidate.boundaries
    )


def walks(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates that differ in their cut alone, each list from the model's input to its output."""
    found: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in candidates:
        knobs = tuple(sorted(candidate.knobs.items()))
        found.setdefault((candidate.placement, candidate.hosts, candidate.codec, knobs), []).append(candidate)
    return [sorted(walk, key=lambda candidate: candidate.place) for walk in found.values()]


def computed_s(candidate: Candidate, measure: Measure) -> tuple[float, ...]:
    """Seconds that each host of a candidate was measured to compute; () where no frame came through.

    Raises:
        SpecError: frames came through, and yet a host has no time.
    """
    if not came_through(measure.figures):
        return ()
    if len(measure.compute_s) != len(candidate.hosts):
        raise SpecError(
            f"{candidate.key}: of {len(candidate.hosts)} hosts, {len(measure.compute_s)} said how long they computed",
            mend="use a method that needs none: strongman, comm-slim",
        )
    return measure.compute_s
