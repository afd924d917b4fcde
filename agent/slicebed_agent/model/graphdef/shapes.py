"""Shape functions of the operators that image models are made of, by operator; and the dtypes of their outputs.

Every function works on sizes for one given batch (see `infer`), so that shapes that a model computes at run time from
its input's shape come out as plain numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef import dtypes, shapes_compute, shapes_layout, shapes_window
from slicebed_agent.model.graphdef.errors import ShapeError
from slicebed_agent.model.graphdef.values import MAX_FOLDED, SCALAR, Value, shaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.graphdef.values import ShapeFunction
    from slicebed_agent.model.graphdef.wire import Node


def constant(node: Node, _inputs: Sequence[Value]) -> list[Value]:
    """Const."""
    tensor = node.tensor("value")
    if tensor is None:
        raise ShapeError("a constant without a value")
    whole = tensor.content is not None and not dtypes.is_floating(tensor.dtype)
    return [shaped(tensor.dims, tuple(int(number) for number in tensor.content or ()) if whole else None)]


def shape(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Shape, ShapeN."""
    found = []
    for value in inputs:
        dims = value.known()
        known = tuple(size for size in dims if size is not None)
        found.append(shaped((len(dims),), known if len(known) == len(dims) else None))
    return found


def rank(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Rank."""
    return [shaped((), (inputs[0].rank(),))]


def size(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Size."""
    count = inputs[0].elements
    return [SCALAR if count is None else shaped((), (count,))]


def fill(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Fill: the first input is the shape."""
    return [shaped(inputs[0].numbers())]


def broadcast_to(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """BroadcastTo: the second input is the shape."""
    return [shaped(inputs[1].numbers())]


def counted(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Range: start, limit, delta."""
    start, limit, delta = (value.number() for value in inputs)
    if not delta:
        raise ShapeError("a range of step 0")
    numbers = range(start, limit, delta)
    length = max(0, -(-(limit - start) // delta))
    return [shaped((length,), tuple(numbers) if length <= MAX_FOLDED else None)]


def nothing(_node: Node, _inputs: Sequence[Value]) -> list[Value]:
    """What only has an effect."""
    return []


FUNCTIONS: Final[Mapping[str, ShapeFunction]] = {
    **shapes_window.FUNCTIONS,
    **shapes_compute.FUNCTIONS,
    **shapes_layout.FUNCTIONS,
    "Const": constant,
    **dict.fromkeys(("Shape", "ShapeN"), shape),
    "Rank": rank,
    "Size": size,
    "Fill": fill,
    "BroadcastTo": broadcast_to,
    "Range": counted,
    **dict.fromkeys(("NoOp", "Assert"), nothing),
}

# Where the dtype of the outputs is not the attribute T: the attribute that says it, and its default.
_DTYPE_KEY: Final[Mapping[str, tuple[str, int]]] = {
    "Const": ("dtype", 0),
    "Placeholder": ("dtype", 0),
    "PlaceholderWithDefault": ("dtype", 0),
    "Cast": ("DstT", 0),
    "Shape": ("out_type", dtypes.INT32),
    "ShapeN": ("out_type", dtypes.INT32),
    "Size": ("out_type", dtypes.INT32),
    "ArgMax": ("output_type", dtypes.INT64),
    "ArgMin": ("output_type", dtypes.INT64),
    "Range": ("Tidx", dtypes.INT32),
    "Gather": ("Tparams", 0),
    "GatherV2": ("Tparams", 0),
    **dict.fromkeys(("ResizeBilinear", "ResizeBicubic", "ResizeArea"), ("", dtypes.FLOAT32)),
    **dict.fromkeys(
        (*shapes_compute.COMPARISON, "LogicalNot", "All", "Any", "IsFinite", "IsInf", "IsNan", "InTopKV2"),
        ("", dtypes.BOOL),
    ),
    "Rank": ("", dtypes.INT32),
}
_ANY_KEY: Final = ("T", "dtype", "out_type", "Tout", "output_type", "DstT")


def output_dtypes(node: Node, count: int) -> tuple[int, ...]:
    """TensorFlow's dtype number of each of `count` outputs; 0 where the node does not say.

    Raises:
        WireError: an attribute is malformed.
    """
    if node.op in _DTYPE_KEY:
        key, default = _DTYPE_KEY[node.op]
        return (node.number(key, default),) * count
    listed = node.numbers("T") if node.op == "IdentityN" else ()
    if len(listed) == count and listed:
        return listed
    found = next((number for key in _ANY_KEY if (number := node.number(key))), 0)
    if node.op.startswith("FusedBatchNorm"):
        return (found, *(node.number("U", found),) * (count - 1))
    if node.op in {"TopK", "TopKV2"}:
        return (found, node.number("index_type", dtypes.INT32))
    return (found,) * count
