"""When a frame that is handed to a link has arrived, and when its sender is free again.

The model, and what it rests on; "seen" is what two ends of the data plane did over a tap wire of 50 Mbit/s and 42 ms
there and back, with Linux 6.18:

- The shaper is a token bucket: after a pause `Hop.bucket_s` of its rate pass at once, then bytes go at the rate's
  goodput (docs/testbed.md, "TCP"; 10 ms of HTB). On the link itself they lie one behind the other, whatever frame they
  are of.
- What TCP carries of a rate is `GOODPUT_SHARE`: 1,448 of an Ethernet frame's 1,514 bytes, less what TLS, HTTP/2 and
  Flight add. Seen: 0.952; make bench-pipeline saw frames of 0.5 to 13 MB take 1.00 to 1.02 of the time without these.
- Agents warm a link up before a run's first frame. After a pause a connection sends ten segments in its first round
  trip and twice as many in each further one, until the link is full (RFC 5681, RFC 6928), but for TCP set for streaming
  (`Hop.slow_restart`). Seen, of new connections: first frames of 131, 300 and 600 kB after 149, 207 and 266 ms.
- A sender's write returns once the socket's buffer has taken the frame, so that many frames may be under way on a slow
  link: `Hop.send_buffer_bytes` less the kernel's own account of it. A full buffer takes more when a third of it is
  free, and while a window opens it holds twice the window (Linux, tcp_sndbuf_expand). Seen: writes of the three first
  frames returned after 90, 128 and 176 ms; under 24 frames of 600 kB a second, of which the link carries ten, 2.2 MB
  were under way at most, every other write took 130 ms, and frames arrived 330 to 460 ms after their writes began. With
  jitter it was 3.7 MB. gRPC's own windows limited none of this.
- Jitter moves each packet by itself, and TCP's packets do not overtake (ADR 7; a receiver waits for the ones before in
  any case). So the last byte of a frame of n packets, sent `gap` apart, is late by the greatest of J(i) - i gap over
  the packets i = 0..n-1 from the last one backwards.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from slicebed.split.predict.line import Hop

GOODPUT_SHARE: Final = 0.952
UNLIMITED_BIT_PER_S: Final = 1e9
"""What a link without a rate counts as; so does `tcp: streaming`."""
SEGMENT_BYTES: Final = 1448
FRAME_S: Final = 0.0005
"""What a frame takes beside its bytes: turns of threads, protobuf, the account. ADR 12: 0.85 ms there and back."""
REPORT_S: Final = 0.00035
_MESSAGE_S: Final = 0.00006
_BYTE_S: Final = 1e-9
"""Of the sender's processor: 700 to 1,000 MB/s over loopback (ADR 12)."""
_FIRST_WINDOW_BYTES: Final = 10 * SEGMENT_BYTES
_PAUSE_S: Final = 0.2
_READY_S: Final = 1.0
"""From the end of the warming up to the first frame, about: the agents before are still made ready."""
_BUFFER_SHARE: Final = 0.53
_BUFFER_SHARE_JITTER: Final = 0.85
_REFILL_SHARE: Final = 0.37
"""Of what a full buffer holds, what leaves before it takes more: a third in the kernel's account."""
_GRID: Final = 257
_DEVIATIONS: Final = 5.0


class Transfers:
    """One run's frames over one hop, given in their order. Times are seconds of one clock."""

    def __init__(self, hop: Hop, *, rate_factor: float = 1.0, extra_s: float = 0.0) -> None:
        """Begin with a connection that was warmed up.

        Args:
            hop: the link.
            rate_factor: what it carries, as a share of what it is said to.
            extra_s: what each frame takes besides.
        """
        rate = (hop.rate_bit_per_s or UNLIMITED_BIT_PER_S) * rate_factor
        self._byte_per_s = rate * GOODPUT_SHARE / 8
        self._bytes, self._messages = hop.bytes, hop.messages
        self._takes_s = hop.bytes / self._byte_per_s
        self._bucket_s = hop.bucket_s if hop.rate_bit_per_s else 0.0
        self._round_s = hop.delay_s + hop.back_delay_s
        self._full_bytes = self._byte_per_s * self._round_s
        share = _BUFFER_SHARE_JITTER if hop.jitter_s else _BUFFER_SHARE
        self._buffer_bytes = share * hop.send_buffer_bytes
        self._write_s = hop.messages * _MESSAGE_S + hop.bytes * _BYTE_S
        self._way_s = hop.delay_s + FRAME_S + extra_s
        self._restarts = hop.slow_restart
        self._busy_until_s = self._arrived_s = -math.inf
        self._spread_s = 0.0
        self._begin_slowly()
        self._window_bytes = math.inf

    def send(self, handed_s: float, late_s: float = 0.0) -> tuple[float, float]:
        """Send the next frame.

        Args:
            handed_s: when the first byte is handed to the transport; not before that of the frame before.
            late_s: what jitter adds to its last byte, see `lateness`.

        Returns:
            When the sender is free again, and when the receiver has all.
        """
        written_s = handed_s + self._write_s
        idle_s = _READY_S if self._busy_until_s == -math.inf else handed_s - self._busy_until_s
        if self._restarts and idle_s > _PAUSE_S + self._round_s:
            self._begin_slowly()
        unsent_bytes = max(0.0, self._busy_until_s + self._round_s - handed_s) * self._byte_per_s + self._bytes
        begun_s = max(self._busy_until_s, handed_s)
        free_s, left_bytes = None, float(self._bytes)
        if self._window_bytes < self._full_bytes:
            begun_s, left_bytes, free_s = self._slowly(begun_s)
        self._busy_until_s = begun_s + left_bytes / self._byte_per_s
        if free_s is None:
            free_s = self._taken_s(unsent_bytes)
        left_s = max(self._busy_until_s - self._bucket_s, written_s)
        first_s = self._busy_until_s - self._takes_s * (1 - 1 / self._messages) - self._bucket_s
        self._spread_s = left_s - max(first_s, handed_s + self._write_s / self._messages)
        self._arrived_s = max(self._arrived_s, left_s + self._way_s + late_s)
        return max(written_s, free_s), self._arrived_s

    def _begin_slowly(self) -> None:
        self._window_bytes = float(_FIRST_WINDOW_BYTES)
        # Of a window that opens: when its round trip began, what that may still send, what was acknowledged before it.
        self._round_at_s = -math.inf
        self._allowed_bytes = self._handed_bytes = self._sent_bytes = self._acknowledged_bytes = 0.0

    def _slowly(self, begun_s: float) -> tuple[float, float, float | None]:
        """While the window opens: it doubles behind every round trip that used it up.

        Returns:
            When the last of the frame's bytes begin to be sent, how many they are, and when the buffer had taken all.
        """
        left, free_s = float(self._bytes), None
        self._handed_bytes += left
        while self._window_bytes < self._full_bytes:
            if begun_s >= self._round_at_s + self._round_s:
                self._round_at_s, self._allowed_bytes = begun_s, self._window_bytes
                self._acknowledged_bytes = self._sent_bytes
            if free_s is None and self._handed_bytes - self._acknowledged_bytes <= 2 * self._window_bytes:
                free_s = self._round_at_s
            now = min(left, self._allowed_bytes)
            self._sent_bytes += now
            self._allowed_bytes -= now
            if now == left:
                break
            left -= now
            self._window_bytes *= 2
            begun_s = self._round_at_s + self._round_s
        return begun_s, left, free_s

    def _taken_s(self, unsent_bytes: float) -> float:
        """When the buffer has taken a frame behind which so much has not been acknowledged."""
        over = unsent_bytes - self._buffer_bytes
        if over <= 0:
            return -math.inf
        refill = _REFILL_SHARE * self._buffer_bytes
        held = unsent_bytes - math.ceil(over / refill) * refill
        return self._busy_until_s + self._round_s - held / self._byte_per_s

    def messages(self) -> list[float]:
        """When each message of the frame that was just sent has arrived: evenly over its time on the link."""
        step_s = self._spread_s / max(1, self._messages - 1)
        return [self._arrived_s - step_s * before for before in reversed(range(self._messages))]


def lateness(hop: Hop, frames: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw what jitter adds to the arrival of each of so many frames; below 0 where it comes sooner."""
    if not hop.jitter_s:
        return np.zeros(frames)
    gap_s = 8 * 1514 / (hop.rate_bit_per_s or UNLIMITED_BIT_PER_S)
    packets = max(1, -(-hop.bytes // SEGMENT_BYTES))
    # Of packets so far back none can be the latest.
    seen = min(packets, math.ceil(2 * _DEVIATIONS * hop.jitter_s / gap_s))
    shares, deviations = _greatest(gap_s / hop.jitter_s, seen)
    drawn = np.interp(generator.random(frames), shares, deviations) * hop.jitter_s
    return np.maximum(drawn, -hop.delay_s)


def way_back(hop: Hop, frames: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw how long the report of a frame's end takes, from the receiver to the sender."""
    jitter_s = hop.jitter_s if hop.back_jitter_s is None else hop.back_jitter_s
    jitter = generator.normal(0.0, jitter_s, frames) if jitter_s else np.zeros(frames)
    return np.maximum(hop.back_delay_s + jitter, 0.0) + REPORT_S


@functools.lru_cache(maxsize=1024)
def _greatest(gap: float, packets: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distribution of the greatest of J(i) - i gap, all in standard deviations of J, which is normal."""
    deviations = np.linspace(-_DEVIATIONS, _DEVIATIONS, _GRID)
    logarithms = np.zeros(_GRID)
    for number in range(packets):
        logarithms += np.interp(deviations + number * gap, *_log_normal())
    return np.exp(logarithms), deviations


@functools.cache
def _log_normal() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    at = np.linspace(-_DEVIATIONS, _DEVIATIONS, 2001)
    return at, np.array([math.log(math.erfc(-each / math.sqrt(2)) / 2) for each in at])
