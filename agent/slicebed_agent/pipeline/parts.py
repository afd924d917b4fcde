"""A serialised boundary in parts: divided by the sender, put together by the receiver. Pure: no thread, no clock."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PART_BYTES: Final = 16 * 1024 * 1024
MAX_PART_COUNT: Final = 65536
MAX_FRAME_BYTES: Final = 1024**3


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One part; the wire's `FramePart` without its run."""

    frame_id: int
    part_index: int
    part_count: int
    total_bytes: int
    payload: bytes


def divide(frame_id: int, data: bytes, max_part_bytes: int) -> Iterator[Part]:
    """Cut `data` (not empty) into consecutive parts of `max_part_bytes`, the last one as long as what remains.

    Raises:
        PayloadError: the receiver would refuse so long a frame, or so many parts.
    """
    count = part_count(len(data), max_part_bytes)
    for index in range(count):
        payload = data[index * max_part_bytes : (index + 1) * max_part_bytes]
        yield Part(frame_id, index, count, len(data), payload)


def part_count(total_bytes: int, max_part_bytes: int) -> int:
    """Number of parts that so many bytes make.

    Raises:
        PayloadError: see `divide`.
    """
    count = -(-total_bytes // max_part_bytes)
    if not 0 < total_bytes <= MAX_FRAME_BYTES or count > MAX_PART_COUNT:
        raise PayloadError(
            f"{total_bytes} bytes in {count} parts of {max_part_bytes}",
            where="link",
            mend=f"a frame is 1..{MAX_FRAME_BYTES} bytes in at most {MAX_PART_COUNT} parts; raise max_throughput",
        )
    return count


def check(part: Part) -> None:
    """Refuse a part that contradicts itself or the limits.

    Raises:
        PayloadError: says which.
    """
    size = len(part.payload)
    where = f"frame {part.frame_id}"
    if not 1 <= part.part_count <= MAX_PART_COUNT:
        raise PayloadError(f"part_count {part.part_count} is not 1..{MAX_PART_COUNT}", where=where)
    if part.part_index >= part.part_count:
        raise PayloadError(f"part_index {part.part_index} of {part.part_count} parts", where=where)
    if not 1 <= part.total_bytes <= MAX_FRAME_BYTES:
        raise PayloadError(f"total_bytes {part.total_bytes} is not 1..{MAX_FRAME_BYTES}", where=where)
    if not 1 <= size <= MAX_PART_BYTES:
        raise PayloadError(f"payload of {size} bytes is not 1..{MAX_PART_BYTES}", where=where)
    if size > part.total_bytes - (part.part_count - 1):
        raise PayloadError(
            f"payload of {size} bytes leaves nothing of {part.total_bytes} for {part.part_count - 1} more parts",
            where=where,
        )


class Reassembler:
    """Puts frames together from parts that come in any order, and holds no more than `max_held_bytes` of them."""

    def __init__(self, max_held_bytes: int = MAX_FRAME_BYTES) -> None:
        """Start with nothing."""
        self._max_held_bytes = max_held_bytes
        self._held_bytes = 0
        self._open: dict[int, _Assembly] = {}

    def add(self, part: Part) -> list[bytes] | None:
        """Take a part that `check` found sound.

        Returns:
            The frame's payloads in order when this was its last missing part, else None.

        Raises:
            PayloadError: the part contradicts another part of its frame, or the bound on memory.
        """
        assembly = self._open.get(part.frame_id)
        if assembly is None:
            assembly = _Assembly(part.part_count, part.total_bytes)
        assembly.check(part)
        size = len(part.payload)
        if self._held_bytes + size > self._max_held_bytes:
            raise PayloadError(
                f"unfinished frames would hold more than {self._max_held_bytes} bytes", where=f"frame {part.frame_id}"
            )
        self._open[part.frame_id] = assembly
        assembly.payloads[part.part_index] = part.payload
        assembly.held_bytes += size
        self._held_bytes += size
        if len(assembly.payloads) < assembly.part_count:
            return None
        self.discard(part.frame_id)
        if assembly.held_bytes != assembly.total_bytes:
            raise PayloadError(
                f"all {assembly.part_count} parts hold {assembly.held_bytes} bytes of {assembly.total_bytes}",
                where=f"frame {part.frame_id}",
            )
        return [assembly.payloads[index] for index in range(assembly.part_count)]

    def discard(self, frame_id: int) -> None:
        """Forget a frame's parts."""
        assembly = self._open.pop(frame_id, None)
        if assembly is not None:
            self._held_bytes -= assembly.held_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of unfinished frames."""
        return self._held_bytes


@dataclasses.dataclass(slots=True)
class _Assembly:
    part_count: int
    total_bytes: int
    held_bytes: int = 0
    payloads: dict[int, bytes] = dataclasses.field(default_factory=dict)

    def check(self, part: Part) -> None:
        where = f"frame {part.frame_id}"
        if (part.part_count, part.total_bytes) != (self.part_count, self.total_bytes):
            raise PayloadError(
                f"part {part.part_index} announces {part.part_count} parts of {part.total_bytes} bytes, "
                f"an earlier one {self.part_count} of {self.total_bytes}",
                where=where,
            )
        if part.part_index in self.payloads:
            raise PayloadError(f"part {part.part_index} came twice", where=where)
        if self.held_bytes + len(part.payload) > self.total_bytes:
            raise PayloadError(f"the parts hold more than the announced {self.total_bytes} bytes", where=where)
