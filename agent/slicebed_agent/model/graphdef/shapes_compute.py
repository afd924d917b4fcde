"""Shapes of arithmetic: elementwise operations, products of matrices, reductions; and of whole numbers their values."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef.errors import ShapeError
from slicebed_agent.model.graphdef.values import MAX_FOLDED, Value, axis_of, broadcast, operators, product, same, shaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed_agent.model.graphdef.values import ShapeFunction
    from slicebed_agent.model.graphdef.wire import Node

UNARY: Final = operators(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Elu Erf Erfc Exp Expm1 Floor Gelu Inv IsFinite IsInf IsNan "
    "LeakyRelu Log Log1p LogicalNot Neg OnesLike Reciprocal Relu Relu6 Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh "
    "Softplus Softsign Sqrt Square Tan Tanh ZerosLike"
)
BINARY: Final = operators(
    "Add AddV2 Atan2 Div DivNoNan FloorDiv FloorMod Maximum Minimum Mod Mul MulNoNan Pow RealDiv SquaredDifference "
    "Sub TruncateDiv TruncateMod Xdivy Xlogy BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift"
)
COMPARISON: Final = operators("Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr")
REDUCTION: Final = operators("Mean Max Min Sum Prod All Any EuclideanNorm")
# The image goes through with its shape; what else comes in (a bias, bounds) has a smaller one.
_KEEPS_FIRST: Final = operators(
    "BiasAdd BiasAddV1 ClipByValue LRN L2Normalize Softmax LogSoftmax Cumsum Cumprod Reverse ReverseV2 Roll "
    "QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 FakeQuantWithMinMaxArgs "
    "FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel CheckNumerics"
)
_FOLDED: Final[Mapping[str, Callable[[int, int], int]]] = {
    "Add": operator.add,
    "AddV2": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "FloorDiv": operator.floordiv,
    "FloorMod": operator.mod,
    "Maximum": max,
    "Minimum": min,
}
_FOLDED_TO: Final[Mapping[str, Callable[[Sequence[int]], int]]] = {"Sum": sum, "Max": max, "Min": min}


def unary(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """One tensor in, the same shape out; more inputs have no say in it."""
    return [Value(inputs[0].dims, inputs[0].elements)]


def cast(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Another dtype; whole numbers that decide shapes stay whole."""
    return [inputs[0]]


def binary(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Two tensors (Select: three), by numpy's rule."""
    dims = broadcast([value.dims for value in inputs])
    fold = _FOLDED.get(node.op)
    if fold is None or not inputs[0].content or not inputs[1].content:
        return [shaped(dims)]
    first, second = inputs[0].content, inputs[1].content
    length = product(dims) or 0
    if length > MAX_FOLDED or not {len(first), len(second)} <= {1, length}:
        return [shaped(dims)]
    wide = zip(first * (length // len(first)), second * (length // len(second)), strict=True)
    return [shaped(dims, tuple(fold(one, other) for one, other in wide))]


def added(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """AddN: all of one shape."""
    return [shaped(broadcast([value.dims for value in inputs]))]


def product_of_matrices(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """MatMul, and the batched ones, whose leading dimensions broadcast."""
    first, second = inputs[0].known(), inputs[1].known()
    if len(first) < 2 or len(second) < 2:
        raise ShapeError("a product of matrices takes two dimensions or more")
    turn_first = node.number("transpose_a") or node.number("adj_x")
    turn_second = node.number("transpose_b") or node.number("adj_y")
    rows, inner = (first[-1], first[-2]) if turn_first else (first[-2], first[-1])
    outer, columns = (second[-1], second[-2]) if turn_second else (second[-2], second[-1])
    same(inner, outer)
    return [shaped((*(broadcast([first[:-2], second[:-2]]) or ()), rows, columns))]


def reduction(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Mean, Max, Sum...: the second input names the axes."""
    dims = inputs[0].known()
    axes = {axis_of(axis, len(dims)) for axis in inputs[1].numbers()}
    fold = _FOLDED_TO.get(node.op)
    content = inputs[0].content
    if node.op == "Prod" and content is not None and len(dims) == len(axes) == 1:
        return [shaped((1,) if node.number("keep_dims") else (), (product(content) or 0,))]
    if node.number("keep_dims"):
        return [shaped(tuple(1 if place in axes else size for place, size in enumerate(dims)))]
    kept = tuple(size for place, size in enumerate(dims) if place not in axes)
    if fold is not None and content and len(dims) == len(axes) == 1:
        return [shaped(kept, (fold(content),))]
    return [shaped(kept)]


def arg(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """ArgMax, ArgMin: the axis goes."""
    dims = inputs[0].known()
    axis = axis_of(inputs[1].number() if len(inputs) > 1 else node.number("dimension"), len(dims))
    return [shaped((*dims[:axis], *dims[axis + 1 :]))]


def top(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """TopK, TopKV2: values and indices."""
    count = inputs[1].number() if len(inputs) > 1 else node.number("k")
    dims = inputs[0].known()
    if not dims:
        raise ShapeError("the largest values of a scalar")
    return [shaped((*dims[:-1], count))] * 2


def in_top(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """InTopKV2: one answer per target."""
    return [shaped(inputs[1].dims)]


FUNCTIONS: Final[Mapping[str, ShapeFunction]] = {
    **dict.fromkeys(UNARY | _KEEPS_FIRST, unary),
    "Cast": cast,
    **dict.fromkeys((*BINARY, *COMPARISON, "Select", "SelectV2"), binary),
    "AddN": added,
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), product_of_matrices),
    **dict.fromkeys(REDUCTION, reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg),
    **dict.fromkeys(("TopK", "TopKV2"), top),
    "InTopKV2": in_top,
}
