"""What a candidate is to the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from slicebed_agent.model.execute.tensors import Array

if TYPE_CHECKING:
    from benchmarks.slicer.candidates.plan import Part, Plan

Run = Callable[[Sequence[Array]], tuple[Array, ...]]
# The first run rewrites the graph and builds kernels, the second sizes their buffers.
_WARM_RUNS: Final = 2


class Candidate(Protocol):
    """A loaded model, of which parts can be prepared. Made from a `Plan`."""

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """Make a part ready to run at full speed.

        Args:
            part: to run.
            example: an array for each of its feeds.

        Returns:
            What takes an array for each feed and returns one for each fetch.
        """


Opener = Callable[["Plan"], Candidate]


def warmed(part: Part, compute: Run, example: Sequence[Array]) -> Run:
    """A part run twice and ready.

    Args:
        part: to run.
        compute: takes an array for each tensor that is needed, returns one for each that is computed.
        example: an array for each feed.
    """

    def run(arrays: Sequence[Array]) -> tuple[Array, ...]:
        values = dict(zip(part.feeds, arrays, strict=True))
        if part.computed:
            made = compute([values[name] for name in part.needed])
            values.update(zip(part.computed, made, strict=True))
        return tuple(values[name] for name in part.fetches)

    for _ in range(_WARM_RUNS):
        run(example)
    return run
