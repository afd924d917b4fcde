"""Pruned functions: one function per part, pruned from the imported graph, over weights that all of them capture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.slicer.candidates.interface import warmed
from benchmarks.slicer.couper_walk import parse

from slicebed_agent.model.execute.nodes import INLINE_BYTES
from slicebed_agent.model.runtime import tensorflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.candidates.interface import Run
    from benchmarks.slicer.candidates.plan import Part, Plan

    from slicebed_agent.model.execute.tensors import Array


class Pruned:
    """A wrapped function without weights, and the weights as eager tensors."""

    def __init__(self, plan: Plan) -> None:
        """Import the file's operators, and its weights apart from them."""
        self._tf = tf = tensorflow()
        message = parse(tf, Path(plan.path))
        weights = {f"{node.name}:0": _weight(tf, node) for node in message.node if _is_weight(tf, node)}
        operators = tf.compat.v1.GraphDef(versions=message.versions)
        operators.node.extend(node for node in message.node if f"{node.name}:0" not in weights)
        del message

        def imported() -> None:
            graph = tf.compat.v1.get_default_graph()
            held = {name: graph.capture(weight) for name, weight in weights.items()}
            tf.graph_util.import_graph_def(operators, input_map=held, name="")

        self._function = tf.compat.v1.wrap_function(imported, [])

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """See `Candidate.prepare`."""
        convert = self._tf.convert_to_tensor
        feeds, fetches = (
            [self._function.graph.as_graph_element(name) for name in names] for names in (part.needed, part.computed)
        )
        pruned = self._function.prune(feeds, fetches)

        def compute(arrays: Sequence[Array]) -> tuple[Array, ...]:
            return tuple(made.numpy() for made in pruned(*map(convert, arrays)))

        return warmed(part, compute, example)


def _is_weight(tf: Any, node: Any) -> bool:
    if node.op != "Const":
        return False
    value = node.attr["value"].tensor
    elements = tf.TensorShape(value.tensor_shape).num_elements()
    return bool(elements * tf.dtypes.as_dtype(value.dtype).size > INLINE_BYTES)


def _weight(tf: Any, node: Any) -> Any:
    return tf.constant(tf.make_ndarray(node.attr["value"].tensor))
