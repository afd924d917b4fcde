"""A local port that leads through an SSH connection to a port on the host's loopback.

fabric's own `forward_local` gives up for good when the far end once refuses a connection. Here the far end is an agent
that may be killed and come back, so a refused connection ends alone.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from paramiko.ssh_exception import SSHException

if TYPE_CHECKING:
    from types import TracebackType

    from paramiko import Channel, Transport

_LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 65536
_OPEN_TIMEOUT_S = 10.0


class Tunnel:
    """Listens on a free loopback port while the `with` block lasts; each connection gets a channel of its own."""

    def __init__(self, transport: Transport, remote_port: int) -> None:
        """Remember where to lead.

        Args:
            transport: an open SSH connection.
            remote_port: port on the host's loopback.
        """
        self._transport, self._remote_port = transport, remote_port
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        """Start to listen."""
        threading.Thread(target=self._accept, name="tunnel", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and cut what is open."""
        # shutdown wakes the thread that waits in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for near in list(self._open):
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, origin = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near, origin), name="tunnelled", daemon=True).start()

    def _serve(self, near: socket.socket, origin: tuple[str, int]) -> None:
        with near:
            try:
                far = self._transport.open_channel(
                    "direct-tcpip", (_LOOPBACK, self._remote_port), origin, timeout=_OPEN_TIMEOUT_S
                )
            except (SSHException, EOFError, OSError):
                # Refused at the far end: whoever connected sees a closed connection and may try again.
                return
            self._open.add(near)
            back = threading.Thread(target=_pump_back, args=(far, near), name="tunnelled back", daemon=True)
            back.start()
            with contextlib.suppress(OSError, EOFError):
                while data := near.recv(_CHUNK_BYTES):
                    far.sendall(data)
            with contextlib.suppress(OSError, EOFError):
                far.close()
            back.join()
            self._open.discard(near)


def _pump_back(far: Channel, near: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := far.recv(_CHUNK_BYTES):
            near.sendall(data)
    with contextlib.suppress(OSError):
        near.shutdown(socket.SHUT_RDWR)
