"""The camera: captures on time, whatever becomes of the frames behind it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from slicebed_agent.pipeline.contracts import End, Frame, SourcePlan, Stage, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.ledger import Ledger
    from slicebed_agent.pipeline.queues import BoundedQueue


class Camera:
    """Captures frame i at start + i / rate; a frame that finds its queue full is dropped."""

    def __init__(
        self,
        plan: SourcePlan,
        draw: Callable[[int], Tensors],
        ledger: Ledger,
        queue: BoundedQueue[tuple[Frame, Tensors]],
    ) -> None:
        """Make a camera that stands still until `start`."""
        self._plan, self._draw, self._ledger, self._queue = plan, draw, ledger, queue
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._capture, name="camera", daemon=True)

    def start(self) -> None:
        """Capture the first frame now."""
        self._thread.start()

    def stop(self) -> None:
        """Capture nothing more."""
        self._halt.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def finished(self) -> bool:
        """True when the last frame was captured, or the camera was stopped."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def _capture(self) -> None:
        period_ns = 1e9 / self._plan.frames_per_s
        start_ns = time.monotonic_ns()
        for frame_id in range(self._plan.frames):
            due_ns = start_ns + round(frame_id * period_ns)
            if self._halt.wait(max(0, due_ns - time.monotonic_ns()) / 1e9):
                return
            now = time.monotonic_ns()
            frame = Frame(frame_id, now, now, Stage.SOURCE)
            self._ledger.opened(frame)
            if not self._queue.offer((frame, self._draw(frame_id))):
                self._ledger.stopped_here(frame, End.DROPPED, Stage.SOURCE, "queue full")
