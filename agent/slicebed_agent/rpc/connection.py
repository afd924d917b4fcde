"""The TCP connection below a served stream: Flight's server cannot end a stream, limit or time what comes on it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Final
from urllib.parse import unquote

# struct tcp_info, linux/tcp.h: eight bytes of small fields, then 24 u32s, of which tcpi_last_data_recv is the twelfth,
# then u64s, of which tcpi_bytes_received is the fourth.
_LAST_DATA_RECEIVED_AT: Final = 8 + 11 * 4
_BYTES_RECEIVED_AT: Final = 8 + 24 * 4 + 3 * 8
_TCP_INFO_BYTES: Final = _BYTES_RECEIVED_AT + 8


class Connection:
    """A second handle on the connection of one peer; whoever made the first one keeps it."""

    def __init__(self, own: socket.socket | None) -> None:
        """Take over `own`; None: the connection is gone already."""
        self._socket = own
        self._lock = threading.Lock()

    @classmethod
    def of_peer(cls, peer: str) -> Connection:
        """Find the connection of this process whose far end gRPC calls `peer`: "ipv4:10.0.0.1:4711"."""
        wanted = _address(peer)
        for entry in Path("/proc/self/fd").iterdir():
            own = _duplicate(entry)
            if own is None:
                continue
            with contextlib.suppress(OSError, ValueError):
                found = own.getpeername()
                if own.family in {socket.AF_INET, socket.AF_INET6} and (_plain(found[0]), found[1]) == wanted:
                    return cls(own)
            own.close()
        return cls(None)

    def cut(self) -> None:
        """End the connection; every stream on it breaks at once."""
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def silent_s(self) -> float:
        """Seconds since data came in, as the kernel counts: also while a long message is still on its way."""
        return self._told("=I", _LAST_DATA_RECEIVED_AT) / 1000

    def arrived_bytes(self) -> int:
        """Bytes that came in since the connection was made, as the kernel counts: also of a message not yet whole."""
        return self._told("=Q", _BYTES_RECEIVED_AT)

    def _told(self, form: str, place: int) -> int:
        with self._lock:
            if self._socket is None:
                return 0
            told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from(form, told, place)[0])

    def close(self) -> None:
        """Let go of the handle; the connection stays."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


def _duplicate(entry: Path) -> socket.socket | None:
    try:
        if not str(entry.readlink()).startswith("socket:"):
            return None
        copy = os.dup(int(entry.name))
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def _address(peer: str) -> tuple[str, int]:
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return _plain(host.strip("[]")), int(port)


def _plain(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
