"""The side that takes streams, over Arrow Flight."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import flight

from slicebed_agent.errors import AgentError
from slicebed_agent.rpc.connection import Connection
from slicebed_agent.rpc.flight_core import BROKEN, ArrowStream, said
from slicebed_agent.rpc.stream import Fault, Message, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.rpc.flight import Security
    from slicebed_agent.rpc.stream import Call

_LOG = logging.getLogger(__name__)
_STOP_S: Final = 5.0
# Any other kind of exception Arrow would send with its traceback; the fault travels beside it.
_ERRORS: Final = {Fault.FOREIGN: flight.FlightUnauthenticatedError, Fault.CANCELLED: flight.FlightCancelledError}


class _ServedCall(ArrowStream):
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
        except BROKEN as error:
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
