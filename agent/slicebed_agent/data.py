"""The data plane: streams of the current run come in, what becomes of their frames goes back."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import wire
from slicebed_agent.pipeline.outlet import Outlet
from slicebed_agent.pipeline.parts import LONG_BYTES, MAX_PART_BYTES, Part, check
from slicebed_agent.rpc import flight
from slicebed_agent.rpc.stream import Fault, StreamError
from slicebed_agent.rpc.v1 import link_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.run import Run
    from slicebed_agent.rpc.flight_server import Server
    from slicebed_agent.rpc.stream import Call, Message

_LOG = logging.getLogger(__name__)
SILENCE_S: Final = 10.0
_WATCH_S: Final = 0.1
# Flight takes messages of any length and cannot be told otherwise. What came since the last whole one includes what the
# windows of HTTP/2 and TCP hold of those that follow.
_MESSAGE_BYTES: Final = 4 * MAX_PART_BYTES
_FAREWELL_BYTES: Final = 2 * MAX_PART_BYTES
_GOODBYE_S: Final = 2.0
_REPLACE_S: Final = 5.0
_TOLD: Final = 256
_TRIM_S: Final = 0.5
"""After a stream's end Flight itself lets go of it."""
_MEND_FOREIGN: Final = "a run is fed by the agent before it alone"


@dataclasses.dataclass(eq=False)
class _Stream:
    """An incoming stream.

    Attributes:
        attempt: how often its sender had opened one before.
        trouble: why it is cut, when this side does that.
        leaves_by_s: when it is cut at the latest, once it is to end (monotonic).
        messages: read so far.
        whole: the messages, and the bytes that had come, when the watch last found that a message had become whole.
        passed_over_bytes: read since it is to end.
        done: nothing of it is left.
    """

    call: Call
    outlet: Outlet
    attempt: int = 0
    trouble: str | None = None
    leaves_by_s: float | None = None
    messages: int = 0
    whole: tuple[int, int] = (-1, 0)
    passed_over_bytes: int = 0
    done: threading.Event = dataclasses.field(default_factory=threading.Event)

    def watch(self) -> None:
        """Cut what is silent, too long, or does not end when it should. A message on its way is not silence."""
        arrived = self.call.arrived_bytes()
        if self.messages != self.whole[0]:
            self.whole = self.messages, arrived
        unfinished = arrived - self.whole[1]
        now_s = time.monotonic()
        if self.outlet.closed and self.leaves_by_s is None:
            self.leaves_by_s = now_s + _GOODBYE_S
        if self.leaves_by_s is not None and now_s > self.leaves_by_s:
            self.call.cancel()
        elif unfinished > (_FAREWELL_BYTES if self.outlet.closed else _MESSAGE_BYTES):
            self.cut(f"{unfinished} bytes came that end no message; the longest is {MAX_PART_BYTES}")
        elif self.call.silent_s() > SILENCE_S:
            self.cut(f"nothing came from the agent before for {SILENCE_S:g} s")

    def cut(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble
        self.outlet.close()
        self.call.cancel()

    def read(self) -> Message | None:
        """The next message; once the stream is to end, it is cut when too much still comes."""
        message = self.call.read()
        self.messages += 1
        if message is not None and self.outlet.closed:
            self.passed_over_bytes += len(message.metadata) + (message.body.nbytes if message.body is not None else 0)
            if self.passed_over_bytes > _FAREWELL_BYTES:
                self.call.cancel()
        return message


class DataPlane:
    """Takes streams from the agents before, each of which belongs to the current run or is refused."""

    def __init__(self, run_of: Callable[[], Run | None], security: flight.Security) -> None:
        """Serve whichever run is current when a stream begins; nothing listens yet."""
        self._run_of, self._security = run_of, security
        self._servers: list[Server] = []
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()
        self._feeding: tuple[Run, _Stream] | None = None
        self._stopping = threading.Event()
        self._told: set[tuple[str, str]] = set()
        self._trim_at_s: float | None = None

    def listen(self, address: str) -> int:
        """Take streams on host:port (port 0: any free one) from now on; several addresses may be given one by one.

        Returns:
            The port.

        Raises:
            AgentConfigError: the address is not host:port.
            AgentError: it cannot be listened on.
        """
        server = flight.serve(address, self._security, self._handle)
        if not self._servers:
            threading.Thread(target=self._watch, name="data watch", daemon=True).start()
        self._servers.append(server)
        return server.port

    def stop(self, grace_s: float) -> None:
        """Take nothing more; streams under way have `grace_s` to end by themselves. Never hangs."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.outlet.refuse(Fault.UNREACHABLE, "the agent was stopped")
        for server in self._servers:
            server.stop(grace_s)
        self._servers.clear()
        self._stopping.set()

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_S):
            with self._lock:
                streams = list(self._streams)
            for stream in streams:
                stream.watch()
            if self._trim_at_s is not None and time.monotonic() > self._trim_at_s:
                self._trim_at_s = None
                flight.give_back()

    # One stream, in its own thread.

    def _handle(self, call: Call) -> None:
        stream = _Stream(call, Outlet(call.write))
        with self._lock:
            self._streams.add(stream)
        sender = threading.Thread(target=stream.outlet.run, name="reports", daemon=True)
        sender.start()
        try:
            self._feed(stream)
        finally:
            stream.outlet.close()
            # Flight takes the stream away when this returns: nobody may be writing then. What hangs is cut by `watch`.
            sender.join()
            with self._lock:
                self._streams.discard(stream)
            stream.done.set()
            self._trim_at_s = time.monotonic() + _TRIM_S
        if stream.outlet.refusal is not None:
            raise stream.outlet.refusal

    def _feed(self, stream: _Stream) -> None:
        try:
            run = self._admit(stream)
        except StreamError as error:
            self._log_refusal(stream.call.peer, error)
            # Nothing of it is read.
            stream.outlet.refuse(error.fault, error.what)
            return
        stream.outlet.welcome(run.inbound_credit())
        trouble: str | None = None
        try:
            trouble = self._read(stream, run)
        finally:
            # First: the run must not hold a stream that is about to vanish.
            if trouble is not None and not run.over:
                _LOG.error("run %s: %s", run.plan.run_id, trouble)
            with self._lock:
                if self._feeding is not None and self._feeding[1] is stream:
                    self._feeding = None
            run.stream_ended(None if run.over else trouble)

    def _log_refusal(self, peer: str, error: StreamError) -> None:
        """Once for each reason: a link tries again every few seconds for as long as its run waits."""
        told = (peer.rpartition(":")[0], error.what)
        with self._lock:
            if told in self._told:
                return
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told.add(told)
        _LOG.error("stream from %s refused: %s; the same is not logged again", peer, error)

    def _read(self, stream: _Stream, run: Run) -> str | None:
        """Feed the run until the stream ends; why it did, unless it should."""
        try:
            while (message := stream.read()) is not None:
                if not stream.outlet.closed:
                    _take(stream.outlet, run, message)
        except PayloadError as error:
            stream.outlet.refuse(Fault.MALFORMED, str(error))
            self._drain(stream)
            return str(error)
        except StreamError as error:
            if error.fault is Fault.MALFORMED:
                stream.outlet.refuse(Fault.MALFORMED, error.what)
                return error.what
            broke = stream.trouble or f"the stream from the agent before broke: {error.what}"
            return None if stream.outlet.closed and stream.trouble is None else broke
        refusal = stream.outlet.refusal
        return stream.trouble or (refusal.what if refusal is not None else None)

    def _drain(self, stream: _Stream) -> None:
        """Read on until the other side has taken the farewell and ended, or is cut."""
        try:
            while stream.read() is not None:
                pass
        except StreamError:
            pass  # it has ended

    # Whose stream it is.

    def _admit(self, stream: _Stream) -> Run:
        try:
            hello = link_pb2.StreamHello.FromString(stream.call.hello)
        except DecodeError as error:
            raise StreamError(Fault.MALFORMED, "the stream begins without a StreamHello") from error
        stream.attempt = hello.attempt
        run = self._run_of()
        if run is None or run.plan.run_id != hello.run_id or run.over:
            held = "there is none" if run is None else f"the current one is {run.plan.run_id!r}"
            raise StreamError(Fault.NOT_READY, f"run {hello.run_id[:128]!r} takes no stream here: {held}")
        self._identify(stream.call, hello.host, run.plan.previous_host)
        self._replace(run, stream)
        if not run.attach(stream.outlet):
            raise StreamError(Fault.NOT_READY, f"run {hello.run_id!r} has its stream already, or is over")
        with self._lock:
            self._feeding = (run, stream)
        return run

    def _identify(self, call: Call, named: str, previous: str | None) -> None:
        if previous is None:
            raise StreamError(Fault.FOREIGN, "the run begins here and takes no stream")
        who = named if call.identity is None else call.identity
        if who != previous or named != previous:
            raise StreamError(Fault.FOREIGN, f"{who[:128]!r} is not {previous!r}: {_MEND_FOREIGN}")

    def _replace(self, run: Run, stream: _Stream) -> None:
        """A sender that opens its stream again knows that the former one is gone, before this side may have noticed."""
        with self._lock:
            feeding = self._feeding
        if feeding is None or feeding[0] is not run or stream.attempt <= feeding[1].attempt:
            return
        feeding[1].cut("its sender opened another stream")
        feeding[1].done.wait(_REPLACE_S)


def _take(outlet: Outlet, run: Run, message: Message) -> None:
    now_ns = time.monotonic_ns()
    content, read_bytes = wire.message_from_wire(message)
    outlet.seen(read_bytes)
    if not isinstance(content, Part):
        outlet.answer(content, now_ns)
        return
    check(content)
    run.receive(content)
    if content.last and content.total_bytes >= LONG_BYTES:
        outlet.received(content.frame_id)
