"""The stream from the agent before, as a run sees it: the way back, lost now and then, and waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from slicebed_agent.pipeline import wire
from slicebed_agent.rpc.stream import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Ending
    from slicebed_agent.pipeline.outlet import Outlet


class Upstream:
    """At most one stream at a time; without one nothing is told: the agent before gave up the frames it had sent."""

    def __init__(self, reconnect_s: float, on_lost: Callable[[str], None]) -> None:
        """Have no stream yet.

        Args:
            reconnect_s: how long another stream is waited for after one broke; 0: not at all.
            on_lost: told why, once no other came.
        """
        self._reconnect_s, self._on_lost = reconnect_s, on_lost
        self._lock = threading.Lock()
        self._outlet: Outlet | None = None
        self._timer: threading.Timer | None = None
        self._ended = False

    def attach(self, outlet: Outlet) -> bool:
        """Take a stream; False when there is one."""
        with self._lock:
            if self._outlet is not None or self._ended:
                return False
            self._outlet = outlet
            self._stop_waiting()
            return True

    def lost(self, trouble: str) -> None:
        """The stream broke."""
        with self._lock:
            if self._reconnect_s and not self._ended:
                self._outlet = None
                self._stop_waiting()
                self._timer = threading.Timer(self._reconnect_s, self._on_lost, (trouble,))
                self._timer.daemon = True
                self._timer.start()
                return
        self._on_lost(trouble)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def report(self, frame_id: int, ending: Ending) -> None:
        """Tell how a frame ended."""
        with self._lock:
            if self._outlet is not None:
                self._outlet.put(wire.ending_to_wire(frame_id, ending))

    def credit(self) -> None:
        """Let one more frame come."""
        with self._lock:
            if self._outlet is not None:
                self._outlet.credit(1)

    def refuse(self, ending: Ending) -> None:
        """End the stream with an error that says where the run broke first."""
        with self._lock:
            if self._outlet is not None:
                self._outlet.refuse(Fault.UNREACHABLE, str(ending), ending)

    def end(self, refusal: Ending | None) -> None:
        """The run is over: end the stream after what was told so far, with an error if there is one."""
        with self._lock:
            self._ended = True
            self._stop_waiting()
        if refusal is not None:
            self.refuse(refusal)
            return
        with self._lock:
            if self._outlet is not None:
                self._outlet.close()
