"""Shapes of what moves values without changing them: reshaping, cutting, joining, padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef.errors import ShapeError
from slicebed_agent.model.graphdef.values import (
    MAX_FOLDED,
    MAX_OUTPUTS,
    Value,
    axis_of,
    fill,
    product,
    same,
    shaped,
    split_counts,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.graphdef.attributes import Dims
    from slicebed_agent.model.graphdef.values import ShapeFunction
    from slicebed_agent.model.graphdef.wire import Node


def alias(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """What comes in goes out."""
    return list(inputs)


def reshape(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Reshape: the second input is the shape. Where its values are lost, the number of values stays the input's."""
    elements, target = inputs[0].elements, inputs[1].content
    if target is not None and all(size == 0 for size in target) and target and elements:
        target = None  # emptied contents read as zeros
    if target is None:
        rank = (inputs[1].dims or (None,))[0]
        dims: Dims | None = None if rank is None or rank > MAX_FOLDED else fill((None,) * rank, elements)
        return [Value(dims, elements)]
    if sum(size == -1 for size in target) > 1 or any(size < -1 for size in target):
        raise ShapeError(f"a new shape of {list(target)}")
    found = fill(tuple(None if size == -1 else size for size in target), elements)
    count = product(found)
    if elements is not None and count != elements:
        raise ShapeError(f"{elements} values into the shape {list(target)}")
    return [Value(found, elements if elements is not None else count, inputs[0].content)]


def squeeze(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Squeeze: axes of size one go."""
    dims = inputs[0].known()
    named = node.numbers("squeeze_dims") or node.numbers("axis")
    axes = {axis_of(axis, len(dims)) for axis in named} or {place for place, size in enumerate(dims) if size == 1}
    for axis in axes:
        same(dims[axis], 1)
    return [shaped(tuple(size for place, size in enumerate(dims) if place not in axes), inputs[0].content)]


def expand(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """ExpandDims: one axis of size one more."""
    dims = inputs[0].known()
    axis = axis_of(inputs[1].number(), len(dims) + 1)
    return [shaped((*dims[:axis], 1, *dims[axis:]), inputs[0].content)]


def transpose(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Transpose: the second input is the order of the axes."""
    dims, order = inputs[0].known(), inputs[1].numbers()
    if sorted(order) != list(range(len(dims))):
        raise ShapeError(f"order {list(order)} of {len(dims)} axes")
    return [shaped(tuple(dims[axis] for axis in order))]


def concat(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """ConcatV2 (the axis is the last input) and Concat (the first)."""
    values, axis_input = (inputs[:-1], inputs[-1]) if node.op == "ConcatV2" else (inputs[1:], inputs[0])
    rank = values[0].rank()
    axis = axis_of(axis_input.number(), rank)
    result = list(values[0].known())
    for value in values[1:]:
        dims = value.known()
        if len(dims) != rank:
            raise ShapeError(f"tensors of {rank} and {len(dims)} dimensions side by side")
        result = [
            same(first, second) if place != axis else first
            for place, (first, second) in enumerate(zip(result, dims, strict=True))
        ]
    result[axis] = total([value.known()[axis] for value in values])
    content = None
    if rank == 1 and all(value.content is not None for value in values):
        content = tuple(number for value in values for number in value.numbers())
    return [shaped(tuple(result), content)]


def pack(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Pack: equal tensors along a new axis."""
    dims = inputs[0].known()
    for value in inputs[1:]:
        dims = tuple(same(first, second) for first, second in zip(dims, value.known(), strict=True))
    axis = axis_of(node.number("axis"), len(dims) + 1)
    content = None
    if not dims and all(value.content is not None for value in inputs):
        content = tuple(value.number() for value in inputs)
    return [shaped((*dims[:axis], len(inputs), *dims[axis:]), content)]


def unpack(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Unpack: one tensor per place on an axis."""
    dims = inputs[0].known()
    axis, count = axis_of(node.number("axis"), len(dims)), node.number("num")
    same(dims[axis], count)
    if not 0 <= count <= MAX_OUTPUTS:
        raise ShapeError(f"{count} outputs")
    rest = (*dims[:axis], *dims[axis + 1 :])
    if not rest and inputs[0].content is not None:
        return [shaped((), (number,)) for number in inputs[0].content]
    return [shaped(rest)] * count


def split(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Split: equal parts; the axis is the first input."""
    dims = inputs[1].known()
    axis, parts = axis_of(inputs[0].number(), len(dims)), node.number("num_split")
    part = split_counts(dims[axis], parts)
    return [shaped((*dims[:axis], part, *dims[axis + 1 :]))] * parts


def split_v(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """SplitV: parts of given sizes, one of which may be the rest (-1)."""
    dims, sizes = inputs[0].known(), inputs[1].numbers()
    axis = axis_of(inputs[2].number(), len(dims))
    rest = None if dims[axis] is None else (dims[axis] or 0) - sum(size for size in sizes if size >= 0)
    return [shaped((*dims[:axis], rest if size == -1 else size, *dims[axis + 1 :])) for size in sizes]


def pad(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Pad, PadV2, MirrorPad: the second input holds (before, after) of each axis."""
    dims, pads = inputs[0].known(), inputs[1].numbers()
    if len(pads) != 2 * len(dims):
        raise ShapeError(f"{len(pads)} paddings on {len(dims)} dimensions")
    return [
        shaped(
            tuple(
                None if size is None else size + pads[2 * place] + pads[2 * place + 1]
                for place, size in enumerate(dims)
            )
        )
    ]


def tile(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Tile: each axis repeated."""
    dims, times = inputs[0].known(), inputs[1].numbers()
    return [shaped(tuple(None if size is None else size * n for size, n in zip(dims, times, strict=True)))]


def cut(_node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Slice: begin and size of each axis; -1 is all that is left."""
    dims, begins, sizes = inputs[0].known(), inputs[1].numbers(), inputs[2].numbers()
    result = []
    for have, begin, size in zip(dims, begins, sizes, strict=True):
        result.append(size if size != -1 else None if have is None else have - begin)
    content = None
    if inputs[0].content is not None and len(dims) == 1:
        content = inputs[0].content[begins[0] :][: result[0]]
    return [shaped(tuple(result), content)]


def strided(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """StridedSlice, with its five masks (strided_slice_op.cc)."""
    dims, strides = inputs[0].known(), inputs[3].numbers()
    begins, ends = inputs[1].content, inputs[2].content
    begin_mask, end_mask = node.number("begin_mask"), node.number("end_mask")
    ellipsis, new_axis, shrink = (node.number(f"{key}_mask") for key in ("ellipsis", "new_axis", "shrink_axis"))
    taken = sum(not ((new_axis | ellipsis) >> place & 1) for place in range(len(strides)))
    result: list[int | None] = []
    axis = 0
    chosen: range | None = None
    for place, step in enumerate(strides):
        if ellipsis >> place & 1:
            width = len(dims) - taken
            result += dims[axis : axis + width]
            axis += width
        elif new_axis >> place & 1:
            result.append(1)
        else:
            have = dims[axis]
            begin = None if begin_mask >> place & 1 else _at(begins, place)
            end = None if end_mask >> place & 1 else _at(ends, place)
            one = bool(shrink >> place & 1)
            chosen = _range(have, begin, end, step, one=one)
            if not one:
                result.append(None if chosen is None else len(chosen))
            axis += 1
    result += dims[axis:]
    content = inputs[0].content
    picked = (
        tuple(content[i] for i in chosen)
        if content is not None and len(dims) == 1 and chosen is not None and axis
        else None
    )
    return [shaped(tuple(result), picked)]


def _at(numbers: tuple[int, ...] | None, place: int) -> int:
    if numbers is None:
        raise ShapeError("where a slice begins or ends is decided by data")
    return numbers[place]


def _range(have: int | None, begin: int | None, end: int | None, step: int, *, one: bool) -> range | None:
    """Places that a slice takes of one axis; None where its size is not known."""
    if have is None:
        return None
    if not one:
        if not step:
            raise ShapeError("a slice of stride 0")
        return range(have)[slice(begin, end, step)]
    first = begin or 0
    return range(axis_of(first, have), axis_of(first, have) + 1)


def gather(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """Gather, GatherV2: rows (along an axis) by number."""
    dims, places = inputs[0].known(), inputs[1].known()
    if node.number("batch_dims"):
        raise ShapeError("gathering within a batch is not known here")
    axis = axis_of(inputs[2].number(), len(dims)) if len(inputs) > 2 else 0
    content = None
    if len(dims) == 1 and inputs[0].content is not None and inputs[1].content is not None:
        content = tuple(inputs[0].content[place] for place in inputs[1].content)
    return [shaped((*dims[:axis], *places, *dims[axis + 1 :]), content)]


FUNCTIONS: Final[Mapping[str, ShapeFunction]] = {
    **dict.fromkeys(
        (
            "Identity",
            "IdentityN",
            "GuaranteeConst",
            "StopGradient",
            "PreventGradient",
            "Snapshot",
            "PlaceholderWithDefault",
        ),
        alias,
    ),
    "Reshape": reshape,
    "Squeeze": squeeze,
    "ExpandDims": expand,
    "Transpose": transpose,
    **dict.fromkeys(("Concat", "ConcatV2"), concat),
    "Pack": pack,
    "Unpack": unpack,
    "Split": split,
    "SplitV": split_v,
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), pad),
    "Tile": tile,
    "Slice": cut,
    "StridedSlice": strided,
    **dict.fromkeys(("Gather", "GatherV2"), gather),
}
