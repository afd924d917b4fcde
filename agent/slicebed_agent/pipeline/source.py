"""The camera: captures on time, whatever becomes of the frames behind it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.pipeline.contracts import At, End, Frame, SourcePlan, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Draw
    from slicebed_agent.pipeline.ledger import Ledger

_LOG = logging.getLogger(__name__)
_JOIN_S: Final = 10.0
LATE_S: Final = 0.25
LATE_FRAMES: Final = 4
"""How late a frame may be drawn: so many periods, or LATE_S where they are shorter, as a driver's few buffers hold."""


class Camera:
    """Captures frame i at start + i / rate; frames carry the version of the cut that is in force then.

    What is behind it may drop a frame, never hold it up. Where drawing takes longer than the period, the camera does
    not fall behind by more than a driver's few buffers would let it: a frame that would be later still is captured,
    never drawn, and dropped at the source as "the source was late".
    """

    def __init__(
        self,
        plan: SourcePlan,
        draw: Draw,
        ledger: Ledger,
        put: Callable[[Frame, Tensors], None],
        on_failed: Callable[[str], None],
    ) -> None:
        """Make a camera that stands still until `start`.

        Args:
            plan: how many frames, and how fast.
            draw: what it shows.
            ledger: told of every frame.
            put: takes a frame, at once.
            on_failed: told why, in one line, when drawing failed; nothing is captured after that.
        """
        self._plan, self._draw, self._ledger, self._put, self._on_failed = plan, draw, ledger, put, on_failed
        self._halt = threading.Event()
        self._numbering = threading.Lock()
        self._next = 0
        self._version = 0
        self._thread = threading.Thread(target=self._capture, name="camera", daemon=True)

    @property
    def next_frame_id(self) -> int:
        """Number of the frame that is captured next."""
        return self._next

    def switch(self, version: int) -> int:
        """Let frames go through this version of the cut from the next one on.

        Returns:
            The number of that frame, which has not been captured yet.
        """
        with self._numbering:
            self._version = version
            return self._next

    def start(self) -> None:
        """Capture the first frame now."""
        self._thread.start()

    def stop(self) -> None:
        """Capture nothing more."""
        self._halt.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _LOG.error("camera: a picture is drawn for more than %g s, its thread was left behind", _JOIN_S)

    @property
    def finished(self) -> bool:
        """True when the last frame was captured, the film is over, or the camera was stopped."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def _capture(self) -> None:
        try:
            self._film()
        # Whatever a file of pictures may be made of; the run is over then, the agent is not.
        except Exception as error:  # noqa: BLE001 - reported as the run's end
            self._on_failed(" ".join(f"{error}".split()) or type(error).__name__)

    def _film(self) -> None:
        period_ns = 1e9 / self._plan.frames_per_s
        late_ns = max(LATE_S * 1e9, LATE_FRAMES * period_ns)
        start_ns = time.monotonic_ns()
        for frame_id in itertools.count() if self._plan.frames is None else range(self._plan.frames):
            due_ns = start_ns + round(frame_id * period_ns)
            now = time.monotonic_ns()
            if self._halt.wait(max(0, due_ns - now) / 1e9):
                return
            if now - due_ns > late_ns:
                self._ledger.stopped_here(self._open(frame_id, now), End.DROPPED, At.SOURCE, "the source was late")
                continue
            now = time.monotonic_ns()
            tensors = self._draw(frame_id)
            if tensors is None:
                return
            self._put(self._open(frame_id, now), tensors)

    def _open(self, frame_id: int, now_ns: int) -> Frame:
        with self._numbering:
            frame = Frame(frame_id, now_ns, now_ns, At.SOURCE, version=self._version)
            self._ledger.opened(frame)
            self._next = frame_id + 1
        return frame
