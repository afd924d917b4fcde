"""A way to an agent that swallows what is sent on it, as a link that somebody cuts without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Hole:
    """Carries connections to a port until `swallow`; what comes on them later goes nowhere, new ones are carried.

    Attributes:
        port: where it listens.
        connections: how many there were.
    """

    def __init__(self, port, swallows_after_bytes=None):
        self._to, self._most = port, swallows_after_bytes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        self._dead = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self):
        self._dead.set()
        self._dead = threading.Event()

    def close(self):
        self.swallow()
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self.connections += 1
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(*ends, self._dead), daemon=True).start()

    def _carry(self, near, far, dead):
        carried = 0
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                carried += len(data)
                while dead.is_set() or (self._most is not None and carried > self._most):
                    time.sleep(0.05)
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)
