"""An encoded boundary in parts: divided by the sender, put together by the receiver. Pure: no thread, no clock."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import Payload, TensorHead
from slicebed_agent.pipeline.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PART_BYTES: Final = 16 * 1024 * 1024
MAX_PART_COUNT: Final = 65536
MAX_FRAME_BYTES: Final = 1024**3
MAX_TENSORS: Final = 256
MAX_RANK: Final = 64
LONG_BYTES: Final = 256 * 1024
"""The arrival of a frame of so many bytes or more is told to its sender."""

_DTYPE: Final = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|bfloat16|complex(64|128)")


@dataclasses.dataclass(frozen=True, slots=True)
class FrameHead:
    """What travels with a frame's first part."""

    codec: Codec
    tensors: tuple[TensorHead, ...]
    version: int
    sent_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One part; the wire's `FramePart`. The first one, and no other, has the head."""

    frame_id: int
    part_index: int
    part_count: int
    total_bytes: int
    payload: memoryview
    head: FrameHead | None = None

    @property
    def last(self) -> bool:
        """True when the frame is whole with this one."""
        return self.part_index == self.part_count - 1


def divide(frame_id: int, buffers: Sequence[memoryview], head: FrameHead, max_part_bytes: int) -> Iterator[Part]:
    """Cut what the buffers hold into consecutive parts of `max_part_bytes`, the last one as long as what remains.

    A part that lies within one buffer is a view of it; one that spans several is their copy.

    Raises:
        PayloadError: the receiver would refuse so long a frame, or so many parts.
    """
    total = sum(buffer.nbytes for buffer in buffers)
    count = part_count(total, max_part_bytes)
    starts = range(0, count * max_part_bytes, max_part_bytes)
    pieces = cut(buffers, (min(max_part_bytes, total - start) for start in starts))
    for index, piece in enumerate(pieces):
        yield Part(frame_id, index, count, total, piece, None if index else head)


def part_count(total_bytes: int, max_part_bytes: int) -> int:
    """Number of parts that so many bytes make: one even of none, since the head must travel.

    Raises:
        PayloadError: see `divide`.
    """
    count = max(1, -(-total_bytes // max_part_bytes))
    if total_bytes > MAX_FRAME_BYTES or count > MAX_PART_COUNT:
        raise PayloadError(
            f"{total_bytes} bytes in {count} parts of {max_part_bytes}",
            where="link",
            mend=f"a frame is at most {MAX_FRAME_BYTES} bytes in at most {MAX_PART_COUNT} parts; raise max_throughput",
        )
    return count


def check(part: Part) -> None:
    """Refuse a part that contradicts itself or the limits.

    Raises:
        PayloadError: says which.
    """
    size = part.payload.nbytes
    where = f"frame {part.frame_id}"
    if not 1 <= part.part_count <= MAX_PART_COUNT:
        raise PayloadError(f"part_count {part.part_count} is not 1..{MAX_PART_COUNT}", where=where)
    if part.part_index >= part.part_count:
        raise PayloadError(f"part_index {part.part_index} of {part.part_count} parts", where=where)
    if part.total_bytes > MAX_FRAME_BYTES:
        raise PayloadError(f"total_bytes {part.total_bytes} is more than {MAX_FRAME_BYTES}", where=where)
    if size > MAX_PART_BYTES or (size == 0 and part.total_bytes):
        raise PayloadError(f"payload of {size} bytes is not 1..{MAX_PART_BYTES}", where=where)
    if size > part.total_bytes - (part.part_count - 1):
        raise PayloadError(
            f"payload of {size} bytes leaves nothing of {part.total_bytes} for {part.part_count - 1} more parts",
            where=where,
        )
    if (part.head is not None) != (part.part_index == 0):
        raise PayloadError(f"part {part.part_index} {'with' if part.head else 'without'} a head", where=where)
    if part.head is not None:
        _check_head(part.head, part.total_bytes, where)


def _check_head(head: FrameHead, total_bytes: int, where: str) -> None:
    if head.codec is Codec.TENSOR_PROTO:
        if head.tensors or not total_bytes:
            raise PayloadError(
                f"{len(head.tensors)} tensor heads before {total_bytes} bytes that need none", where=where
            )
        return
    if not 1 <= len(head.tensors) <= MAX_TENSORS:
        raise PayloadError(f"{len(head.tensors)} tensor heads are not 1..{MAX_TENSORS}", where=where)
    for number, tensor in enumerate(head.tensors):
        _check_tensor(tensor, head.codec, f"{where}, tensor {number}")
    announced = sum(tensor.size_bytes for tensor in head.tensors)
    if announced != total_bytes:
        raise PayloadError(f"the tensors' heads announce {announced} bytes of {total_bytes}", where=where)


def _check_tensor(tensor: TensorHead, codec: Codec, where: str) -> None:
    if not _DTYPE.fullmatch(tensor.dtype):
        raise PayloadError(f"dtype {tensor.dtype[:40]!r} is none that travels", where=where)
    if len(tensor.shape) > MAX_RANK:
        raise PayloadError(f"{len(tensor.shape)} dimensions are more than {MAX_RANK}", where=where)
    item_bytes = 2 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).itemsize
    array_bytes = math.prod(tensor.shape) * item_bytes
    if array_bytes > MAX_FRAME_BYTES:
        raise PayloadError(f"shape {tensor.shape} of {tensor.dtype} is more than {MAX_FRAME_BYTES} bytes", where=where)
    if codec is Codec.RAW and tensor.size_bytes != array_bytes:
        raise PayloadError(
            f"shape {tensor.shape} of {tensor.dtype} takes {array_bytes} bytes, not {tensor.size_bytes}", where=where
        )
    if not (math.isfinite(tensor.scale) and math.isfinite(tensor.lowest)):
        raise PayloadError(f"scale {tensor.scale} and lowest {tensor.lowest} are not both finite", where=where)


class Assembly:
    """One frame's parts, as they come: in their order, which a stream keeps."""

    def __init__(self, first: Part) -> None:
        """Begin with a first part that `check` found sound.

        Raises:
            PayloadError: it is not the first.
        """
        if first.head is None:
            raise PayloadError(f"begins with part {first.part_index}", where=f"frame {first.frame_id}")
        self._head, self._first = first.head, first
        self._next_index = self._held_bytes = 0
        # What is not written yet takes no memory, whatever the sender announced.
        whole = first.part_count == 1
        self._bytes = None if whole else np.empty(first.total_bytes, np.uint8)

    def add(self, part: Part) -> Payload | None:
        """Take the next part, the first one included; the whole payload with the last one, else None.

        Raises:
            PayloadError: the part contradicts the first one, or is not the next.
        """
        first, where = self._first, f"frame {part.frame_id}"
        if (part.part_count, part.total_bytes) != (first.part_count, first.total_bytes):
            raise PayloadError(
                f"part {part.part_index} announces {part.part_count} parts of {part.total_bytes} bytes, "
                f"the first one {first.part_count} of {first.total_bytes}",
                where=where,
            )
        if part.part_index != self._next_index:
            raise PayloadError(f"part {part.part_index} came in place of {self._next_index}", where=where)
        end = self._held_bytes + part.payload.nbytes
        if end > first.total_bytes or (part.last and end != first.total_bytes):
            raise PayloadError(f"{part.part_index + 1} parts hold {end} bytes of {first.total_bytes}", where=where)
        if self._bytes is not None:
            # Unlike a memoryview's, this assignment lets other threads run meanwhile.
            np.copyto(self._bytes[self._held_bytes : end], np.frombuffer(part.payload, np.uint8))
        self._next_index, self._held_bytes = part.part_index + 1, end
        if not part.last:
            return None
        whole = part.payload if self._bytes is None else self._bytes.data
        return Payload(self._head.codec, self._head.tensors, (whole,))
