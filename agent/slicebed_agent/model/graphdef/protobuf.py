"""The wire format of protocol buffers, read where it lies: nothing is copied but what is asked for.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

FileBytes = bytes | mmap.mmap
"""Slices of it are bytes of their own, which a dict can be asked for."""

Buffer = FileBytes | memoryview
# One field of a message: its number; VARINT, FIXED64, BYTES or FIXED32; the value of a VARINT, unsigned (otherwise 0);
# where its bytes begin and end in the buffer. A plain tuple: a large graph has tens of thousands.
Field = tuple[int, int, int, int, int]

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_VARINT_BITS: Final = 70  # seven in each of ten bytes
_UINT64: Final = (1 << 64) - 1


def varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """An unsigned number of up to 64 bits, and the position behind it.

    Raises:
        WireError: it runs over `end` or over ten bytes.
    """
    value = shift = 0
    start = position
    while position < end and shift < _VARINT_BITS:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, position
        shift += 7
    raise WireError("a number does not end", start)


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies in ``buffer[start:end]``, in their order.

    Raises:
        WireError: a field is malformed or runs over `end`.
    """
    position = start
    while position < end:
        begin = position
        tag = buffer[position]
        position += 1
        if tag >= 0x80:
            tag, position = varint(buffer, begin, end)
        number, kind = tag >> 3, tag & 7
        value = 0
        first = position
        if kind == VARINT:
            value, position = varint(buffer, position, end)
        elif kind == BYTES:
            if position < end and (length := buffer[position]) < 0x80:
                first = position + 1
            else:
                length, first = varint(buffer, position, end)
            position = first + length
        elif kind == FIXED32:
            position += 4
        elif kind == FIXED64:
            position += 8
        else:
            raise WireError(f"field {number} has wire type {kind}, which no frozen graph uses", begin)
        if not number:
            raise WireError("a field has number 0", begin)
        if position > end:
            raise WireError(f"field {number} runs {position - end} bytes over the end of its message", begin)
        yield number, kind, value, first, position


def packed(buffer: Buffer, field: Field) -> list[int]:
    """The numbers of a repeated varint field, written one by one or packed.

    Raises:
        WireError: see `varint`.
    """
    number, kind, value, position, end = field
    if kind == VARINT:
        return [value]
    if kind != BYTES:
        raise WireError(f"field {number} holds no whole numbers", position)
    found = []
    while position < end:
        value, position = varint(buffer, position, end)
        found.append(value)
    return found


def signed(value: int) -> int:
    """The int64 (or sign-extended int32) that an unsigned varint stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def text(buffer: Buffer, start: int, end: int) -> str:
    """A string.

    Raises:
        WireError: it is not UTF-8.
    """
    try:
        return str(buffer[start:end], "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a name is not UTF-8", start) from error
