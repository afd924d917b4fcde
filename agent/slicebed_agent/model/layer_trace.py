"""Which operators a Keras model's layers are: recorded while the model is traced into a graph."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_.\-/]")


@dataclasses.dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of one layer while it was traced.

    Attributes:
        name: unique; see `card.LayerCard`.
        kind: the layer's class.
        first: operators in the graph before the call.
        last: operators in the graph after it.
        outputs: names of the tensors that it returned.
        parameters: number of its weights.
    """

    name: str
    kind: str
    first: int
    last: int
    outputs: tuple[str, ...]
    parameters: int


class LayerRecorder:
    """Notes every layer's calls of a functional or sequential model, those of models inside it included."""

    def __init__(self, tf: Any) -> None:
        """Nothing is noted yet; `watching` starts it."""
        self._tf = tf
        self._path: list[str] = []
        self._names: set[str] = set()
        self.calls: list[LayerCall] = []

    @contextlib.contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """Note the calls while the block traces the model.

        Keras has no public way to hear of each call of a reused layer; what is wrapped is the one method through
        which a functional model calls its layers, on this model only and until the block ends.
        """
        functional = layer_graph(model)
        if functional is None:
            yield
            return
        run = functional._run_through_graph  # noqa: SLF001

        def run_and_note(inputs: Any, operation_fn: Callable[[Any], Any] = _itself, call_fn: Any = None) -> Any:
            return run(inputs, operation_fn=lambda operation: self._noting(operation, operation_fn), call_fn=call_fn)

        object.__setattr__(functional, "_run_through_graph", run_and_note)  # past Keras' tracking of attributes
        try:
            yield
        finally:
            object.__delattr__(functional, "_run_through_graph")

    def _noting(self, operation: Any, operation_fn: Callable[[Any], Any]) -> Callable[..., Any]:
        call = operation_fn(operation)

        def noted(*args: Any, **kwargs: Any) -> Any:
            if layer_graph(operation) is not None:
                self._path.append(operation.name)
                with self.watching(operation):
                    result = call(*args, **kwargs)
                self._path.pop()
                return result
            graph = self._tf.compat.v1.get_default_graph()
            first = graph.version
            result = call(*args, **kwargs)
            self._note(operation, first, graph.version, result)
            return result

        return noted

    def _note(self, operation: Any, first: int, last: int, result: Any) -> None:
        plain = "/".join([*self._path, operation.name])
        name, call = plain, 1
        while name in self._names:
            call += 1
            name = f"{plain}.{call}"
        self._names.add(name)
        tensors = tuple(each.name for each in self._tf.nest.flatten(result) if self._tf.is_tensor(each))
        count = getattr(operation, "count_params", None)
        parameters = int(count()) if count is not None else 0
        self.calls.append(LayerCall(name, type(operation).__name__, first, last, tensors, parameters))


def layer_graph(model: Any) -> Any | None:
    """The functional graph of a Keras model, itself or a sequential model's; None of everything else."""
    inner = getattr(model, "_functional", None) or model
    return inner if hasattr(inner, "_run_through_graph") else None


def readable_names(calls: Sequence[LayerCall], operators: Sequence[str], kept: set[str]) -> dict[str, str]:
    """New names of operators: ``layer/what`` in place of the scopes that tracing made.

    Args:
        calls: of the layers.
        operators: names of all operators of the graph, in the order in which they were made.
        kept: those that stay; only they are renamed.

    Returns:
        New names by old ones, of those that change; unique among themselves and among what keeps its name.
    """
    mine = {call.name: [each for each in operators[call.first : call.last] if each in kept] for call in calls}
    moving = {name for names in mine.values() for name in names}
    taken = kept - moving
    renamed: dict[str, str] = {}
    for layer, names in mine.items():
        scope = _common_scope(names)
        for name in names:
            renamed[name] = unused(f"{legal(layer)}/{name[len(scope) :]}", taken)
    return renamed


def unused(name: str, taken: set[str]) -> str:
    """The name, or the name with a number behind it; it is taken then."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def legal(name: str) -> str:
    """The name as TensorFlow lets operators be called."""
    clean = _FOREIGN.sub("_", name)
    return clean if clean[:1].isalnum() or clean[:1] == "." else f"layer{clean}"


def _common_scope(names: Sequence[str]) -> str:
    """The scopes that all names begin with, with the slash at their end."""
    if not names:
        return ""
    paths = [name.split("/")[:-1] for name in names]
    depth = 0
    while all(len(path) > depth and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    return "".join(f"{part}/" for part in paths[0][:depth])


def _itself(operation: Any) -> Any:
    return operation
