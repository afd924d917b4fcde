"""Runs any part of a frozen graph that lies between tensors, with one copy of each weight whatever is prepared.

How, and why so, with figures: docs/adr/0010-executor.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.execute import encode, tensors
from slicebed_agent.model.execute.constants import Constants, as_constant_side, runtime_attributes
from slicebed_agent.model.execute.frozen import FrozenGraph
from slicebed_agent.model.execute.fusion import fuse
from slicebed_agent.model.execute.nodes import INLINE_BYTES, node_of
from slicebed_agent.model.execute.session import Session, TensorFlowGraph
from slicebed_agent.model.execute.slice import Boundary, Slice
from slicebed_agent.model.graphdef.attributes import decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from slicebed_agent.model.execute.constants import Key
    from slicebed_agent.model.execute.fusion import Fused
    from slicebed_agent.model.execute.nodes import Node
    from slicebed_agent.model.execute.tensors import Array, Lent

_FEED: Final = "slicebed.feed"
_CONSTANT: Final = "slicebed.constant"


class Executor:
    """A frozen graph's file, from which slices are prepared; they share the weights that they have in common.

    Any thread may prepare a slice while others run. The file stays open: it may be replaced, not overwritten.
    """

    def __init__(self, path: Path) -> None:
        """Read the graph; weights are read by the slices that need them.

        Args:
            path: of a frozen GraphDef.

        Raises:
            ModelFileError: the file is truncated, foreign or too large.
        """
        self._graph = FrozenGraph(path)
        self._constants = Constants(self._graph)
        self._specs: dict[str, Boundary] = {}

    def prepare(
        self,
        feeds: Sequence[str],
        fetches: Sequence[str],
        *,
        batch: int = 1,
        example: Sequence[Array] | None = None,
        warm: bool = True,
    ) -> Slice:
        """Make the part between two boundaries ready to run at full speed.

        Args:
            feeds: tensors (``operator:k``) that it is given; together they must cover all that the fetches need.
            fetches: tensors that it returns; one that is also fed passes through.
            batch: frames at a time in the warm-up, which sizes buffers; any other number runs too.
            example: arrays for the warm-up; blank ones by default.
            warm: whether the cost of first use is paid here.

        Raises:
            AgentConfigError: there are no such tensors, or the fetches need more than the feeds.
            AgentError: TensorFlow refuses the graph; a boundary's shape is not known and there is no example.
        """
        self._check_names(feeds, fetches)
        boundaries = self.describe([*feeds, *fetches])
        entrance, leaving = boundaries[: len(feeds)], boundaries[len(feeds) :]
        computed = [name for name in dict.fromkeys(fetches) if name not in feeds]
        session, weights_bytes = self._open(entrance, computed) if computed else (None, 0)
        made = Slice(entrance, leaving, session, weights_bytes, str(self._graph.path))
        if warm:
            try:
                made.warm(batch, example)
            except BaseException:
                made.release()
                raise
        return made

    def open_session(self, feeds: Sequence[str], fetches: Sequence[str]) -> Session:
        """A session of its own, for who runs it in another way than a slice is run.

        Args:
            feeds: tensors that it is given.
            fetches: tensors that it returns, none of them fed, each once.

        Raises:
            AgentConfigError: there are no such tensors, or the fetches need more than the feeds.
            AgentError: TensorFlow refuses the graph.
        """
        self._check_names(feeds, fetches)
        return self._open(self.describe(feeds), fetches)[0]

    def between(self, feeds: Sequence[str], fetches: Sequence[str]) -> tuple[Node, ...]:
        """The nodes that compute the fetches from what is fed, in the file's order; constants are not among them.

        Raises:
            AgentConfigError: there are no such tensors, or the fetches need more than the feeds.
        """
        self._check_names(feeds, fetches)
        fed = frozenset(feeds)
        return tuple(self._graph.between(fed, [name for name in fetches if name not in fed]))

    def describe(self, names: Sequence[str]) -> tuple[Boundary, ...]:
        """What arrays are expected for these tensors.

        Raises:
            AgentConfigError: there are no such tensors.
            AgentError: TensorFlow refuses the graph, or one has a type without arrays.
        """
        missing = [name for name in names if name not in self._specs]
        if missing:
            nodes = self._graph.upstream(missing, frozenset())
            imported = TensorFlowGraph(
                self._graph.carried + b"".join(as_constant_side(node) for node in nodes), str(self._graph.path)
            )
            try:
                for name in missing:
                    code, shape = imported.spec(name)
                    self._specs[name] = Boundary(name, tensors.dtype_of(code, name), shape)
            finally:
                imported.close()
        return tuple(self._specs[name] for name in names)

    def close(self) -> None:
        """No further slice can be prepared; those that are go on."""
        self._graph.close()

    def __enter__(self) -> Self:
        """For a with block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _check_names(self, feeds: Sequence[str], fetches: Sequence[str]) -> None:
        where = str(self._graph.path)
        for name in (*feeds, *fetches):
            if node_of(name) not in self._graph.nodes or not name.rpartition(":")[2].isdigit():
                raise AgentConfigError(
                    f"no tensor {name!r} in the graph", where=where, mend="`slicebed model cuts` lists them"
                )
        if not feeds or not fetches or len(set(feeds)) != len(feeds):
            raise AgentConfigError(
                f"a slice from {list(feeds)} to {list(fetches)}", where=where, mend="feed and fetch at least one, once"
            )

    def _open(self, entrance: Sequence[Boundary], fetches: Sequence[str]) -> tuple[Session, int]:
        fed = {boundary.name: f"{_FEED}/{place}:0" for place, boundary in enumerate(entrance)}
        nodes = self._graph.between(frozenset(fed), fetches)
        fused, loaded = self._load(nodes, frozenset(fed), fetches)
        parts = [self._graph.carried]
        parts += [
            encode.placeholder(node_of(fed[each.name]), tensors.code_of(each.dtype), each.shape) for each in entrance
        ]
        names = dict(fed)
        bound: dict[str, Lent] = {}
        keys: dict[Key, str] = {}
        for name, key in fused.constants.items():
            if key not in keys:
                keys[key] = f"{_CONSTANT}/{len(keys)}:0"
                parts.append(self._constant(keys[key], key, loaded, bound))
            names[name] = keys[key]
        parts += [_rewired(node, names, fused.nodes) for node in fused.nodes.values()]
        used = sum(loaded[key].array.nbytes for key in keys if key in loaded)
        graph = TensorFlowGraph(b"".join(parts), str(self._graph.path))
        return Session(graph, tuple(fed.values()), fetches, bound), used

    def _load(
        self, nodes: Sequence[Node], fed: frozenset[str], fetches: Sequence[str]
    ) -> tuple[Fused, dict[Key, Lent]]:
        """Fold, and load what then is needed; what no fold needs as it is leaves memory again."""
        inputs = dict.fromkeys(each for node in nodes for each in node.inputs if each not in fed)
        plain = {each: self._graph.origin(each) for each in inputs if not self._graph.varies(each)}
        small = self._constants.load(key for key in plain.values() if self._is_computed(key))

        def dims_of(key: Key) -> tuple[int, ...]:
            if not isinstance(key, str):
                return dims_of(key[0])
            weight = self._graph.nodes[node_of(key)].weight
            if weight is not None:
                return weight.dims
            return small[key].array.shape if key in small else ()

        fused = fuse(nodes, dict(plain), fetches, dims_of)
        taken = {each for node in fused.nodes.values() for each in node.inputs}
        kept = {name: key for name, key in fused.constants.items() if name in taken}
        wanted = [key for key in kept.values() if not isinstance(key, str) or not self._is_opaque(key)]
        return type(fused)(fused.nodes, kept), self._constants.load(wanted)

    def _is_opaque(self, key: str) -> bool:
        """Whether it is a constant without an array: text, say, which an assertion would print."""
        node = self._graph.nodes[node_of(key)]
        code = decode(node.attributes.get("dtype", b"")).number
        return node.op == "Const" and code not in tensors.NUMPY_NAMES

    def _is_computed(self, key: str) -> bool:
        return self._graph.nodes[node_of(key)].weight is None and not self._is_opaque(key)

    def _constant(self, name: str, key: Key, loaded: Mapping[Key, Lent], bound: dict[str, Lent]) -> bytes:
        if key not in loaded:
            node = self._graph.nodes[node_of(str(key))]
            return encode.node(node_of(name), node.op, (), runtime_attributes(node.attributes))
        constant = loaded[key]
        code = tensors.code_of(constant.array.dtype)
        if constant.array.nbytes > INLINE_BYTES:
            bound[name] = constant
            return encode.placeholder(node_of(name), code, constant.array.shape)
        value = encode.tensor_attribute(code, constant.array.shape, constant.array.tobytes())
        return encode.node(node_of(name), "Const", (), {"dtype": encode.dtype_attribute(code), "value": value})


def _rewired(node: Node, names: Mapping[str, str], within: Mapping[str, Node]) -> bytes:
    inputs = [names.get(each, each) for each in node.inputs]
    controls = [f"^{each}" for each in node.controls if each in within]
    return encode.node(node.name, node.op, (*inputs, *controls), runtime_attributes(node.attributes))
