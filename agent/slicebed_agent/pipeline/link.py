"""The link to the next agent: frames go out as flow control and credit allow, reports of their ends come back."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentError, PayloadError
from slicebed_agent.pipeline.clock import OffsetFilter
from slicebed_agent.pipeline.contracts import At, Encode, End, Ending, Frame, Left, RunPlan, Tensors
from slicebed_agent.pipeline.goodput import Goodput
from slicebed_agent.pipeline.link_state import LinkState, Totals
from slicebed_agent.pipeline.parts import LONG_BYTES, FrameHead, divide, part_count
from slicebed_agent.pipeline.queues import BoundedQueue
from slicebed_agent.pipeline.session import Session, exchange_of
from slicebed_agent.rpc.stream import UNREAD_BYTES, Fault, Stream, StreamError
from slicebed_agent.rpc.v1 import link_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Payload
    from slicebed_agent.pipeline.ledger import Ledger

_LOG = logging.getLogger(__name__)
_CONNECT_S: Final = 20.0
_RETRY_S: Final = (0.25, 2.0)
_HANG_UPS: Final = 3
"""In so many attempts it is no agent that is just being stopped."""
_WATCH_S: Final = 0.25
_NOTE_EACH: Final = 4
_JOIN_S: Final = 3.0
_FATAL: Final = frozenset({Fault.FOREIGN, Fault.MALFORMED})
"""What another attempt would not mend."""

_MEND_CERTIFICATES: Final = (
    "the two hosts' certificates may not be of the same testbed, or only one has TLS: slicebed deploy mends both"
)
_MEND: Final = {
    Fault.UNREACHABLE: "prepare from the last agent to the first; check its --data address and --tls, and the link",
    Fault.FOREIGN: _MEND_CERTIFICATES,
    Fault.HUNG_UP: _MEND_CERTIFICATES,
    Fault.NOT_READY: "prepare from the last agent to the first",
}


class Link:
    """The sending side of a link during one run, over one stream after another where the run waits for broken ones."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing the link works with
        self,
        plan: RunPlan,
        encode: Encode,
        connect: Callable[[bytes], Stream],
        ledger: Ledger,
        note: Callable[[dict[str, object]], None],
        on_broken: Callable[[Ending], None],
        *,
        connect_s: float = _CONNECT_S,
    ) -> None:
        """Open the stream, wait until the next agent takes it, and warm it up.

        Args:
            plan: of a run whose link it is.
            encode: writes a boundary for the link.
            connect: opens a stream with a serialised StreamHello.
            ledger: told what leaves and what ends.
            note: writes a line about the link to the samples.
            on_broken: called once if the link ends before `close`, for good.
            connect_s: how long to wait for the next agent.

        Raises:
            AgentError: the next agent is not there, or refuses.
        """
        if plan.link is None:
            raise ValueError(f"run {plan.run_id} has no link on {plan.host}")
        self._plan, self._to = plan, plan.link
        self._encode, self._connect, self._ledger = encode, connect, ledger
        self._note, self._on_broken = note, on_broken
        self._queue: BoundedQueue[tuple[Frame, Tensors]] = BoundedQueue(self._to.queue.places, self._to.queue.policy)
        self._totals = Totals()
        self._clock, self._goodput = OffsetFilter(), Goodput()
        self._known = threading.Lock()
        # Held by whoever writes; frames leave the queue under it, and so in their order.
        self._writing = threading.Lock()
        self._attempts = 0
        self._broken: Ending | None = None
        self._closing = threading.Event()
        self._drained = False
        self._session = self._first_session(connect_s)
        self._sender = threading.Thread(target=self._send, name="link", daemon=True)
        self._sender.start()
        threading.Thread(target=self._watch, name="link watch", daemon=True).start()

    def deliver(self, frame: Frame, tensors: Tensors) -> None:
        """Queue a boundary for sending; what the queue has no place for is dropped, by its policy."""
        frame.stage = At.OUTBOUND
        frame.bytes_raw_out = sum(tensor.nbytes for tensor in tensors)
        frame.complete_ns = time.monotonic_ns()
        if self._sent_at_once(frame, tensors):
            return
        lost = self._queue.offer((frame, tensors))
        if lost is None:
            return
        if self._broken is not None:
            self._lose(lost[0], self._broken)
        elif not self._queue.closed:
            self._totals.dropped += 1
            self._ledger.stopped_here(lost[0], End.DROPPED, At.OUTBOUND, self._queue.why_lost)

    def _sent_at_once(self, frame: Frame, tensors: Tensors) -> bool:
        """Send a short boundary which nothing is before or holds up: a thread's turn costs more than that."""
        short = (frame.bytes_raw_out or 0) <= UNREAD_BYTES // 2
        if not short or not self._writing.acquire(blocking=False):
            return False
        try:
            session = self._session
            if len(self._queue) or self._queue.closed or not session.idle:
                return False
            self._send_frame(session, frame, tensors)
        except StreamError:
            pass  # the frame has its end; the sender sees to the rest
        finally:
            self._writing.release()
        return True

    def state(self) -> LinkState:
        """How the link is doing."""
        with self._known:
            clock, rate = self._clock.at(time.monotonic_ns()), self._goodput.rate_bit_per_s()
        totals = self._totals
        return LinkState(
            next_host=self._to.next_host,
            connected=not self._session.over and self._broken is None,
            frames=totals.frames,
            dropped=totals.dropped,
            failed=totals.failed,
            queued=len(self._queue),
            bytes_before=totals.bytes_before,
            bytes_after=totals.bytes_after,
            encode_ns=totals.encode_ns,
            send_ns=totals.send_ns,
            round_trip_ns=clock.round_trip_ns if clock else 0,
            clock_offset_ns=clock.offset_ns if clock else 0,
            clock_bound_ns=clock.bound_ns if clock else 0,
            rate_bit_per_s=rate,
            codec=totals.codec,
            reconnects=max(0, self._attempts - 1),
        )

    def close(self, *, drained: bool) -> None:
        """End the stream.

        Args:
            drained: every frame has ended, so both sides part as friends; else the stream is cut.
        """
        self._drained = drained
        self._closing.set()
        if not drained:
            self._session.cut("this agent ended the run")
        self._queue.close()
        self._sender.join(_JOIN_S + self._session.goodbye_s)
        self._session.cut("this agent ended the run")

    # Streams.

    def _first_session(self, connect_s: float) -> Session:
        deadline_s = time.monotonic() + connect_s
        try:
            session = self._opened(deadline_s, {Fault.UNREACHABLE, Fault.HUNG_UP}, _HANG_UPS)
            session.warm(self._to)
        except StreamError as error:
            raise AgentError(
                f"no stream to the agent at {self._to.next_address}: {error.what}",
                where=self._to.next_host,
                mend=_MEND.get(error.fault),
            ) from error
        return session

    def _opened(self, deadline_s: float, waits_for: set[Fault], hang_ups: float = math.inf) -> Session:
        """Try until the deadline, as long as it fails in a way that may pass, and the agent hung up less often."""
        pause_s, longest_s = _RETRY_S
        while True:
            session = Session(self._to.next_host, self._ledger.ended, self._learn)
            hello = link_pb2.StreamHello(run_id=self._plan.run_id, host=self._plan.host, attempt=self._attempts)
            left_s = max(0.1, deadline_s - time.monotonic())
            try:
                session.open(self._connect, hello.SerializeToString(), left_s)
            except StreamError as error:
                hang_ups -= error.fault is Fault.HUNG_UP
                passes = error.fault in waits_for and hang_ups > 0
                if not passes or time.monotonic() + pause_s > deadline_s or self._closing.wait(pause_s):
                    raise
                pause_s = min(2 * pause_s, longest_s)
            else:
                self._attempts += 1
                return session

    def _reopened(self, ending: Ending, fault: Fault) -> bool:
        """Open the next stream, as long as the run waits for it; False when it is given up."""
        if self._plan.reconnect_s <= 0 or fault in _FATAL:
            return False
        _LOG.warning("run %s: %s; trying again for %g s", self._plan.run_id, ending, self._plan.reconnect_s)
        self._note_link("broken", str(ending))
        deadline_s = time.monotonic() + self._plan.reconnect_s
        try:
            self._session = self._opened(deadline_s, set(Fault) - _FATAL)
        except StreamError as error:
            _LOG.error("run %s: the link to %s stays broken: %s", self._plan.run_id, self._to.next_host, error)
            return False
        self._note_link("reopened", "")
        return True

    def _note_link(self, event: str, reason: str) -> None:
        line: dict[str, object] = {"kind": "link", "event": event, "at_ns": time.monotonic_ns(), "reason": reason}
        self._note(line | {"next_host": self._to.next_host})

    # The sender: it writes all that is not sent at once.

    def _send(self) -> None:
        while not self._closing.is_set():
            try:
                self._serve(self._session)
            except StreamError:
                self._session.cut("the stream broke")
            if self._closing.is_set():
                break
            self._session.wait_over()
            ending = self._session.ending
            with self._writing:
                self._goodput.lost()
                self._ledger.fail_sent(ending)
            if not self._reopened(ending, self._session.fault):
                self._give_up(ending)
                return
        if self._drained:
            self._session.finish()

    def _serve(self, session: Session) -> None:
        """Send frames and probes until the stream is over or the link closes."""
        while not session.over and not self._closing.is_set():
            pause_s = session.until_probe_s()
            if pause_s == 0:
                with self._writing:
                    session.probe()
            elif session.wait_credit(pause_s) and self._queue.wait(pause_s):
                with self._writing:
                    job = self._queue.take() if session.wait_credit(0) else None
                    if job is not None:
                        self._send_frame(session, *job)

    def _send_frame(self, session: Session, frame: Frame, tensors: Tensors) -> None:
        begin = time.monotonic_ns()
        frame.send_queue_wait_ns = begin - frame.complete_ns
        frame.stage = At.ENCODE
        try:
            payload = self._encode(tensors, frame.version)
            part_count(payload.size_bytes, self._to.max_message_bytes)
        # An encoder meets whatever the arrays hold; the frame is lost, the link is not.
        except Exception as error:  # noqa: BLE001 - reported as the frame's end
            self._refuse_to_send(frame, error)
            return
        frame.sent_ns = time.monotonic_ns()
        frame.encode_ns = frame.sent_ns - begin
        frame.codec, frame.bytes_out = payload.codec, payload.size_bytes
        frame.stage = At.LINK
        try:
            self._write(session, frame, payload)
        except StreamError:
            session.cut("the stream broke")
            session.wait_over()
            self._lose(frame, session.ending)
            raise
        frame.send_ns = time.monotonic_ns() - frame.sent_ns
        self._count(frame, payload)
        self._ledger.left(frame, Left.SENT)

    def _write(self, session: Session, frame: Frame, payload: Payload) -> None:
        session.use_credit()
        sent_ns = frame.sent_ns or 0
        if payload.size_bytes >= LONG_BYTES:
            with self._known:
                self._goodput.began(frame.frame_id, sent_ns, payload.size_bytes)
        head = FrameHead(payload.codec, payload.heads, frame.version, sent_ns)
        for part in divide(frame.frame_id, payload.buffers, head, self._to.max_message_bytes):
            session.write(part)
            frame.parts_out = part.part_index + 1
            if session.until_probe_s() == 0 and not part.last:
                session.probe()

    def _count(self, frame: Frame, payload: Payload) -> None:
        totals = self._totals
        totals.frames += 1
        totals.bytes_before += frame.bytes_raw_out or 0
        totals.bytes_after += payload.size_bytes
        totals.encode_ns += frame.encode_ns or 0
        totals.send_ns += frame.send_ns or 0
        totals.codec = payload.codec

    def _refuse_to_send(self, frame: Frame, error: Exception) -> None:
        text = str(error) if isinstance(error, PayloadError) else f"{type(error).__name__}: {error}"
        self._totals.failed += 1
        self._ledger.stopped_here(frame, End.FAILED, At.ENCODE, " ".join(text.split()))

    def _give_up(self, ending: Ending) -> None:
        self._broken = ending
        for frame, _ in self._queue.close():
            self._lose(frame, ending)
        self._on_broken(ending)

    def _lose(self, frame: Frame, ending: Ending) -> None:
        self._totals.failed += 1
        self._ledger.left(frame, Left.FAILED, At.LINK, ending.reason)
        self._ledger.ended(frame.frame_id, ending)

    # What is learnt on the way.

    def _learn(self, reply: link_pb2.LinkReply, now_ns: int) -> None:
        with self._known:
            if reply.HasField("clock"):
                self._clock.add(exchange_of(reply.clock, now_ns))
                return
            clock = self._clock.at(now_ns)
            self._goodput.received(reply.received.frame_id, now_ns, clock.round_trip_ns if clock else 0)

    def _watch(self) -> None:
        """Silence is noticed here, not by a sender that waits for the transport; and the clock is noted each second."""
        turn = 0
        while not self._closing.wait(_WATCH_S) and self._broken is None:
            self._session.watch(self.state().rate_bit_per_s)
            turn += 1
            if turn % _NOTE_EACH == 0:
                self._note_clock()

    def _note_clock(self) -> None:
        now_ns = time.monotonic_ns()
        with self._known:
            clock = self._clock.at(now_ns)
        if clock is not None:
            line: dict[str, object] = {"kind": "clock", "at_ns": now_ns, "next_host": self._to.next_host}
            self._note(line | dataclasses.asdict(clock))
