"""The constants of a graph, as slices need them: each weight is in memory once, while some slice uses it.

Arithmetic on constants (Keras writes batch normalisation so) is done once, when a slice is prepared.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from slicebed_agent.model.execute import encode
from slicebed_agent.model.execute.frozen import aligned
from slicebed_agent.model.execute.nodes import INLINE_BYTES, Node
from slicebed_agent.model.execute.session import Session, TensorFlowGraph
from slicebed_agent.model.execute.tensors import Lent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed_agent.model.execute.frozen import FrozenGraph
    from slicebed_agent.model.execute.tensors import Array


class Scaled(NamedTuple):
    """A filter whose output channels are multiplied by factors; both by their tensors' names."""

    filters: str
    factors: str


class Flat(NamedTuple):
    """A constant as a vector, by its tensor's name."""

    name: str


# What a slice asks for: a tensor as it is, by its name, or something made of it.
Key = str | Scaled | Flat
_FLOAT32: Final = np.dtype(np.float32)


class Constants:
    """Loads constants when a slice asks for them, and lets go of the large ones with the last slice that uses them."""

    def __init__(self, graph: FrozenGraph) -> None:
        """Nothing is loaded yet."""
        self._graph = graph
        self._lock = threading.Lock()
        self._large: weakref.WeakValueDictionary[Key, Lent] = weakref.WeakValueDictionary()
        self._small: dict[Key, Lent] = {}

    def load(self, keys: Iterable[Key]) -> dict[Key, Lent]:
        """Constants by their keys.

        Raises:
            AgentError: the file became shorter, or TensorFlow cannot compute one.
        """
        with self._lock:
            wanted = list(dict.fromkeys(keys))
            found = {key: constant for key in wanted if (constant := self._held(key)) is not None}
            plain = [key for key in wanted if isinstance(key, str) and key not in found]
            found.update(self._compute(plain))
            for key in wanted:
                if isinstance(key, Scaled) and key not in found:
                    found[key] = self._scale(key)
                elif isinstance(key, Flat) and key not in found:
                    found[key] = self._keep(key, _aligned_copy(self._plain(key.name).array.reshape(-1)))
            return found

    def _held(self, key: Key) -> Lent | None:
        return self._small.get(key) or self._large.get(key)

    def _keep(self, key: Key, array: Array) -> Lent:
        lent = Lent(array)
        if array.nbytes <= INLINE_BYTES:
            self._small[key] = lent
        else:
            self._large[key] = lent
        return lent

    def _compute(self, names: list[str]) -> dict[Key, Lent]:
        """Read weights as they are; have TensorFlow compute the others, all at once."""
        found: dict[Key, Lent] = {}
        computed = []
        for name in names:
            weight = self._graph.nodes[name.rpartition(":")[0]].weight
            if weight is None:
                computed.append(name)
            else:
                found[name] = self._keep(name, self._graph.read(weight))
        if computed:
            for name, array in zip(computed, self._run(computed), strict=True):
                found[name] = self._keep(name, _aligned_copy(array))
        return found

    def _run(self, names: list[str]) -> tuple[Array, ...]:
        nodes = self._graph.upstream(names, frozenset())
        weights = {f"{node.name}:0": node.weight for node in nodes if node.weight is not None}
        graph_def = self._graph.carried + b"".join(as_constant_side(node) for node in nodes)
        bound = {name: Lent(self._graph.read(weight)) for name, weight in weights.items()}
        graph = TensorFlowGraph(graph_def, str(self._graph.path))
        session = Session(graph, (), names, bound, optimise=False)
        try:
            return session.run(())
        finally:
            session.close()

    def _plain(self, name: str) -> Lent:
        return self._held(name) or self._compute([name])[name]

    def _scale(self, key: Scaled) -> Lent:
        """A filter whose output channels are multiplied by factors: (h, w, in, out), or depthwise (h, w, in, each)."""
        weights, factors = self._plain(key.filters), self._plain(key.factors)
        dims: tuple[int, ...] = weights.array.shape
        per_channel = factors.array.reshape(-1)
        if per_channel.size not in {1, dims[-1]}:
            per_channel = per_channel.reshape(dims[2:])
        scaled = aligned(dims, _FLOAT32)
        np.multiply(weights.array, per_channel, out=scaled)
        return self._keep(key, scaled)


def _aligned_copy(array: Array) -> Array:
    copy = aligned(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def as_constant_side(node: Node) -> bytes:
    """A node on which no input has an influence; a weight becomes a placeholder that is fed."""
    if node.weight is not None:
        return encode.placeholder(node.name, node.weight.code, node.weight.dims)
    return encode.node(node.name, node.op, node.inputs, runtime_attributes(node.attributes))


def runtime_attributes(attributes: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without what only readers of the file use."""
    return {key: value for key, value in attributes.items() if key != "_output_shapes"}
