"""Shapes of what slides a window over an image: convolution, pooling, and their relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef.errors import ShapeError
from slicebed_agent.model.graphdef.values import Value, axis_of, closed, same, shaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.graphdef.values import ShapeFunction
    from slicebed_agent.model.graphdef.wire import Node


def layout(node: Node, rank: int) -> tuple[int, tuple[int, ...]]:
    """The axis of the channels and those of space, by the attribute `data_format`."""
    default = "NHWC" if rank == 4 else "NDHWC"
    order = node.words("data_format", default)
    if len(order) != rank or "C" not in order:
        raise ShapeError(f"data_format {order!r} of {rank} dimensions")
    return order.index("C"), tuple(place for place, letter in enumerate(order) if letter in "DHW")


def _steps(node: Node, key: str, rank: int) -> tuple[int, ...]:
    """A list with one number per axis; ones where it is missing."""
    found = node.numbers(key) or (1,) * rank
    if len(found) != rank or min(found) < 1:
        raise ShapeError(f"{key} {list(found)} of {rank} dimensions")
    return found


def _slid(node: Node, size: int | None, axis: int, window: int, rank: int) -> int | None:
    """Places at which the window stands along one axis (https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding)."""
    stride, dilation = _steps(node, "strides", rank)[axis], _steps(node, "dilations", rank)[axis]
    if size is None:
        return None
    reach = (window - 1) * dilation + 1
    padding = node.words("padding", "VALID")
    if padding == "SAME":
        return -(-size // stride)
    if padding == "EXPLICIT":
        explicit = node.numbers("explicit_paddings")
        if len(explicit) != 2 * rank:
            raise ShapeError(f"explicit_paddings {list(explicit)} of {rank} dimensions")
        size += explicit[2 * axis] + explicit[2 * axis + 1]
    elif padding != "VALID":
        raise ShapeError(f"padding {padding!r}")
    return max(0, (size - reach) // stride + 1)


def convolution(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Conv2D, Conv3D: filter (space..., channels of a group, channels out)."""
    image, kernel = inputs[0].known(), closed(inputs[1].known())
    if len(kernel) != len(image):
        raise ShapeError(f"a filter of {len(kernel)} dimensions on an input of {len(image)}")
    channel, space = layout(node, len(image))
    channels = image[channel]
    if channels is not None and (not kernel[-2] or channels % kernel[-2]):
        raise ShapeError(f"{channels} channels into a filter for {kernel[-2]}")
    result = list(image)
    for window, axis in zip(kernel, space, strict=False):
        result[axis] = _slid(node, image[axis], axis, window, len(image))
    result[channel] = kernel[-1]
    return [shaped(tuple(result))]


def depthwise(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """DepthwiseConv2dNative: filter (height, width, channels, multiplier)."""
    image, kernel = inputs[0].known(), closed(inputs[1].known())
    if len(kernel) != 4 or len(image) != 4:
        raise ShapeError("a depthwise convolution takes four dimensions")
    channel, space = layout(node, 4)
    same(image[channel], kernel[2])
    result = list(image)
    for window, axis in zip(kernel, space, strict=False):
        result[axis] = _slid(node, image[axis], axis, window, 4)
    result[channel] = kernel[2] * kernel[3]
    return [shaped(tuple(result))]


def transposed(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Conv2DBackpropInput: the shape is given as its first input."""
    return [shaped(inputs[0].numbers())]


def pooling(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """MaxPool, AvgPool and their 3-D kin."""
    image = inputs[0].known()
    windows = _steps(node, "ksize", len(image))
    return [shaped(tuple(_slid(node, size, axis, windows[axis], len(image)) for axis, size in enumerate(image)))]


def max_pool_v2(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """MaxPoolV2: window and stride are inputs."""
    image, windows, strides = inputs[0].known(), inputs[1].numbers(), inputs[2].numbers()
    if len(windows) != len(image) or len(strides) != len(image) or min(strides) < 1:
        raise ShapeError("window and stride do not fit the input")
    valid = node.words("padding", "VALID") == "VALID"
    return [
        shaped(
            tuple(
                None if size is None else -(-(size - window + 1 if valid else size) // stride)
                for size, window, stride in zip(image, windows, strides, strict=True)
            )
        )
    ]


def normalised(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """FusedBatchNorm: the image, then mean, variance and two (V3: three) kept for gradients."""
    image = inputs[0].known()
    channel, _ = layout(node, len(image))
    vector = shaped((same(image[channel], inputs[1].known()[0]),))
    rest = [vector] * 4
    return [shaped(image), *rest, Value(None, 0)] if node.op == "FusedBatchNormV3" else [shaped(image), *rest]


def resized(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """ResizeBilinear and its kin: (height, width) is the second input; images are NHWC."""
    image, sizes = inputs[0].known(), inputs[1].numbers()
    if len(image) != 4 or len(sizes) != 2:
        raise ShapeError("resizing takes an image and two sizes")
    return [shaped((image[0], *sizes, image[3]))]


def to_batch(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """SpaceToBatchND: blocks of space become batch."""
    image, block, pads = list(inputs[0].known()), inputs[1].numbers(), inputs[2].numbers()
    _fits(image, block, pads)
    for place, size in enumerate(block):
        before, batch = image[place + 1], image[0]
        padded = None if before is None else before + pads[2 * place] + pads[2 * place + 1]
        if padded is not None and padded % size:
            raise ShapeError(f"{padded} does not divide into blocks of {size}")
        image[place + 1] = None if padded is None else padded // size
        image[0] = None if batch is None else batch * size
    return [shaped(tuple(image))]


def from_batch(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """BatchToSpaceND: the reverse, with cropping."""
    image, block, crops = list(inputs[0].known()), inputs[1].numbers(), inputs[2].numbers()
    _fits(image, block, crops)
    for place, size in enumerate(block):
        inner, batch = image[place + 1], image[0]
        if batch is not None and batch % size:
            raise ShapeError(f"a batch of {batch} does not divide by {size}")
        image[place + 1] = None if inner is None else inner * size - crops[2 * place] - crops[2 * place + 1]
        image[0] = None if batch is None else batch // size
    return [shaped(tuple(image))]


def _fits(image: list[int | None], block: tuple[int, ...], pairs: tuple[int, ...]) -> None:
    if len(block) >= len(image) or len(pairs) != 2 * len(block) or min(block, default=1) < 1:
        raise ShapeError(f"blocks {list(block)} on {len(image)} dimensions")


def block_to_depth(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """SpaceToDepth and DepthToSpace."""
    image, block = list(inputs[0].known()), node.number("block_size", 1)
    channel, space = layout(node, len(image))
    if block < 1:
        raise ShapeError(f"blocks of {block}")
    grow = node.op == "DepthToSpace"
    for axis in space:
        image[axis] = _scaled(image[axis], block, grow=grow)
    image[axis_of(channel, len(image))] = _scaled(image[channel], block**2, grow=not grow)
    return [shaped(tuple(image))]


def _scaled(size: int | None, by: int, *, grow: bool) -> int | None:
    if size is None:
        return None
    if not grow and size % by:
        raise ShapeError(f"{size} does not divide by {by}")
    return size * by if grow else size // by


FUNCTIONS: Final[Mapping[str, ShapeFunction]] = {
    **dict.fromkeys(("Conv2D", "Conv3D"), convolution),
    "DepthwiseConv2dNative": depthwise,
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), transposed),
    **dict.fromkeys(("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D"), pooling),
    "MaxPoolV2": max_pool_v2,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), normalised),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"), resized),
    "SpaceToBatchND": to_batch,
    "BatchToSpaceND": from_batch,
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), block_to_depth),
}
