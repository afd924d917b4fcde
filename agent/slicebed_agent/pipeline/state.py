"""What a run says of itself while it goes on."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.pipeline.contracts import Ending, Phase
    from slicebed_agent.pipeline.ledger import Counted
    from slicebed_agent.pipeline.link_state import LinkState

_WINDOW_NS: Final = 10 * 10**9
_WINDOW_FRAMES: Final = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class StageState:
    """Totals of one stage since the run was prepared, and how many frames wait before it now."""

    name: str
    frames: int
    dropped: int
    failed: int
    queued: int
    queue_wait_ns: int
    compute_ns: int
    overhead_ns: int


@dataclasses.dataclass(frozen=True)
class RunState:
    """A run at one instant.

    Attributes:
        phase: once it says done, the counts are final.
        trouble: what made the run fail, when it did.
        counted: the account of frames.
        stages: in their order.
        link: None on the last agent.
        next_frame_id: of the camera; 0 without one.
        latency_ns: median and 95th percentile of the frames that completed in the last seconds; None without any.
        usage: since the run was prepared; None where the host does not tell.
    """

    phase: Phase
    trouble: Ending | None
    counted: Counted
    stages: tuple[StageState, ...]
    link: LinkState | None
    next_frame_id: int
    latency_ns: tuple[int, int] | None
    usage: Mapping[str, int | None]


class Latencies:
    """Of the frames that completed in the last ten seconds, the last few thousand at most."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._last: collections.deque[tuple[int, int]] = collections.deque(maxlen=_WINDOW_FRAMES)

    def add(self, at_ns: int, latency_ns: int) -> None:
        """A frame completed at this instant of the monotonic clock."""
        with self._lock:
            self._last.append((at_ns, latency_ns))

    def percentiles(self) -> tuple[int, int] | None:
        """Median and 95th percentile, by nearest rank; None when no frame completed."""
        since = time.monotonic_ns() - _WINDOW_NS
        with self._lock:
            found = sorted(latency for at_ns, latency in self._last if at_ns >= since)
        if not found:
            return None
        return found[(len(found) - 1) // 2], found[min(len(found) - 1, -(-95 * len(found) // 100) - 1)]
