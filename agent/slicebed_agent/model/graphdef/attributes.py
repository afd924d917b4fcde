"""Attributes of a node (attr_value.proto, tensor.proto, tensor_shape.proto), decoded when they are asked for."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from slicebed_agent.model.graphdef import dtypes
from slicebed_agent.model.graphdef.errors import WireError
from slicebed_agent.model.graphdef.protobuf import BYTES, FIXED32, FIXED64, VARINT, fields, packed, signed, text

if TYPE_CHECKING:
    from slicebed_agent.model.graphdef.protobuf import Buffer, Field

Dims = tuple[int | None, ...]
Numbers = tuple[int, ...] | tuple[float, ...]

# Contents above this are weights; no shape depends on them.
SMALL_BYTES: Final = 4096
_SMALL_FLOAT_BYTES: Final = 256
_KEPT_SHAPES: Final = 512
_MAX_RANK: Final = 254  # TensorFlow's own limit (tensor_shape.h)
_STRUCT: Final = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 22: "I", 23: "Q"}
# The repeated field of TensorProto that holds the values of each dtype that is read: float_val, int_val, int64_val...
_VALUE_FIELD: Final = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11, 17: 7, 22: 16, 23: 17}
# Of AttrValue and its ListValue: an int, bool or dtype; a function, and the name of one that is filled in later.
_NUMBERS: Final = frozenset({3, 5, 6})
_CALLS: Final = frozenset({9, 10})


class TensorValue(NamedTuple):
    """A constant tensor.

    Attributes:
        dtype: TensorFlow's number.
        dims: its shape.
        content: its values, flat, where it is small and of plain numbers; None otherwise.
    """

    dtype: int
    dims: tuple[int, ...]
    content: Numbers | None

    @property
    def elements(self) -> int:
        """How many values."""
        return math.prod(self.dims)


class Attribute(NamedTuple):
    """One attribute; whichever of its values is set.

    Attributes:
        number: an int, bool or dtype.
        words: a string, as bytes.
        numbers: a list of ints, bools or dtypes.
        shapes: a shape, or a list of shapes; None in it is a shape of unknown rank.
        tensor: a tensor.
        calls: whether it names a function.
    """

    number: int | None = None
    words: bytes | None = None
    numbers: tuple[int, ...] = ()
    shapes: tuple[Dims | None, ...] = ()
    tensor: TensorValue | None = None
    calls: bool = False


@dataclass(slots=True)
class Stored:
    """An attribute as a file has it.

    Attributes:
        raw: the serialised AttrValue; empty where that was left in the file, see `wire.Node`.
        decoded: the same, once it was asked for; of one left in the file always.
    """

    raw: bytes
    decoded: Attribute | None = None

    def read(self) -> Attribute:
        """What it says.

        Raises:
            WireError: malformed.
        """
        if self.decoded is None:
            self.decoded = decode(self.raw)
        return self.decoded


def decode(raw: bytes) -> Attribute:
    """An AttrValue.

    Raises:
        WireError: malformed.
    """
    return decode_at(raw, 0, len(raw))


def decode_at(buffer: Buffer, start: int, end: int) -> Attribute:
    """An AttrValue where it lies; the contents of a large tensor are passed over.

    Raises:
        WireError: malformed.
    """
    found = Attribute()
    for number, kind, value, first, last in fields(buffer, start, end):
        if kind == BYTES:
            if number == 8:
                found = Attribute(tensor=_tensor(buffer, first, last))
            elif number == 1:
                found = _list(buffer, first, last)
            elif number == 7:
                found = Attribute(shapes=(_shape(bytes(buffer[first:last])),))
            elif number == 2:
                found = Attribute(words=bytes(buffer[first:last]))
            elif number in _CALLS:
                found = Attribute(calls=True)
        elif kind == VARINT and number in _NUMBERS:
            found = Attribute(number=signed(value))
        # Otherwise a float, or what a later TensorFlow adds: no shape depends on it.
    return found


def _list(buffer: Buffer, start: int, end: int) -> Attribute:
    numbers: list[int] = []
    shapes: list[Dims | None] = []
    calls = False
    for field in fields(buffer, start, end):
        number, kind, _, first, last = field
        if number in _NUMBERS:
            numbers.extend(signed(value) for value in packed(buffer, field))
        elif number == 7 and kind == BYTES:
            shapes.append(_shape(bytes(buffer[first:last])))
        calls = calls or number == 9
    return Attribute(numbers=tuple(numbers), shapes=tuple(shapes), calls=calls)


@functools.lru_cache(maxsize=_KEPT_SHAPES)
def _shape(raw: bytes) -> Dims | None:
    """A TensorShapeProto; a model has thousands of tensors and some dozens of shapes."""
    dims: list[int | None] = []
    for number, kind, value, first, last in fields(raw, 0, len(raw)):
        if number == 3 and kind == VARINT and value:
            return None
        if number != 2 or kind != BYTES:
            continue
        size = 0
        for part, part_kind, part_value, _, _ in fields(raw, first, last):
            if part == 1 and part_kind == VARINT:
                size = signed(part_value)
        if size < -1:
            raise WireError(f"a dimension of {size}", first)
        dims.append(None if size < 0 else size)
    if len(dims) > _MAX_RANK:
        raise WireError(f"a shape of {len(dims)} dimensions", 0)
    return tuple(dims)


def _tensor(buffer: Buffer, start: int, end: int) -> TensorValue:
    dtype = 0
    dims: Dims | None = ()
    raw = (0, 0)
    listed: list[Field] = []
    for field in fields(buffer, start, end):
        number, kind, value, first, last = field
        if number == 1 and kind == VARINT:
            dtype = dtypes.plain(value)
        elif number == 2 and kind == BYTES:
            dims = _shape(bytes(buffer[first:last]))
        elif number == 4 and kind == BYTES:
            raw = first, last
        elif number >= 5 and len(listed) <= SMALL_BYTES:
            listed.append(field)
    if dims is None or None in dims:
        raise WireError("a constant leaves its shape open", start)
    closed = tuple([size for size in dims if size is not None])
    return TensorValue(dtype, closed, _content(buffer, dtype, math.prod(closed), raw, listed))


def _content(buffer: Buffer, dtype: int, count: int, raw: tuple[int, int], listed: list[Field]) -> Numbers | None:
    """The values as TensorFlow would read them (Tensor::FromProto): raw bytes, or a list whose last value repeats."""
    letter = _STRUCT.get(dtype)
    limit = _SMALL_FLOAT_BYTES if dtypes.is_floating(dtype) else SMALL_BYTES
    if letter is None or count * struct.calcsize(letter) > limit:
        return None
    first, last = raw
    if last > first:
        if last - first != count * struct.calcsize(letter):
            raise WireError(f"{last - first} bytes of content for {count} values", first)
        return struct.unpack(f"<{count}{letter}", buffer[first:last])
    values: list[int | float] = []
    for field in listed:
        if field[0] == _VALUE_FIELD[dtype]:
            values.extend(_values(buffer, field, dtype))
    if len(values) > count:
        raise WireError(f"{len(values)} values listed for {count}", listed[0][3])
    # No value at all is how TensorFlow compresses a tensor of zeros.
    values += [values[-1] if values else 0] * (count - len(values))
    return tuple(values)


def _values(buffer: Buffer, field: Field, dtype: int) -> list[int] | list[float]:
    number, kind, _, first, last = field
    if last - first > SMALL_BYTES * 10:  # a varint takes ten bytes at most
        raise WireError("more values than the constant has", first)
    letter = {5: "f", 6: "d"}.get(number)
    if letter is None:
        return [signed(value) for value in packed(buffer, field)]
    if kind not in {BYTES, FIXED32 if letter == "f" else FIXED64}:
        raise WireError(f"values of dtype {dtype} are no numbers of their size", first)
    count, rest = divmod(last - first, struct.calcsize(letter))
    if rest:
        raise WireError("a list of numbers ends within one", first)
    return list(struct.unpack(f"<{count}{letter}", buffer[first:last]))


def words(raw: bytes) -> str:
    """The text of a string attribute.

    Raises:
        WireError: it is not UTF-8.
    """
    return text(raw, 0, len(raw))
