"""Session: feed and fetch on one frozen graph through TensorFlow's Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.slicer.candidates.interface import warmed
from benchmarks.slicer.couper_walk import import_graph

from slicebed_agent.model.runtime import tensorflow, usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.candidates.interface import Run
    from benchmarks.slicer.candidates.plan import Part, Plan

    from slicebed_agent.model.execute.tensors import Array


class PythonSession:
    """One session; a callable for each part."""

    def __init__(self, plan: Plan) -> None:
        """Import the file."""
        tf = tensorflow()
        self._graph = import_graph(tf, Path(plan.path))
        cores = usable_cores()
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=cores, inter_op_parallelism_threads=cores)
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """See `Candidate.prepare`."""
        call = self._session.make_callable(list(part.computed), list(part.needed))

        def compute(arrays: Sequence[Array]) -> tuple[Array, ...]:
            return tuple(call(*arrays))

        return warmed(part, compute, example)
