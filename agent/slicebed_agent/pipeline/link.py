"""The link to the next agent: parts go out as flow control allows, reports come back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import grpc

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import wire
from slicebed_agent.pipeline.contracts import End, Ending, Frame, Left, RunPlan, Stage
from slicebed_agent.pipeline.parts import divide, part_count
from slicebed_agent.pipeline.queues import BoundedQueue
from slicebed_agent.rpc.v1 import agent_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slicebed_agent.pipeline.ledger import Ledger
    from slicebed_agent.rpc.v1 import agent_pb2


_NOTE_S: Final = 1.0


class Link:
    """One stream of one run over a channel that outlives it."""

    def __init__(
        self,
        plan: RunPlan,
        next_host: str,
        channel: grpc.Channel,
        ledger: Ledger,
        on_broken: Callable[[Ending], None],
    ) -> None:
        """Open the stream.

        Args:
            plan: limits and queue length.
            next_host: name of the next agent's host.
            channel: leads to the next agent.
            ledger: told what leaves and what ends.
            on_broken: called once if the stream ends before `close`.
        """
        self._plan, self._next_host, self._ledger, self._on_broken = plan, next_host, ledger, on_broken
        self._queue: BoundedQueue[tuple[Frame, bytes]] = BoundedQueue(plan.outbound_frames)
        self._sending: Frame | None = None
        self._broken: Ending | None = None
        self._closing = False
        self._lock = threading.Condition()
        self._call = agent_pb2_grpc.DataStub(channel).Frames(self._messages())
        self._reader = threading.Thread(target=self._read, name="reports", daemon=True)
        self._reader.start()

    def deliver(self, frame: Frame, data: bytes) -> None:
        """Queue a serialised frame for sending; drop it when the queue is full, fail it when the link is broken."""
        frame.stage = Stage.OUTBOUND
        frame.bytes_out = len(data)
        frame.complete_ns = time.monotonic_ns()
        try:
            part_count(len(data), self._plan.max_message_bytes)
        except PayloadError as error:
            self._ledger.stopped_here(frame, End.FAILED, Stage.OUTBOUND, str(error))
            return
        if self._queue.offer((frame, data)):
            return
        with self._lock:
            broken = self._broken
        if broken is not None:
            self._lose(frame, broken)
        elif not self._closing:
            self._ledger.stopped_here(frame, End.DROPPED, Stage.OUTBOUND, "queue full")

    def _messages(self) -> Iterator[agent_pb2.FramePart]:
        """Runs in gRPC's own thread, which asks for the next message when the transport took the one before."""
        while (job := self._queue.take()) is not None:
            frame, data = job
            begin = time.monotonic_ns()
            with self._lock:
                self._sending, broken = frame, self._broken
            if broken is not None:
                self._lose(frame, broken)
                return
            frame.stage = Stage.LINK
            frame.send_queue_wait_ns = begin - frame.complete_ns
            for part in divide(frame.frame_id, data, self._plan.max_message_bytes):
                yield wire.part_to_wire(self._plan.run_id, part)
                frame.parts_out = part.part_index + 1
            frame.send_ns = time.monotonic_ns() - begin
            self._ledger.left(frame, Left.SENT)
            with self._lock:
                self._sending = None
                self._lock.notify_all()
            # Broken between the last part and this line: nobody else counts the frame as lost.
            if self._broken is not None:
                self._ledger.ended(frame.frame_id, self._broken)

    def _read(self) -> None:
        error: grpc.RpcError | None = None
        ending: Ending | None = None
        try:
            for report in self._call:
                self._ledger.ended(report.frame_id, wire.ending_from_wire(report))
        except grpc.RpcError as broken:
            error = broken
        except PayloadError as malformed:
            ending = Ending(End.FAILED, self._next_host, Stage.LINK, malformed.what)
            self._call.cancel()
        if not self._closing:
            self._break(ending or wire.ending_of_call(error, self._next_host))

    def _break(self, ending: Ending) -> None:
        with self._lock:
            self._broken = ending
            sending = self._sending
        waiting = [frame for frame, _ in self._queue.close()]
        for frame in [sending, *waiting] if sending is not None else waiting:
            self._lose(frame, ending)
        self._ledger.fail_sent(ending)
        self._on_broken(ending)

    def _lose(self, frame: Frame, ending: Ending) -> None:
        self._ledger.left(frame, Left.FAILED, Stage.LINK, ending.reason)
        self._ledger.ended(frame.frame_id, ending)

    def close(self, *, drained: bool) -> None:
        """End the stream; the channel stays.

        Args:
            drained: every frame has ended, so the next agent will end its side by itself; else the stream is cut.
        """
        self._closing = True
        if not drained:
            # Before the queue closes: that would half-close the stream, as if all were well.
            self._call.cancel()
        self._queue.close()
        if not drained:
            return
        with self._lock:
            # An answer may overtake the sender's own note that it has finished.
            self._lock.wait_for(lambda: self._sending is None, _NOTE_S)
