"""What touches Arrow Flight itself; imported by the first use of `rpc.flight`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import flight

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.rpc.connection import Connection
from slicebed_agent.rpc.stream import Fault, Message, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.rpc.flight import Security
    from slicebed_agent.rpc.stream import Call

_LOG = logging.getLogger(__name__)
_EXPERIMENTS: Final = "GRPC_EXPERIMENTS"
_STOP_S: Final = 5.0
# malloc.h; what a frame's pieces took is kept for the next frame's. The allocator comes to the same by itself, after a
# hundred frames that pay 800 page faults each, twice the time of a frame of 12.8 MB. 32 MiB is the most that it takes.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 32 * 1024 * 1024
_ALLOCATOR: Final = ctypes.CDLL(None)
_SCHEMA: Final = pa.schema([pa.field("payload", pa.binary(), nullable=False)])
_SAID: Final = re.compile(
    r"(?:.*?with message: )?(.*?)\.? ?(?:Detail: .*|gRPC client debug context: .*|Client context: .*)?$", re.DOTALL
)
_FAULTS: Final = (
    (flight.FlightUnauthenticatedError, Fault.FOREIGN),
    (flight.FlightUnauthorizedError, Fault.FOREIGN),
    (flight.FlightCancelledError, Fault.CANCELLED),
    (pa.ArrowInvalid, Fault.MALFORMED),
)
# Any other kind of exception Arrow would send with its traceback; the fault travels beside it.
_ERRORS: Final = {Fault.FOREIGN: flight.FlightUnauthenticatedError, Fault.CANCELLED: flight.FlightCancelledError}
_BROKEN: Final = (pa.ArrowException, flight.FlightError, OSError)
_CLIENT_OPTIONS: Final = (
    # One connection per stream: what breaks one leaves the others alone.
    ("grpc.use_local_subchannel_pool", 1),
    # Links go straight to the address they were given, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
    # A round trip of half a second is not mistaken for an agent that does not answer.
    ("grpc.min_reconnect_backoff_ms", 20_000),
)


def _start() -> None:
    """Make Arrow's own gRPC read its settings: a ping-pong of 4 kB takes 0.2 ms without its event engine, 0.45 with it.

    The environment is as it was afterwards: the gRPC of Python, in the same process, keeps its own defaults.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # the others keep what was freed
    _ALLOCATOR.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    _ALLOCATOR.mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)
    if _EXPERIMENTS in os.environ:
        return
    os.environ[_EXPERIMENTS] = "-event_engine_client,-event_engine_listener,-event_engine_dns"
    try:
        flight.connect("grpc://127.0.0.1:1").close()
    finally:
        del os.environ[_EXPERIMENTS]


_start()


class _Stream:
    """What both sides do alike."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = reader, writer
        self._writing = threading.Lock()
        self._begun = self._finished = False

    def write(self, metadata: bytes, body: memoryview | None = None) -> None:
        """See `Stream`."""
        with self._writing:
            # gRPC aborts the process that asks more of a call which it has ended.
            if self._finished:
                raise StreamError(Fault.UNREACHABLE, "the stream has ended")
            try:
                if body is None:
                    self._writer.write_metadata(metadata)
                    return
                if not self._begun:
                    self._begun = True
                    self._writer.begin(_SCHEMA)
                self._writer.write_with_metadata(_batch(body), metadata)
            except _BROKEN as error:
                raise _stream_error(error) from error

    def read(self) -> Message | None:
        """See `Stream`."""
        try:
            chunk = self._reader.read_chunk()
        except StopIteration:
            return None
        except _BROKEN as error:
            raise _stream_error(error) from error
        metadata = b"" if chunk.app_metadata is None else chunk.app_metadata.to_pybytes()
        return Message(metadata, None if chunk.data is None else _body(chunk.data))


class _ClientStream(_Stream):
    def __init__(self, client: Any, hello: bytes) -> None:
        self._client = client
        try:
            writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(hello))
        except _BROKEN as error:
            raise _stream_error(error) from error
        super().__init__(reader, writer)

    def read(self) -> Message | None:
        """See `Stream`."""
        try:
            message = super().read()
        except StreamError:
            self._close()
            raise
        if message is None:
            self._close()
        return message

    def finish(self) -> None:
        """See `Stream`."""
        with self._writing:
            if self._finished:
                return
            self._finished = True
            try:
                self._writer.done_writing()
            except _BROKEN as error:
                raise _stream_error(error) from error

    def _close(self) -> None:
        # The stream is over. Left to its destructor, Arrow would print how it ended on standard error once more.
        with self._writing:
            self._finished = True
            with contextlib.suppress(*_BROKEN):
                self._writer.close()
        self._client.close()

    def cancel(self) -> None:
        """See `Stream`."""
        self._reader.cancel()


class _ServedCall(_Stream):
    def __init__(self, context: Any, hello: bytes, reader: Any, writer: Any, *, mutual: bool) -> None:
        super().__init__(reader, writer)
        self.hello, self.peer = hello, context.peer()
        self.identity: str | None = context.peer_identity().decode(errors="replace") if mutual else None
        self.connection = Connection.of_peer(self.peer)
        self._context = context

    def read(self) -> Message | None:
        """See `Stream`."""
        message = super().read()
        # To Flight's server a client that vanished has finished.
        if message is None and self._context.is_cancelled():
            raise StreamError(Fault.UNREACHABLE, "the connection broke")
        return message

    def finish(self) -> None:
        """The call ends when its handler returns."""

    def cancel(self) -> None:
        """See `Stream`; Flight's server has no means of its own."""
        self.connection.cut()

    def silent_s(self) -> float:
        """See `Call`."""
        return self.connection.silent_s()

    def arrived_bytes(self) -> int:
        """See `Call`."""
        return self.connection.arrived_bytes()


class Server:
    """Streams on one address, from the moment it is made until `stop`."""

    def __init__(self, host: str, port: int, security: Security, handle: Callable[[Call], None]) -> None:
        """See `flight.serve`."""
        self._calls = _Calls(handle, mutual=security.mutual)
        options: dict[str, Any] = {}
        if security.mutual:
            options = {
                "tls_certificates": [(security.certificate, security.key)],
                "verify_client": True,
                "root_certificates": security.ca,
            }
        scheme = "grpc+tls" if security.mutual else "grpc"
        calls = self._calls

        class Service(flight.FlightServerBase):  # type: ignore[misc] # Arrow is untyped
            def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
                calls.run(context, descriptor.command or b"", reader, writer)

        try:
            self._service = Service(f"{scheme}://{host}:{port}", **options)
        except _BROKEN as error:
            raise AgentError(
                f"cannot listen: {said(error)}",
                where=f"{host}:{port}",
                mend="is the port free, and the key the certificate's?",
            ) from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._service.port)

    def stop(self, grace_s: float) -> None:
        """End: streams have `grace_s` to end by themselves, then their connections are cut. Never hangs."""
        self._calls.close(grace_s)
        closing = threading.Thread(target=self._service.shutdown, name="flight shutdown", daemon=True)
        closing.start()
        closing.join(_STOP_S)
        if closing.is_alive():
            _LOG.error("the data plane on port %d did not stop within %g s and was left behind", self.port, _STOP_S)


class _Calls:
    """The streams under way."""

    def __init__(self, handle: Callable[[Call], None], *, mutual: bool) -> None:
        self._handle, self._mutual = handle, mutual
        self._changed = threading.Condition()
        self._open: set[_ServedCall] = set()
        self._closed = False

    def run(self, context: Any, hello: bytes, reader: Any, writer: Any) -> None:
        refusal = self._handled(_ServedCall(context, hello, reader, writer, mutual=self._mutual))
        if refusal is None:
            return
        if refusal.fault is Fault.MALFORMED:
            # gRPC's INVALID_ARGUMENT, for which Flight has no error of its own: Arrow adds these two lines' places.
            raise pa.ArrowInvalid(refusal.what)
        kind = _ERRORS.get(refusal.fault, flight.FlightUnavailableError)
        raise kind(refusal.what, extra_info=refusal.fault.encode())

    def _handled(self, call: _ServedCall) -> StreamError | None:
        try:
            with self._changed:
                if self._closed:
                    return StreamError(Fault.UNREACHABLE, "the agent stops")
                self._open.add(call)
            self._handle(call)
        except StreamError as error:
            return error  # raised by the caller as one of Flight's
        except Exception:  # noqa: BLE001 - Arrow would send its traceback
            _LOG.exception("stream from %s", call.peer)
            return StreamError(Fault.UNREACHABLE, "the agent failed; its log says how")
        finally:
            with self._changed:
                self._open.discard(call)
                self._changed.notify_all()
            call.connection.close()
        return None

    def close(self, grace_s: float) -> None:
        with self._changed:
            self._closed = True
            if self._changed.wait_for(lambda: not self._open, grace_s):
                return
            for call in self._open:
                call.cancel()
            self._changed.wait_for(lambda: not self._open, _STOP_S)


def give_back() -> None:
    """Return to the system what the allocator keeps of streams that are over."""
    _ALLOCATOR.malloc_trim(0)


def connect(address: str, host: str, security: Security, hello: bytes) -> _ClientStream:
    """See `flight.connect`."""
    options: dict[str, Any] = {"generic_options": list(_CLIENT_OPTIONS)}
    if security.mutual:
        options |= {
            "tls_root_certs": security.ca,
            "cert_chain": security.certificate,
            "private_key": security.key,
            "override_hostname": host,
        }
    scheme = "grpc+tls" if security.mutual else "grpc"
    try:
        client = flight.connect(f"{scheme}://{address}", **options)
    except _BROKEN as error:
        raise AgentConfigError(f"cannot connect: {said(error)}", where=host) from error
    return _ClientStream(client, hello)


def _batch(body: memoryview) -> Any:
    data = pa.py_buffer(body)
    offsets = pa.py_buffer(np.array([0, data.size], np.int32))
    return pa.RecordBatch.from_arrays([pa.Array.from_buffers(pa.binary(), 1, [None, offsets, data])], schema=_SCHEMA)


def _body(batch: Any) -> memoryview:
    """The one value of the one column, not copied. Arrow's reader believes offsets it is sent: they are checked."""
    if batch.num_rows != 1 or batch.schema.types != [pa.binary()] or batch.column(0).null_count:
        raise StreamError(Fault.MALFORMED, f"a record batch of {batch.num_rows} rows, {batch.schema.types}")
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise StreamError(Fault.MALFORMED, said(error)) from error
    # Arrow's buffers call their bytes signed.
    return memoryview(batch.column(0)[0].as_buffer()).cast("B")


def _stream_error(error: Exception) -> StreamError:
    named = bytes(getattr(error, "extra_info", None) or b"").decode(errors="replace")
    if named in set(Fault):
        return StreamError(Fault(named), said(error))
    for kind, fault in _FAULTS:
        if isinstance(error, kind):
            return StreamError(fault, said(error))
    fault = _fault_of_connecting(said(error))
    return StreamError(fault, "the TLS handshake failed" if fault is Fault.FOREIGN else said(error))


def _fault_of_connecting(text: str) -> Fault:
    """All is "unavailable" to gRPC; of a refusal the client of TLS 1.3 sees no more than that the connection closes."""
    if not text.startswith("failed to connect"):
        return Fault.UNREACHABLE
    if any(words in text for words in ("Ssl handshake failed", "peer certificate")):
        return Fault.FOREIGN
    return Fault.HUNG_UP if "Socket closed" in text else Fault.UNREACHABLE


def said(error: Exception) -> str:
    """What an error of Flight says, without the contexts that gRPC adds."""
    text = " ".join(str(error).split())
    found = _SAID.match(text)
    return found.group(1) if found and found.group(1) else text
