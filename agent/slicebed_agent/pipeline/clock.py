"""How far the next host's monotonic clock is from this one's, by four timestamps per exchange. Pure: reads no clock.

The offset of the exchange with the smallest error is taken: D. Mills, "Internet Time Synchronization: the Network Time
Protocol", IEEE Transactions on Communications 39(10), 1991 (minimum-delay filter).
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Final

_WINDOW_NS: Final = 60_000_000_000
_DRIFT_PER_MILLION: Final = 100
"""Two quartz oscillators of 50 ppm each may part by so much: an old exchange says less than its round trip."""


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer: sent and returned by this host's clock, received and answered by the other's; ns."""

    sent_ns: int
    received_ns: int
    answered_ns: int
    returned_ns: int

    @property
    def round_trip_ns(self) -> int:
        """Both ways, without what the other host took to answer."""
        return max(0, (self.returned_ns - self.sent_ns) - (self.answered_ns - self.received_ns))

    @property
    def offset_ns(self) -> int:
        """The other clock less this one, if both ways took equally long; off by half the round trip at most."""
        return ((self.received_ns - self.sent_ns) + (self.answered_ns - self.returned_ns)) // 2

    def bound_ns(self, now_ns: int) -> int:
        """How far `offset_ns` may be off at `now_ns`."""
        drift_ns = max(0, now_ns - self.returned_ns) * _DRIFT_PER_MILLION // 1_000_000
        return -(-self.round_trip_ns // 2) + drift_ns


@dataclasses.dataclass(frozen=True, slots=True)
class Offset:
    """The other host's clock less this one's, how far that may be off, and the shortest round trip, in ns."""

    offset_ns: int
    bound_ns: int
    round_trip_ns: int


class OffsetFilter:
    """Keeps the exchanges of the last minute and answers from the best of them."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._exchanges: collections.deque[Exchange] = collections.deque()

    def add(self, exchange: Exchange) -> None:
        """Take an exchange; one that contradicts itself (answered before it was received) is ignored."""
        if exchange.answered_ns < exchange.received_ns or exchange.returned_ns < exchange.sent_ns:
            return
        self._exchanges.append(exchange)
        while self._exchanges[0].returned_ns < exchange.returned_ns - _WINDOW_NS:
            self._exchanges.popleft()

    def at(self, now_ns: int) -> Offset | None:
        """What is known now; None before the first exchange."""
        if not self._exchanges:
            return None
        best = min(self._exchanges, key=lambda exchange: exchange.bound_ns(now_ns))
        shortest = min(exchange.round_trip_ns for exchange in self._exchanges)
        return Offset(best.offset_ns, best.bound_ns(now_ns), shortest)
