"""One open stream of a link, as the sending side sees it: what comes back on it, and whether it still lives."""

from __future__ import annotations

import collections
import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import wire
from slicebed_agent.pipeline.clock import Exchange
from slicebed_agent.pipeline.contracts import At, End, Ending
from slicebed_agent.pipeline.parts import LONG_BYTES
from slicebed_agent.rpc.stream import Fault, StreamError
from slicebed_agent.rpc.v1 import link_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import LinkPlan
    from slicebed_agent.pipeline.parts import Part
    from slicebed_agent.rpc.stream import Stream

SILENCE_S: Final = 10.0
_PROBE_S: Final = 0.25
_GOODBYE_S: Final = 2.0
_KEPT_SHARE: Final = 0.25
_WARM_ROUNDS: Final = 8
_FIRST_BYTES: Final = 8 * 1024
_WARMER: Final = 0.8
"""What takes more than this share of the time before has not become faster."""
_UNKNOWN_RATE_BIT_PER_S: Final = 1_000_000
"""Before anything is known of a link, what was written may take as long as over this one."""


class Session:
    """From the opening of a stream to its end. One thread writes; the session's own thread reads."""

    def __init__(
        self, next_host: str, ended: Callable[[int, Ending], None], learn: Callable[[link_pb2.LinkReply, int], None]
    ) -> None:
        """Not open yet.

        Args:
            next_host: names whom a break is blamed on.
            ended: told of each frame whose end is reported.
            learn: told of each clock answer and each long frame's arrival, and when it came (monotonic, ns).
        """
        self._next_host, self._ended, self._learn = next_host, ended, learn
        self._stream: Stream | None = None
        self._changed = threading.Condition()
        self._welcome = False
        self._credit: int | None = 0
        self._ending: Ending | None = None
        self._fault: Fault | None = None
        self._cut: str | None = None
        self._over = False
        self._heard_s = self._probed_s = time.monotonic()
        self._written_bytes = self._arrived_bytes = self._read_bytes = 0
        self._unanswered = 0
        self._probes: collections.deque[tuple[int, int]] = collections.deque()
        self._round_trip_s = math.inf

    def open(self, connect: Callable[[bytes], Stream], hello: bytes, timeout_s: float) -> None:
        """Open the stream and wait until the next agent has taken it.

        Raises:
            StreamError: it did not.
        """
        self._stream = connect(hello)
        if self._stream.kept:
            # Something on the way may have forgotten the connection: time has to be left for a new one.
            timeout_s *= _KEPT_SHARE
        threading.Thread(target=self._read, args=(self._stream,), name="reports", daemon=True).start()
        with contextlib.suppress(StreamError):  # its reader knows why, or will
            self.probe()
        with self._changed:
            self._changed.wait_for(lambda: self._welcome or self._over, timeout_s)
            if self._welcome and not self._over:
                return
        over = self._over
        error = self._ended_by(f"the agent did not answer within {timeout_s:.1f} s")
        raise error if over else StreamError(Fault.UNREACHABLE, error.what, where=error.where)

    def warm(self, to: LinkPlan) -> None:
        """Send bytes that nobody reads until they take a round trip, or no less time than before.

        As many as will be under way: what the camera captures in a round trip, one frame at least, but no more than
        twice what the link is known to hold. TCP and HTTP/2 let a new connection have little under way at first, and
        twice as much with every round trip.

        Raises:
            StreamError: the stream broke.
        """
        if not to.warm_bytes:
            return
        warm = threading.Event()
        # A write may wait for as long as the next agent takes nothing.
        watch = threading.Thread(target=self._watch_until, args=(warm, to.rate_bit_per_s), name="warming", daemon=True)
        watch.start()
        try:
            self._warm(to)
        except StreamError as error:
            raise self._ended_by("the stream broke") from error
        finally:
            warm.set()
            watch.join()

    def _warm(self, to: LinkPlan) -> None:
        # The first answer, in `open`, came after the connection was made; this one takes a round trip.
        shortest_s, round_trip_s = math.inf, self._there_and_back_s(0)
        size_bytes = to.warm_bytes * max(1, math.ceil(to.frames_per_s * round_trip_s))
        if to.rate_bit_per_s:
            size_bytes = min(size_bytes, math.ceil(2 * to.rate_bit_per_s * round_trip_s / 8))
        for _ in range(_WARM_ROUNDS):
            took_s = self._there_and_back_s(size_bytes)
            if took_s > _WARMER * shortest_s or took_s < round_trip_s / _WARMER:
                return
            shortest_s = took_s

    def _there_and_back_s(self, size_bytes: int) -> float:
        filler, piece_bytes, left_bytes = memoryview(bytes(LONG_BYTES)), _FIRST_BYTES, size_bytes
        begin_s = time.monotonic()
        self.probe()
        while left_bytes > 0:
            # As the windows grow, so that on a long way too no answer is more than a round trip or two behind another.
            self.probe(filler[: min(piece_bytes, left_bytes)])
            left_bytes -= piece_bytes
            piece_bytes = min(2 * piece_bytes, LONG_BYTES)
        with self._changed:
            self._changed.wait_for(lambda: not self._probes or self._over)
            if not self._over:
                return time.monotonic() - begin_s
        raise StreamError(self.fault, "the stream broke")

    def _watch_until(self, done: threading.Event, rate_bit_per_s: int) -> None:
        while not done.wait(_PROBE_S):
            self.watch(rate_bit_per_s)

    def _ended_by(self, why: str) -> StreamError:
        self.cut(why)
        self.wait_over()
        return StreamError(self.fault, self.ending.reason, where=self.ending.host)

    # What the sender does.

    def write(self, part: Part) -> None:
        """Send a part of a frame.

        Raises:
            StreamError: the stream broke.
        """
        message = wire.part_to_wire(part, self._read_bytes)
        if part.last:
            with self._changed:
                self._unanswered += 1
        if self._stream is not None:
            self._stream.write(message.metadata, message.body)
        body_bytes = 0 if message.body is None else message.body.nbytes
        self._written_bytes += len(message.metadata) + body_bytes

    def probe(self, filler: memoryview | None = None) -> None:
        """Ask for the next agent's clock, with bytes that nobody reads, if any.

        Raises:
            StreamError: the stream broke.
        """
        self._probed_s = time.monotonic()
        sent_ns = time.monotonic_ns()
        self._probes.append((sent_ns, self._written_bytes))
        probe = link_pb2.LinkMessage(probe=link_pb2.ClockProbe(sent_ns=sent_ns), read_bytes=self._read_bytes)
        if self._stream is not None:
            self._stream.write(probe.SerializeToString(), filler)
        self._written_bytes += 0 if filler is None else filler.nbytes

    def until_probe_s(self) -> float:
        """Seconds until it is time for the next probe; 0 when it is."""
        return max(0.0, self._probed_s + _PROBE_S - time.monotonic())

    def wait_credit(self, timeout_s: float) -> bool:
        """Wait until a frame may be sent; False when it may not, or the stream is over."""
        with self._changed:
            if self._credit is not None:
                self._changed.wait_for(lambda: self._credit or self._over, timeout_s)
            return not self._over and self._credit != 0

    def use_credit(self) -> None:
        """A frame is about to be sent."""
        with self._changed:
            if self._credit:
                self._credit -= 1

    @property
    def idle(self) -> bool:
        """True when a short frame can be sent without waiting: the one before was answered, and there is credit."""
        return self._unanswered == 0 and self._credit != 0 and not self._over

    def finish(self) -> None:
        """Say that no frame follows, and wait shortly for the next agent's own end."""
        try:
            if self._stream is not None:
                self._stream.finish()
        except StreamError:
            pass  # it is over
        with self._changed:
            self._changed.wait_for(lambda: self._over, self.goodbye_s)
        self.cut("the agent did not end the stream")

    # What anybody may ask or do.

    @property
    def goodbye_s(self) -> float:
        """How long `finish` waits at most: the other end's answer takes a round trip."""
        return _GOODBYE_S + (self._round_trip_s if math.isfinite(self._round_trip_s) else 0.0)

    @property
    def over(self) -> bool:
        """True once nothing comes back any more."""
        return self._over

    @property
    def fault(self) -> Fault:
        """Why it ended."""
        return self._fault or Fault.UNREACHABLE

    @property
    def ending(self) -> Ending:
        """What becomes of the frames that were on it."""
        return self._ending or Ending(End.FAILED, self._next_host, At.LINK, "the agent ended the stream")

    def cut(self, why: str) -> None:
        """End the stream at once; the first reason is kept."""
        if not self._over:
            self._cut = self._cut or why
            if self._stream is not None:
                self._stream.cancel()

    def wait_over(self) -> None:
        """Wait for the reader's end, which `cut` brings about."""
        with self._changed:
            self._changed.wait_for(lambda: self._over, SILENCE_S)

    def watch(self, rate_bit_per_s: int) -> None:
        """Cut the stream if the next agent has been silent for longer than what was written explains."""
        backlog_s = 8 * (self._written_bytes - self._arrived_bytes) / (rate_bit_per_s or _UNKNOWN_RATE_BIT_PER_S)
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SILENCE_S + backlog_s:
            self.cut(f"nothing came from the agent for {silent_s:.0f} s")

    # The reader.

    def _read(self, stream: Stream) -> None:
        error: StreamError | None = None
        try:
            while (message := stream.read()) is not None:
                now_ns = time.monotonic_ns()
                self._read_bytes += len(message.metadata)
                self._heard_s = time.monotonic()
                self._take(wire.reply_from_wire(message), now_ns)
        except StreamError as broken:
            error = broken
        except PayloadError as malformed:
            error = StreamError(Fault.MALFORMED, malformed.what)
            stream.cancel()
        with self._changed:
            if error is not None:
                self._fault = error.fault
            reason = self._cut or (f"the stream broke: {error.what}" if error is not None else None)
            if self._ending is None and reason is not None:
                self._ending = Ending(End.FAILED, self._next_host, At.LINK, " ".join(reason.split()))
            self._over = True
            self._changed.notify_all()

    def _take(self, reply: link_pb2.LinkReply, now_ns: int) -> None:
        kind = reply.WhichOneof("content")
        if kind == "report":
            with self._changed:
                # That of a frame on the stream before this one counts for nothing here.
                self._unanswered = max(0, self._unanswered - 1)
            self._ended(reply.report.frame_id, wire.ending_from_wire(reply.report))
        elif kind == "clock":
            self._round_trip_s = min(self._round_trip_s, (now_ns - reply.clock.sent_ns) / 1e9)
            self._arrived(reply.clock.sent_ns)
            self._learn(reply, now_ns)
        elif kind == "received":
            self._learn(reply, now_ns)
        elif kind == "farewell":
            self._ending = wire.ending_of_farewell(reply.farewell, self._next_host)
            threading.Thread(target=self._part, name="farewell", daemon=True).start()
        else:
            with self._changed:
                self._account(reply)
                self._changed.notify_all()

    def _account(self, reply: link_pb2.LinkReply) -> None:
        if reply.HasField("credit"):
            if self._credit is not None:
                self._credit += reply.credit.frames
            return
        self._welcome = True
        if not reply.welcome.HasField("credit"):
            self._credit = None
        elif self._credit is not None:
            self._credit += reply.welcome.credit

    def _part(self) -> None:
        """Answer a farewell: the next agent waits for that. Not by the reader: the sender may be in a long write."""
        try:
            if self._stream is not None:
                self._stream.finish()
        except StreamError:
            pass  # it is over

    def _arrived(self, probe_sent_ns: int) -> None:
        with self._changed:
            while self._probes and self._probes[0][0] <= probe_sent_ns:
                self._arrived_bytes = self._probes.popleft()[1]
            if not self._probes:
                self._changed.notify_all()


def exchange_of(answer: link_pb2.ClockAnswer, returned_ns: int) -> Exchange:
    """The four timestamps of a probe that was answered."""
    return Exchange(answer.sent_ns, answer.received_ns, answer.answered_ns, returned_ns)
