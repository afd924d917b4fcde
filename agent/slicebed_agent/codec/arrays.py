"""Arrays and the bytes they are sent as: names, sizes and limits, checked before anything is allocated."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import PayloadError
from slicebed_agent.model.execute.tensors import CODES, dtype_of
from slicebed_agent.pipeline.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slicebed_agent.pipeline.contracts import Payload, Tensor, TensorHead

MAX_BYTES: Final = 1 << 30
"""Of a boundary's arrays together; what would be longer is refused on both sides."""
_MAX_RANK: Final = 64  # numpy's own limit

Flat = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, slots=True)
class Announced:
    """A tensor as its head announces it, checked.

    Attributes:
        dtype: of the array.
        count: of its values.
        data: its encoded bytes.
    """

    head: TensorHead
    dtype: np.dtype[Any]
    count: int
    data: memoryview

    @property
    def nbytes(self) -> int:
        """Of the array."""
        return self.count * self.dtype.itemsize

    def array(self, buffer: memoryview | Flat) -> Tensor:
        """The array over these bytes, read-only."""
        made: Tensor = np.frombuffer(buffer, self.dtype, self.count).reshape(self.head.shape)
        made.flags.writeable = False
        return made


def flat(array: Tensor) -> Flat:
    """The array's bytes, in C order, without a copy where it lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def check(arrays: Sequence[Tensor]) -> None:
    """Refuse a boundary that its receiver would refuse.

    Raises:
        PayloadError: TensorFlow has no such data type, one is not little-endian, or together they are too long.
    """
    for array in arrays:
        if array.dtype.name not in CODES or array.dtype.byteorder == ">":
            raise PayloadError(
                f"arrays of {array.dtype} cannot be sent", where="encode", mend="send little-endian numbers"
            )
    total = sum(array.nbytes for array in arrays)
    if total > MAX_BYTES:
        raise _too_long(total, "encode")


def announced(payload: Payload) -> Iterator[Announced]:
    """The tensors of a payload; before the first one, all heads are held against limits and the bytes that came.

    Raises:
        PayloadError: a head is impossible, or heads and bytes disagree.
    """
    kinds = [(_dtype(head), _count(head)) for head in payload.heads]
    total = sum(dtype.itemsize * count for dtype, count in kinds)
    if total > MAX_BYTES:
        raise _too_long(total, "decode")
    sizes = [head.size_bytes for head in payload.heads]
    if sum(sizes) != payload.size_bytes or min(sizes, default=0) < 0:
        raise PayloadError(f"heads announce {sum(sizes)} bytes, {payload.size_bytes} came", where="decode")
    for head, (dtype, count), data in zip(payload.heads, kinds, cut(payload.buffers, sizes), strict=True):
        yield Announced(head, dtype, count, data)


def _dtype(head: TensorHead) -> np.dtype[Any]:
    code = CODES.get(head.dtype)
    if code is None:
        raise PayloadError(f"no dtype {head.dtype[:40]!r}", where="decode")
    try:
        return dtype_of(code)
    except ImportError as error:
        raise PayloadError(f"this host has no {head.dtype}: {error}", where="decode") from error


def _count(head: TensorHead) -> int:
    if len(head.shape) > _MAX_RANK or min(head.shape, default=0) < 0:
        raise PayloadError(f"no array has {len(head.shape)} dimensions of {head.shape[:8]}", where="decode")
    # Numpy refuses dimensions whose product without the zeros overflows, so these are held to the limit too.
    if math.prod(size for size in head.shape if size) > MAX_BYTES:
        raise PayloadError(f"an array of {head.shape[:8]} is longer than {MAX_BYTES} bytes", where="decode")
    return math.prod(head.shape)


def _too_long(total: int, where: str) -> PayloadError:
    return PayloadError(
        f"a boundary of {total} bytes is longer than {MAX_BYTES}", where=where, mend="cut elsewhere or shrink the batch"
    )
