"""What a link carries, from the transfers of long frames. Pure: no clock is read."""

from __future__ import annotations

import collections
from typing import Final

_TRANSFERS: Final = 4
_BELOW: Final = 0.75


def believed(asked_bit_per_s: int, measured_bit_per_s: int) -> int:
    """What to take a link for: what it is said to carry, unless it is seen to carry less than three quarters of that.

    More is not believed: after a pause a shaped link lets a few long frames pass faster than its rate. 0 where nobody
    says and nothing was measured.
    """
    if asked_bit_per_s and not 0 < measured_bit_per_s < _BELOW * asked_bit_per_s:
        return asked_bit_per_s
    return measured_bit_per_s


class Goodput:
    """Bytes of the last long frames over the time that the link was busy with them.

    The time of a transfer runs from its first byte's arrival (when it began, plus one round trip less the way back) to
    the news of its arrival, or from the news of the one before, where it had to wait for that one's bytes. Only this
    host's clock is read: nothing is assumed of the other one's.
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._under_way: collections.OrderedDict[int, tuple[int, int]] = collections.OrderedDict()
        self._done: collections.deque[tuple[int, int]] = collections.deque(maxlen=_TRANSFERS)
        self._last_news_ns = 0

    def began(self, frame_id: int, at_ns: int, size_bytes: int) -> None:
        """The first byte of a long frame is about to be sent."""
        self._under_way[frame_id] = (at_ns, size_bytes)

    def received(self, frame_id: int, at_ns: int, round_trip_ns: int) -> None:
        """The news came that a frame is there; `round_trip_ns` is the link's shortest."""
        begun = self._under_way.pop(frame_id, None)
        if begun is None:
            return
        began_ns, size_bytes = begun
        busy_ns = at_ns - max(began_ns + round_trip_ns, self._last_news_ns)
        self._last_news_ns = at_ns
        if busy_ns > 0:
            self._done.append((size_bytes, busy_ns))

    def lost(self) -> None:
        """The stream broke: no news will come of what is under way."""
        self._under_way.clear()

    def rate_bit_per_s(self) -> int:
        """Of the last transfers; 0 before the first."""
        busy_ns = sum(taken for _, taken in self._done)
        return 8 * 1_000_000_000 * sum(size for size, _ in self._done) // busy_ns if busy_ns else 0
