"""A TensorFlow session over one GraphDef, which runs one signature: some tensors fed, some fetched."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentError
from slicebed_agent.model.execute import encode, tensors
from slicebed_agent.model.execute.capi import Buffer, Output, Status, library
from slicebed_agent.model.runtime import usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.execute.tensors import Array, Lent

_UNKNOWN_RANK: Final = -1
Spec = tuple[int, tuple[int | None, ...] | None]


class TensorFlowGraph:
    """A graph imported into TensorFlow, which infers the shape of every tensor in it."""

    def __init__(self, graph_def: bytes, where: str) -> None:
        """Import it.

        Args:
            graph_def: serialised GraphDef.
            where: what errors are to name.

        Raises:
            AgentError: TensorFlow refuses the graph.
        """
        self.where = where
        self._tensorflow = library()
        self.pointer: int | None = self._tensorflow.TF_NewGraph()
        options = self._tensorflow.TF_NewImportGraphDefOptions()
        memory = ctypes.c_char_p(graph_def)
        buffer = Buffer(ctypes.cast(memory, ctypes.c_void_p), len(graph_def), None)
        try:
            with Status() as status:
                self._tensorflow.TF_GraphImportGraphDef(self.pointer, ctypes.byref(buffer), options, status.pointer)
                status.check(where)
        except AgentError:
            self.close()
            raise
        finally:
            self._tensorflow.TF_DeleteImportGraphDefOptions(options)

    def output(self, tensor: str) -> Output:
        """A tensor (``operator:k``) of the graph.

        Raises:
            AgentError: there is none of this name.
        """
        operator, _, index = tensor.rpartition(":")
        operation = self._tensorflow.TF_GraphOperationByName(self.pointer, operator.encode())
        if operation is None or int(index) >= self._tensorflow.TF_OperationNumOutputs(operation):
            raise AgentError(f"no tensor {tensor!r}", where=self.where, mend="take names from `slicebed model cuts`")
        return Output(operation, int(index))

    def spec(self, tensor: str) -> Spec:
        """A tensor's data type, as TensorFlow numbers it, and its shape: None where it or a dimension is open.

        Raises:
            AgentError: there is none of this name.
        """
        output = self.output(tensor)
        code = self._tensorflow.TF_OperationOutputType(output)
        with Status() as status:
            rank = self._tensorflow.TF_GraphGetTensorNumDims(self.pointer, output, status.pointer)
            status.check(self.where)
            if rank == _UNKNOWN_RANK:
                return code, None
            dims = (ctypes.c_int64 * max(1, rank))()
            self._tensorflow.TF_GraphGetTensorShape(self.pointer, output, dims, rank, status.pointer)
            status.check(self.where)
        return code, tuple(None if size < 0 else size for size in dims[:rank])

    def close(self) -> None:
        """Free it."""
        if self.pointer is not None:
            self._tensorflow.TF_DeleteGraph(self.pointer)
            self.pointer = None


class Session:
    """Runs one signature; any thread may, also several at once."""

    def __init__(
        self,
        graph: TensorFlowGraph,
        feeds: Sequence[str],
        fetches: Sequence[str],
        bound: Mapping[str, Lent],
        *,
        optimise: bool = True,
    ) -> None:
        """Open a session.

        Args:
            graph: taken over, and closed with the session.
            feeds: names of tensors (``operator:k``) that `run` is given.
            fetches: names of those that it returns.
            bound: tensors that are fed the same in every run; they are not copied.
            optimise: whether the graph will run often.

        Raises:
            AgentError: TensorFlow refuses the graph, or it has no such tensors.
        """
        self._tensorflow = library()
        self._bound = tuple(bound.values())
        self._graph = graph
        self._session: int | None = None
        try:
            self._feeds = _outputs([self._graph.output(name) for name in (*feeds, *bound)])
            self._fetches = _outputs([self._graph.output(name) for name in fetches])
            self._free, self._made = len(feeds), len(fetches)
            self._session = self._open(encode.session_config(usable_cores(), optimise=optimise))
        except AgentError:
            self.close()
            raise

    def _open(self, config: bytes) -> int:
        options = self._tensorflow.TF_NewSessionOptions()
        try:
            with Status() as status:
                self._tensorflow.TF_SetConfig(options, config, len(config), status.pointer)
                status.check(self._graph.where)
                session = self._tensorflow.TF_NewSession(self._graph.pointer, options, status.pointer)
                status.check(self._graph.where)
        finally:
            self._tensorflow.TF_DeleteSessionOptions(options)
        return int(session)

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Compute the fetches.

        Args:
            arrays: one per feed, in their order.

        Returns:
            One read-only array per fetch, in their order.

        Raises:
            AgentError: TensorFlow refuses to, in its own words.
        """
        return self._run(arrays)

    def run_told(self, arrays: Sequence[Array], options: bytes) -> tuple[tuple[Array, ...], bytes]:
        """Compute the fetches, and have TensorFlow tell of it.

        Args:
            arrays: as `run` takes them.
            options: a serialised RunOptions, which says what to tell.

        Returns:
            What `run` returns, and a serialised RunMetadata.

        Raises:
            AgentError: TensorFlow refuses to, in its own words.
        """
        memory = ctypes.c_char_p(options)
        asked = Buffer(ctypes.cast(memory, ctypes.c_void_p), len(options), None)
        metadata = self._tensorflow.TF_NewBuffer()
        try:
            made = self._run(arrays, ctypes.byref(asked), metadata)
            told = ctypes.cast(metadata, ctypes.POINTER(Buffer)).contents
            return made, ctypes.string_at(told.data, told.length)
        finally:
            self._tensorflow.TF_DeleteBuffer(metadata)

    def _run(self, arrays: Sequence[Array], options: Any = None, metadata: int | None = None) -> tuple[Array, ...]:
        lent = [tensors.Lent(array) for array in arrays]
        given = _pointers([each.pointer for each in (*lent, *self._bound)])
        made = _pointers([0] * self._made)
        with Status() as status:
            self._tensorflow.TF_SessionRun(
                *(self._session, options, self._feeds, given, self._free + len(self._bound)),
                *(self._fetches, made, self._made, None, 0, metadata, status.pointer),
            )
            status.check(self._graph.where)
        return tuple(tensors.take(int(made[place] or 0)) for place in range(self._made))

    def close(self) -> None:
        """Free it; nobody may be running it."""
        if self._session is not None:
            with Status() as status:
                self._tensorflow.TF_CloseSession(self._session, status.pointer)
                self._tensorflow.TF_DeleteSession(self._session, status.pointer)
            self._session = None
        self._graph.close()


def _outputs(values: Sequence[Output]) -> ctypes.Array[Output]:
    return (Output * max(1, len(values)))(*values)


def _pointers(values: Sequence[int]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * max(1, len(values)))(*values)
