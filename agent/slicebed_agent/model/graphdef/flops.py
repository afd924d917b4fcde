"""Floating point operations of one run of an operator.

A multiply-add counts as two. Convolutions and products of matrices: two per weight and output value; pooling: one per
window place and output value; reductions: one per input value; Softmax: five per value, as TensorFlow's profiler counts
(tensorflow/python/profiler/internal/flops_registry.py); batch normalisation (its statistics are constants): two per
value; other arithmetic: one per output value; what only moves values: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef import shapes_compute
from slicebed_agent.model.graphdef.values import Value, closed, product

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed_agent.model.graphdef.wire import Node


def flops(node: Node, inputs: Sequence[Value], outputs: Sequence[Value]) -> int:
    """The work of a node, 0 where its size is not known.

    Raises:
        ShapeError: an input that decides the work has no known shape.
    """
    if not outputs:
        return 0
    made = outputs[0].elements or 0
    each = _PER_VALUE.get(node.op)
    if each is not None:
        return made * each
    count = _COUNTED.get(node.op)
    return count(node, inputs, made) if count is not None else 0


def _convolution(_node: Node, inputs: Sequence[Value], made: int) -> int:
    return 2 * made * (product(closed(inputs[1].known())[:-1]) or 0)


def _depthwise(_node: Node, inputs: Sequence[Value], made: int) -> int:
    return 2 * made * (product(closed(inputs[1].known())[:2]) or 0)


def _transposed(_node: Node, inputs: Sequence[Value], _made: int) -> int:
    kernel = closed(inputs[1].known())
    return 2 * (inputs[2].elements or 0) * (product(kernel[:-1]) or 0)


def _product_of_matrices(node: Node, inputs: Sequence[Value], made: int) -> int:
    turned = node.number("transpose_a") or node.number("adj_x")
    return 2 * made * (inputs[0].known()[-2 if turned else -1] or 0)


def _pooling(node: Node, _inputs: Sequence[Value], made: int) -> int:
    return made * (product(node.numbers("ksize")) or 0)


def _pooling_v2(_node: Node, inputs: Sequence[Value], made: int) -> int:
    return made * (product(inputs[1].content) or 0)


def _reduction(_node: Node, inputs: Sequence[Value], _made: int) -> int:
    return inputs[0].elements or 0


_COUNTED: Final[Mapping[str, Callable[[Node, Sequence[Value], int], int]]] = {
    **dict.fromkeys(("Conv2D", "Conv3D"), _convolution),
    "DepthwiseConv2dNative": _depthwise,
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _transposed),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _product_of_matrices),
    **dict.fromkeys(("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D"), _pooling),
    "MaxPoolV2": _pooling_v2,
    **dict.fromkeys((*shapes_compute.REDUCTION, "ArgMax", "ArgMin", "TopK", "TopKV2"), _reduction),
}
_PER_VALUE: Final[Mapping[str, int]] = {
    **dict.fromkeys((*shapes_compute.UNARY, *shapes_compute.BINARY, *shapes_compute.COMPARISON), 1),
    **dict.fromkeys(("BiasAdd", "BiasAddV1", "ClipByValue"), 1),
    **dict.fromkeys(("OnesLike", "ZerosLike"), 0),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), 2),
    **dict.fromkeys(("Softmax", "LogSoftmax"), 5),
    "LRN": 4,
    "ResizeBilinear": 7,
    "ResizeBicubic": 35,
}
