"""Segments: everything between neighbouring boundaries prepared once, a slice is a chain of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.slicer.candidates.fed_weights import FedWeights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.candidates.interface import Run
    from benchmarks.slicer.candidates.plan import Part, Plan

    from slicebed_agent.model.execute.tensors import Array


class Segments:
    """One executor; a session for each segment. The whole is one slice, which segments are compared with."""

    def __init__(self, plan: Plan) -> None:
        """Read the graph's structure."""
        self._plan = plan
        self._fed = FedWeights(plan)
        self._ready: dict[Part, Run] = {}

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """See `Candidate.prepare`; a segment that an earlier part has prepared is taken as it is."""
        if part == self._plan.whole:
            return self._fed.prepare(part, example)
        chain: list[Run] = []
        arrays = tuple(example)
        for segment in between(self._plan.segments, part):
            if segment not in self._ready:
                self._ready[segment] = self._fed.prepare(segment, arrays)
            chain.append(self._ready[segment])
            arrays = chain[-1](arrays)

        def run(arrays: Sequence[Array]) -> tuple[Array, ...]:
            for each in chain:
                arrays = each(arrays)
            return tuple(arrays)

        return run


def between(segments: Sequence[Part], part: Part) -> Sequence[Part]:
    """The segments that a part consists of.

    Raises:
        ValueError: it does not begin and end at boundaries of segments.
    """
    first = [segment.feeds for segment in segments].index(part.feeds)
    last = [segment.fetches for segment in segments].index(part.fetches)
    return segments[first : last + 1]
