"""The data plane's transport: Arrow Flight's DoExchange with mutual TLS (ADR 12).

Arrow is imported by the first use, not with this module: it costs a third of a second and 40 MB.
"""

from __future__ import annotations

import dataclasses
import socket
import threading
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.rpc.address import split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slicebed_agent.rpc import flight_client
    from slicebed_agent.rpc.flight_server import Server
    from slicebed_agent.rpc.stream import Call, Stream

_FILES: Final = ("ca.pem", "cert.pem", "key.pem")
_MEND_ADDRESS: Final = "is the address this host's, and does another agent hold the port?"


@dataclasses.dataclass(frozen=True)
class Security:
    """How an agent proves who it is, PEM; all None: plaintext, nobody proves anything.

    Attributes:
        ca: the testbed's certificate authority, which must have signed both sides' certificates.
        certificate: of this host, in whose name (common name and subject alternative name) it is.
        key: of that certificate.
    """

    ca: bytes | None
    certificate: bytes | None
    key: bytes | None = dataclasses.field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Security:
        """From ca.pem, cert.pem and key.pem in a folder.

        Raises:
            AgentConfigError: names the file that cannot be read, or is no PEM.
        """
        return cls(*(_pem(folder / name) for name in _FILES))

    @classmethod
    def plaintext(cls) -> Security:
        """No TLS: for measurements, and networks that nobody else is on."""
        return cls(None, None, None)

    @property
    def mutual(self) -> bool:
        """True with TLS."""
        return self.ca is not None


class Client:
    """Opens streams to other agents."""

    def __init__(self, security: Security) -> None:
        """Be this agent; nothing is reached yet."""
        self._security = security
        self._lock = threading.Lock()
        self._made: flight_client.Client | None = None

    def connect(self, address: str, host: str, hello: bytes) -> Stream:
        """Open a stream to the agent at host:port; whether it is taken, the first message tells.

        Args:
            address: host:port of its data plane.
            host: name of its host, which its certificate must carry.
            hello: a serialised StreamHello.

        Raises:
            StreamError: the transport refuses to try.
        """
        from slicebed_agent.rpc import flight_client  # noqa: PLC0415 - see above

        with self._lock:
            self._made = self._made or flight_client.Client(self._security)
        return self._made.connect(address, host, hello)

    def close(self) -> None:
        """Let go of connections that were kept for the next stream."""
        with self._lock:
            if self._made is not None:
                self._made.close()


def serve(address: str, security: Security, handle: Callable[[Call], None]) -> Server:
    """Listen on host:port (port 0: any free one); streams are taken from now on.

    Args:
        address: where.
        security: who this agent is; with TLS, a client without a certificate of the same authority fails in its
            handshake.
        handle: runs each stream, in a thread of its own; it reads until the end, and a StreamError that it raises
            is what the other side is told.

    Raises:
        AgentConfigError: the address is not host:port, or the certificate is none.
        AgentError: it cannot be listened on.
    """
    from slicebed_agent.rpc import flight_server  # noqa: PLC0415 - see above

    host, port = split(address)
    _probe(host, port, address)
    return flight_server.Server(host, port, security, handle)


def give_back() -> None:
    """Return to the system the memory that streams took which are over."""
    from slicebed_agent.rpc import flight_core  # noqa: PLC0415 - see above

    flight_core.give_back()


def _probe(host: str, port: int, address: str) -> None:
    """Flight itself would share the port with another agent, and each would get some of the streams."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(found[0], found[1]) as probe:
            # As Flight will: connections of the agent before, which wait for their last packets, are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
            probe.listen(1)
    except OSError as error:
        raise AgentError(f"cannot listen: {error.strerror}", where=address, mend=_MEND_ADDRESS) from error


def _pem(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AgentConfigError(
            f"cannot be read: {error.strerror}",
            where=str(path),
            mend="--tls names the folder of ca.pem, cert.pem and key.pem, which the agent playbook makes",
        ) from error
    if b"-----BEGIN " not in content:
        raise AgentConfigError("is no PEM file", where=str(path), mend="run the agent playbook again")
    return content
