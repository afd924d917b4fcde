"""A process of the benchmark that takes too much memory or time is stopped."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Self

from slicebed_agent.model.execute.memory import resident

if TYPE_CHECKING:
    from benchmarks.slicer.workers import Worker

MOST_BYTES: Final = 12_000_000_000
LONGEST_S: Final = 300.0
_POLL_S: Final = 0.1


class Watch(threading.Thread):
    """Looks at a process until the with block ends.

    Attributes:
        reason: why it was stopped; empty where it was not.
    """

    def __init__(self, worker: Worker, most_bytes: int = MOST_BYTES, longest_s: float = LONGEST_S) -> None:
        """Watch a process.

        Args:
            worker: the process.
            most_bytes: that it may hold resident.
            longest_s: from now.
        """
        super().__init__(daemon=True)
        self.reason = ""
        self._worker, self._most_bytes, self._longest_s = worker, most_bytes, longest_s
        self._done = threading.Event()

    def run(self) -> None:
        """Look ten times a second."""
        begin = time.monotonic()
        while not self._done.wait(_POLL_S):
            try:
                held = resident(self._worker.pid).bytes
            except (OSError, KeyError):  # it has ended: nothing is there, or a zombie without memory
                continue
            if held > self._most_bytes:
                self.reason = f"stopped above {self._most_bytes / 1e9:.0f} GB"
            elif time.monotonic() - begin > self._longest_s:
                self.reason = f"stopped after {self._longest_s:.0f} s"
            if self.reason:
                self._worker.stop()
                return

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._done.set()
        self.join()
