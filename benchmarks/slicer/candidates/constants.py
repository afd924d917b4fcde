"""C API, constants: one session over the whole frozen graph, which TensorFlow rewrites for each signature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.slicer.candidates.interface import warmed

from slicebed_agent.model.execute.session import Session, TensorFlowGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.candidates.interface import Run
    from benchmarks.slicer.candidates.plan import Part, Plan

    from slicebed_agent.model.execute.tensors import Array


class _Signature(Session):
    """Feeds and fetches of a session that others use too; it is the first's."""

    def __init__(self, graph: TensorFlowGraph, part: Part, first: _Signature | None) -> None:
        self._first = first
        super().__init__(graph, part.needed, part.computed, {})

    def _open(self, config: bytes) -> int:
        shared = None if self._first is None else self._first._session  # noqa: SLF001 - of its own class
        return super()._open(config) if shared is None else shared


class Constants:
    """The graph with its weights in it."""

    def __init__(self, plan: Plan) -> None:
        """Import the file."""
        path = Path(plan.path)
        self._graph = TensorFlowGraph(path.read_bytes(), str(path))
        self._first: _Signature | None = None

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """See `Candidate.prepare`."""
        signature = _Signature(self._graph, part, self._first)
        self._first = self._first or signature
        return warmed(part, signature.run, example)
