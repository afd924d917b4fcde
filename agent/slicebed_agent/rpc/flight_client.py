"""The side that opens streams, over Arrow Flight."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from pyarrow import flight

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.rpc.flight_core import BROKEN, ArrowStream, said, stream_error
from slicebed_agent.rpc.stream import Message, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.rpc.flight import Security
    from slicebed_agent.rpc.stream import Stream

_OPTIONS: Final = (
    # One connection per stream: what breaks one leaves the others alone.
    ("grpc.use_local_subchannel_pool", 1),
    # Links go straight to the address they were given, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
    # A round trip of half a second is not mistaken for an agent that does not answer.
    ("grpc.min_reconnect_backoff_ms", 20_000),
)


class Client:
    """Opens streams, each over a connection of its own: that of a stream to the same agent which ended well, if any.

    A new connection begins slowly, on a long way for many round trips; an agent's next run need not wait for it again.
    """

    def __init__(self, security: Security) -> None:
        """Have no connection yet."""
        self._security = security
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], Any] = {}
        self._closed = False

    def connect(self, address: str, host: str, hello: bytes) -> Stream:
        """See `flight.Client.connect`."""
        with self._lock:
            kept = self._idle.pop((address, host), None)
        connection = self._connection(address, host) if kept is None else kept

        def keep() -> None:
            with self._lock:
                if not self._closed and (address, host) not in self._idle:
                    self._idle[address, host] = connection
                    return
            connection.close()

        try:
            writer, reader = connection.do_exchange(flight.FlightDescriptor.for_command(hello))
        except BROKEN as error:
            connection.close()
            raise stream_error(error) from error
        stream = _ClientStream(reader, writer, keep, connection.close)
        stream.kept = kept is not None
        return stream

    def close(self) -> None:
        """Let go of connections that no stream is on; those of streams under way go with them."""
        with self._lock:
            self._closed = True
            idle = list(self._idle.values())
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _connection(self, address: str, host: str) -> Any:
        options: dict[str, Any] = {"generic_options": list(_OPTIONS)}
        if self._security.mutual:
            options |= {
                "tls_root_certs": self._security.ca,
                "cert_chain": self._security.certificate,
                "private_key": self._security.key,
                "override_hostname": host,
            }
        scheme = "grpc+tls" if self._security.mutual else "grpc"
        try:
            return flight.connect(f"{scheme}://{address}", **options)
        except BROKEN as error:
            raise AgentConfigError(f"cannot connect: {said(error)}", where=host) from error


class _ClientStream(ArrowStream):
    def __init__(self, reader: Any, writer: Any, keep: Callable[[], None], let_go: Callable[[], None]) -> None:
        """Begun; once it is over `keep` is called if it ended well, else `let_go`."""
        super().__init__(reader, writer)
        self._keep, self._let_go = keep, let_go

    def read(self) -> Message | None:
        """See `Stream`."""
        try:
            message = super().read()
        except StreamError:
            self._close()
            self._let_go()
            raise
        if message is None:
            (self._keep if self._close() else self._let_go)()
        return message

    def finish(self) -> None:
        """See `Stream`."""
        with self._writing:
            if self._finished:
                return
            self._finished = True
            try:
                self._writer.done_writing()
            except BROKEN as error:
                raise stream_error(error) from error

    def _close(self) -> bool:
        # The stream is over. Left to its destructor, Arrow would print how it ended on standard error once more.
        with self._writing:
            self._finished = True
            try:
                self._writer.close()
            except BROKEN:
                return False
        return True

    def cancel(self) -> None:
        """See `Stream`."""
        self._reader.cancel()
