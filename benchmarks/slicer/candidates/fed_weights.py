"""C API, weights fed: what Slicebed runs slices with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slicebed_agent.model.execute.executor import Executor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.candidates.interface import Run
    from benchmarks.slicer.candidates.plan import Part, Plan

    from slicebed_agent.model.execute.tensors import Array


class FedWeights:
    """One executor; a session for each part."""

    def __init__(self, plan: Plan) -> None:
        """Read the graph's structure."""
        self._executor = Executor(Path(plan.path))

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """See `Candidate.prepare`; the executor passes through what is fed and fetched."""
        return self._executor.prepare(part.feeds, part.fetches, example=example).run
