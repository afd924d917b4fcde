"""A frozen GraphDef file as the executor needs it: what depends on the input, and weights when they are asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.execute import tensors
from slicebed_agent.model.execute.nodes import node_of, nodes_of
from slicebed_agent.model.graphdef.errors import ModelFileError
from slicebed_agent.model.graphdef.wire import mapped, read_mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from slicebed_agent.model.execute.nodes import Node, Weight
    from slicebed_agent.model.execute.tensors import Array

_ALIASES: Final = {"Identity", "StopGradient", "Snapshot", "PreventGradient"}
_INPUTS: Final = {"Placeholder", "PlaceholderV2"}
_MEND: Final = "give a whole frozen TensorFlow GraphDef (.pb)"
_ALIGNMENT: Final = 64  # what TensorFlow asks of memory that it is to use in place (EIGEN_MAX_ALIGN_BYTES)


class FrozenGraph:
    """The nodes of a file, which stays open, so that its weights can be read for as long as the graph lives."""

    def __init__(self, path: Path) -> None:
        """Read the nodes; the weights stay where they are.

        Raises:
            ModelFileError: the file cannot be read, is truncated, or is no GraphDef.
        """
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise ModelFileError(f"cannot read it: {error.strerror}", where=str(path), mend=_MEND) from error
        try:
            self.nodes, self.carried = self._read()
            self._varying = self._find_varying()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> tuple[dict[str, Node], bytes]:
        try:
            with mapped(self._file, self.path) as data:
                found = read_mapped(data, self.path)
                return nodes_of(found, data), found.rest
        except OSError as error:
            raise ModelFileError(f"cannot read it: {error.strerror}", where=str(self.path), mend=_MEND) from error

    def _find_varying(self) -> frozenset[str]:
        """Nodes that depend on a placeholder: all others give the same in every run."""
        followers: dict[str, list[str]] = {}
        for node in self.nodes.values():
            for each in node.inputs:
                source = node_of(each)
                if source not in self.nodes:
                    raise ModelFileError(
                        f"node {node.name!r} takes {each!r}, which is missing", where=str(self.path), mend=_MEND
                    )
                followers.setdefault(source, []).append(node.name)
        found = {name for name, node in self.nodes.items() if node.op in _INPUTS}
        waiting = list(found)
        while waiting:
            for follower in followers.get(waiting.pop(), ()):
                if follower not in found:
                    found.add(follower)
                    waiting.append(follower)
        return frozenset(found)

    def varies(self, tensor: str) -> bool:
        """Whether a tensor depends on the model's input."""
        return node_of(tensor) in self._varying

    def origin(self, tensor: str) -> str:
        """The tensor behind copies of it: exports of TensorFlow 1 read each weight through an Identity."""
        while self.nodes[node_of(tensor)].op in _ALIASES:
            tensor = self.nodes[node_of(tensor)].inputs[0]
        return tensor

    def upstream(self, tensors_: Iterable[str], stop: frozenset[str]) -> list[Node]:
        """The nodes that some tensors need, in the file's order, not looking beyond the tensors in `stop`.

        Control edges are followed between nodes that depend on the input; those of constants order nothing.
        """
        found: set[str] = set()
        waiting = [node_of(each) for each in tensors_ if each not in stop]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            node = self.nodes[name]
            waiting.extend(node_of(each) for each in node.inputs if each not in stop)
            if name in self._varying:
                waiting.extend(each for each in node.controls if each in self._varying)
        return [node for name, node in self.nodes.items() if name in found]

    def between(self, fed: frozenset[str], fetches: Sequence[str]) -> list[Node]:
        """The nodes that compute the fetches from what is fed, in the file's order; constants are not among them.

        Raises:
            AgentConfigError: the fetches need another input, or do not depend on any.
        """
        for name in fetches:
            if not self.varies(name):
                raise AgentConfigError(
                    f"{name} does not depend on the model's input", where=str(self.path), mend="choose a split point"
                )
        nodes = [node for node in self.upstream(fetches, fed) if node.name in self._varying]
        missing = [node.name for node in nodes if node.op in _INPUTS]
        if missing:
            raise AgentConfigError(
                f"{', '.join(fetches)} also needs {', '.join(missing)}, not only {', '.join(sorted(fed))}",
                where=str(self.path),
                mend="send every tensor of the split point, and order split points forwards",
            )
        return nodes

    def read(self, weight: Weight) -> Array:
        """A weight's values, in memory that TensorFlow uses in place.

        Raises:
            ModelFileError: the file became shorter.
        """
        array = aligned(weight.dims, tensors.dtype_of(weight.code))
        memory = memoryview(array.reshape(-1).view(np.uint8).data)
        done = 0
        while done < weight.length:
            count = os.preadv(self._file.fileno(), [memory[done:]], weight.offset + done)
            if not count:
                raise ModelFileError("the file became shorter", where=str(self.path), mend="copy it again")
            done += count
        return array

    def chunks(self, weight: Weight, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """A weight's bytes, a little at a time.

        Raises:
            ModelFileError: the file became shorter.
        """
        position, end = weight.offset, weight.offset + weight.length
        while position < end:
            chunk = os.pread(self._file.fileno(), min(chunk_bytes, end - position), position)
            if not chunk:
                raise ModelFileError("the file became shorter", where=str(self.path), mend="copy it again")
            position += len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file; no weight can be read any more."""
        self._file.close()


def aligned(dims: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An uninitialised array whose memory begins where TensorFlow wants it."""
    length = int(np.prod(dims, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(length + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + length].view(dtype).reshape(dims)
