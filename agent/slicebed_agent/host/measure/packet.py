"""The packets of a probe: one fixed size in both directions, so that nothing is amplified and both ways cost the same.

An answer carries a number of its own. With the probe's sequence number it tells, for each direction by itself, what was
lost, what came twice and what overtook.
"""

from __future__ import annotations

import hmac
import struct
from array import array
from dataclasses import dataclass, field

TOKEN_BYTES = 16
MAX_PROBES = 200_000
_MAGIC = b"SBm1"
# Magic, token, sequence, answer number, receive stamp, turnaround; padded to 64 bytes.
_LAYOUT = struct.Struct("!4s16sIIQQ20x")
PACKET_BYTES = _LAYOUT.size


@dataclass(frozen=True)
class Packet:
    """A probe, or the answer to one.

    Attributes:
        sequence: the probe's number, from 0.
        answer: the answer's own number, from 1; 0 in a probe.
        received_ns: when the probe reached the responder's kernel, on the responder's wall clock.
        turnaround_ns: how long the responder kept it.
    """

    sequence: int
    answer: int = 0
    received_ns: int = 0
    turnaround_ns: int = 0


def pack(token: bytes, packet: Packet) -> bytes:
    """Give the bytes on the wire."""
    return _LAYOUT.pack(_MAGIC, token, packet.sequence, packet.answer, packet.received_ns, max(packet.turnaround_ns, 0))


def unpack(token: bytes, data: bytes) -> Packet | None:
    """Read a packet; None for anything that is not exactly one of this session's."""
    if len(data) != PACKET_BYTES:
        return None
    magic, its_token, sequence, answer, received_ns, turnaround_ns = _LAYOUT.unpack(data)
    if magic != _MAGIC or not hmac.compare_digest(its_token, token) or sequence >= MAX_PROBES:
        return None
    return Packet(sequence, answer, received_ns, turnaround_ns)


@dataclass
class Arrivals:
    """What came in over one direction, in the order it came."""

    order: array[int] = field(default_factory=lambda: array("I"))
    duplicates: int = 0
    _seen: set[int] = field(default_factory=set)

    def add(self, number: int) -> bool:
        """Count one arrival; False when this number had come before."""
        if number in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(number)
        self.order.append(number)
        return True

    @property
    def distinct(self) -> int:
        """How many different numbers came."""
        return len(self.order)

    def overtakings(self) -> int:
        """How many arrived before one that was sent earlier: with netem's ``reorder``, those that left at once.

        RFC 4737 counts the overtaken instead, of which one overtaking makes as many as the delay holds.
        """
        count, lowest_later = 0, MAX_PROBES * 2
        for number in reversed(self.order):
            if lowest_later < number:
                count += 1
            lowest_later = min(lowest_later, number)
        return count
