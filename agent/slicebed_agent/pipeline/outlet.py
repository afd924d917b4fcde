"""The way back: reports of frames' ends, credit and the clock's answers, against the direction of the frames."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from slicebed_agent.pipeline import wire
from slicebed_agent.rpc.stream import UNREAD_BYTES, Fault, StreamError
from slicebed_agent.rpc.v1 import link_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Ending


class Outlet:
    """Holds what one incoming stream has yet to send back, and how that stream is to end.

    Any thread may put, none ever waits: what can be sent at once is (a thread's turn costs more than the sending), the
    rest by `run`. Unbounded on purpose: it holds at most one small report per frame, and a report must never be lost.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """Open and empty; `write` sends a message, and may wait or raise StreamError."""
        self._write = write
        self._queue: queue.SimpleQueue[link_pb2.LinkReply | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._queued = 0
        self._written_bytes = self._read_bytes = 0
        self._closed = False
        self._farewell = wire.farewell_to_wire(None, "")
        self.refusal: StreamError | None = None

    def put(self, report: link_pb2.FrameReport) -> None:
        """Send a report, unless the stream was closed before."""
        self._put(link_pb2.LinkReply(report=report))

    def credit(self, frames: int) -> None:
        """Allow so many more frames."""
        self._put(link_pb2.LinkReply(credit=link_pb2.Credit(frames=frames)))

    def welcome(self, credit: int | None) -> None:
        """Take the stream; `credit` frames may come before there is more, None: as many as there are."""
        self._put(link_pb2.LinkReply(welcome=link_pb2.Welcome(credit=credit)))

    def received(self, frame_id: int) -> None:
        """All of a long frame is here."""
        self._put(link_pb2.LinkReply(received=link_pb2.Received(frame_id=frame_id)))

    def answer(self, probe: link_pb2.ClockProbe, received_ns: int) -> None:
        """Tell the time to whoever asked at `received_ns`."""
        self._put(link_pb2.LinkReply(clock=link_pb2.ClockAnswer(sent_ns=probe.sent_ns, received_ns=received_ns)))

    def close(self) -> None:
        """End the stream after what was put so far."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)

    def refuse(self, fault: Fault, details: str, ending: Ending | None = None) -> None:
        """End the stream with an error, after what was put so far; the first way to end that is asked for is taken.

        Args:
            fault: its kind.
            details: one line.
            ending: where it broke first, when that is elsewhere.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.refusal = StreamError(fault, details)
            self._farewell = wire.farewell_to_wire(ending, details)
            self._queue.put(None)

    @property
    def closed(self) -> bool:
        """True once nothing more is taken."""
        return self._closed

    def seen(self, read_bytes: int) -> None:
        """The other side had read so many bytes: more can be sent without waiting."""
        self._read_bytes = max(self._read_bytes, min(read_bytes, self._written_bytes))

    def run(self) -> None:
        """Send what had to wait, until the stream is closed and its last message sent, or it breaks."""
        try:
            while (reply := self._queue.get()) is not None:
                self._send(reply)
                with self._lock:
                    self._queued -= 1
            self._write(self._farewell.SerializeToString())
        except StreamError:
            # Whoever reads the stream is told the same, and speaks of it.
            self.close()

    def _put(self, reply: link_pb2.LinkReply) -> None:
        with self._lock:
            if self._closed:
                return
            unread = self._written_bytes - self._read_bytes + reply.ByteSize()
            if self._queued or unread > UNREAD_BYTES:
                self._queued += 1
                self._queue.put(reply)
                return
            try:
                self._send(reply)
            except StreamError:
                self._closed = True
                self._queue.put(None)

    def _send(self, reply: link_pb2.LinkReply) -> None:
        if reply.HasField("clock"):
            reply.clock.answered_ns = time.monotonic_ns()
        data = reply.SerializeToString()
        self._written_bytes += len(data)
        self._write(data)
