"""What shape inference knows of a tensor, and the small arithmetic that shape functions share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from slicebed_agent.model.graphdef.errors import ShapeError

if TYPE_CHECKING:
    from slicebed_agent.model.graphdef.attributes import Dims
    from slicebed_agent.model.graphdef.wire import Node

# Values of longer tensors are data, not shapes.
MAX_FOLDED: Final = 512
MAX_OUTPUTS: Final = 4096


class Value(NamedTuple):
    """A tensor for one given batch.

    Attributes:
        dims: its shape; None in it (or for all of it) is not known.
        elements: how many values; known in a few cases where `dims` are not.
        content: the values, flat, of a small tensor of whole numbers that the shapes alone decide.
    """

    dims: Dims | None
    elements: int | None
    content: tuple[int, ...] | None = None

    def rank(self) -> int:
        """Number of dimensions.

        Raises:
            ShapeError: it is not known.
        """
        return len(self.known())

    def known(self) -> Dims:
        """The dimensions.

        Raises:
            ShapeError: not even their number is known.
        """
        if self.dims is None:
            raise ShapeError("an input's number of dimensions is not known")
        return self.dims

    def numbers(self) -> tuple[int, ...]:
        """The content.

        Raises:
            ShapeError: it is decided by data.
        """
        if self.content is None:
            raise ShapeError("an input that decides the shape is decided by data")
        return self.content

    def number(self) -> int:
        """The content of a scalar.

        Raises:
            ShapeError: it is decided by data, or is not one number.
        """
        content = self.numbers()
        if len(content) != 1:
            raise ShapeError(f"{len(content)} numbers where one is expected")
        return content[0]


ShapeFunction = Callable[["Node", Sequence[Value]], "list[Value]"]
SCALAR: Final = Value((), 1)


def operators(names: str) -> frozenset[str]:
    """A set of operators' names, written one behind the other."""
    return frozenset(names.split())


def product(dims: Dims | None) -> int | None:
    """Values in a tensor of this shape; None where a dimension is not known."""
    if dims is None:
        return None
    total = 1
    for size in dims:
        if size is None:
            return None
        total *= size
    return total


def shaped(dims: Dims | None, content: tuple[int, ...] | None = None) -> Value:
    """A value of this shape.

    Raises:
        ShapeError: a dimension is negative, or the content does not fill the shape.
    """
    for size in dims or ():
        if size is not None and size < 0:
            raise ShapeError(f"a shape of {list(dims or ())}")
    if content is not None and (len(content) > MAX_FOLDED or product(dims) != len(content)):
        content = None
    return Value(dims, product(dims), content)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        ShapeError: the tensor has no such axis.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} of {rank} dimensions")
    return axis + rank if axis < 0 else axis


def same(first: int | None, second: int | None) -> int | None:
    """A dimension that two tensors share.

    Raises:
        ShapeError: they differ.
    """
    if first is None or second is None:
        return first if second is None else second
    if first != second:
        raise ShapeError(f"dimensions {first} and {second} where they must be equal")
    return first


def broadcast(shapes: Sequence[Dims | None]) -> Dims | None:
    """The shape of an elementwise operation, by numpy's rule.

    Raises:
        ShapeError: they do not fit.
    """
    result: list[int | None] = []
    known = [dims for dims in shapes if dims is not None]
    if len(known) != len(shapes):
        return None
    if len(known) == 2 and known[0][len(known[0]) - len(known[1]) :] == known[1]:
        return known[0]  # equal, or a vector per channel: nearly always
    for position in range(1, max(map(len, known), default=0) + 1):
        sizes = {dims[-position] for dims in known if len(dims) >= position} - {1}
        fixed = sizes - {None}
        if len(fixed) > 1:
            raise ShapeError(f"shapes {[list(dims) for dims in known]} do not broadcast")
        result.append(next(iter(fixed)) if fixed else (None if sizes else 1))
    return tuple(reversed(result))


def split_counts(total: int | None, parts: int) -> int | None:
    """One of `parts` equal parts.

    Raises:
        ShapeError: they would not be equal, or there are none or too many.
    """
    if not 0 < parts <= MAX_OUTPUTS:
        raise ShapeError(f"{parts} parts")
    if total is None:
        return None
    if total % parts:
        raise ShapeError(f"{total} does not divide into {parts}")
    return total // parts


def closed(dims: Dims) -> tuple[int, ...]:
    """The dimensions, all known.

    Raises:
        ShapeError: one is not.
    """
    known = tuple(size for size in dims if size is not None)
    if len(known) != len(dims):
        raise ShapeError("a dimension that decides the shape is not known")
    return known


def total(sizes: Sequence[int | None]) -> int | None:
    """Sum; None where a part is not known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def fill(dims: Dims, elements: int | None) -> Dims:
    """The shape with its one unknown dimension computed from the number of values."""
    unknown = [place for place, size in enumerate(dims) if size is None]
    rest = math.prod(size for size in dims if size is not None)
    if len(unknown) != 1 or elements is None or not rest or elements % rest:
        return dims
    return (*dims[: unknown[0]], elements // rest, *dims[unknown[0] + 1 :])
