"""TCP goodput of one directed link: a source that fills, a sink that counts bytes by its own monotonic clock."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import struct
import threading
import time
from dataclasses import dataclass

from slicebed_agent.errors import HostError
from slicebed_agent.host.measure.packet import TOKEN_BYTES
from slicebed_agent.host.measure.sockets import Target, open_bound, resolve

WINDOW_US = 100_000
MAX_SECONDS = 600.0
# Beyond the seconds of the stream: connecting over a slow link, and the queue that drains at the end.
GRACE_S = 15.0
_BLOCK_BYTES = 256 << 10
_LOOK_S = 0.1
_TOKEN_S = 3.0
# struct tcp_info of linux/tcp.h: eight single bytes, the sixth of them the options, then 32-bit numbers.
_TCP_INFO_BYTES = 104
_OPTIONS_AT = 5
_TIMESTAMPS_BIT = 1
_SEND_MSS_AT = 16
_RETRANSMITTED_AT = 100
_NUMBER = struct.Struct("@I")
# Closing with this at once drops what is still unsent, so that nothing of it meets the next measurement.
_DROP_UNSENT = struct.pack("@ii", 1, 0)


@dataclass(frozen=True)
class SinkCounts:
    """What a sink received.

    Attributes:
        windows: bytes of payload per WINDOW_US, from the first byte on; the last, partial one is left out.
        refused: connections that did not bring the token.
    """

    windows: tuple[int, ...]
    refused: int


@dataclass(frozen=True)
class SourceReport:
    """What the sender of a stream saw.

    Attributes:
        mss_bytes: payload of a full segment, TCP options already taken off.
        timestamps: whether each segment carried the 12 bytes of TCP timestamps.
        ip_version: 4 or 6.
        congestion: the congestion control that the stream used.
        retransmitted: segments sent again.
    """

    mss_bytes: int
    timestamps: bool
    ip_version: int
    congestion: str
    retransmitted: int


class Sink:
    """Takes one stream on `address` and counts it in a thread; ends with the stream, by `finish` or by its lifetime.

    Attributes:
        port: the kernel's choice.
        token: what the source must send first.
    """

    def __init__(self, address: str, lifetime_s: float) -> None:
        """Listen from now on; raises HostError when the address is not this host's."""
        self.token = secrets.token_bytes(TOKEN_BYTES)
        self._listener = open_bound(address, socket.SOCK_STREAM)
        self._listener.listen(1)
        self._listener.settimeout(_LOOK_S)
        self.port: int = self._listener.getsockname()[1]
        self._ends_s = time.monotonic() + lifetime_s
        self._stopping = threading.Event()
        self._windows: list[int] = []
        self._refused = 0
        self._thread = threading.Thread(target=self._serve, name=f"sink {address}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def finish(self, wait_s: float) -> SinkCounts:
        """Wait at most `wait_s` for the end of the stream, then end it, and say what came."""
        self._thread.join(wait_s)
        self._stopping.set()
        self._thread.join()
        return SinkCounts(tuple(self._windows[:-1]), self._refused)

    def _serve(self) -> None:
        connection = None
        with self._listener:
            while connection is None and not self._over():
                connection = self._accept()
        if connection is not None:
            with connection:
                self._count(connection)

    def _over(self) -> bool:
        return self._stopping.is_set() or time.monotonic() >= self._ends_s

    def _accept(self) -> socket.socket | None:
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            return None
        connection.settimeout(_TOKEN_S)
        with contextlib.suppress(OSError):
            if hmac.compare_digest(connection.recv(TOKEN_BYTES, socket.MSG_WAITALL), self.token):
                return connection
        connection.close()
        self._refused += 1
        return None

    def _count(self, connection: socket.socket) -> None:
        connection.settimeout(_LOOK_S)
        block = bytearray(_BLOCK_BYTES)
        start_us = None
        while not self._over():
            try:
                size = connection.recv_into(block)
            except TimeoutError:
                continue
            except OSError:
                return  # the source drops what it has not sent, which resets the connection
            if size == 0:
                return
            now_us = time.monotonic_ns() // 1000
            start_us = now_us if start_us is None else start_us
            missing = (now_us - start_us) // WINDOW_US + 1 - len(self._windows)
            self._windows += [0] * missing
            self._windows[-1] += size


def run_source(target: Target, seconds: float, congestion: str = "cubic") -> SourceReport:
    """Fill the link to a sink for some seconds.

    Args:
        target: the sink.
        seconds: how long to send.
        congestion: congestion control of this one connection; the host's default stays as it is.

    Raises:
        HostError: the sink cannot be reached, closed the stream, took nothing for GRACE_S, or the kernel lacks the
            congestion control.
    """
    with open_bound(target.source, socket.SOCK_STREAM) as stream:
        try:
            _use(stream, congestion)
            stream.settimeout(GRACE_S)
            stream.connect(resolve(target.destination, target.port)[1])
            stream.sendall(target.token)
            _fill(stream, time.monotonic() + seconds)
            report = _report(stream, congestion)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
        except OSError as error:
            raise HostError(
                f"the stream broke: {error.strerror or error}",
                where=str(target),
                mend="check that the link is up on both hosts and that no firewall rejects TCP on it",
            ) from error
    return report


def _use(stream: socket.socket, congestion: str) -> None:
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    except OSError as error:
        raise HostError(
            f"no TCP congestion control {congestion}: {error.strerror}",
            where="goodput",
            mend=f"run modprobe tcp_{congestion}",
        ) from error


def _fill(stream: socket.socket, until_s: float) -> None:
    # Random, so that nothing on the way can make it smaller.
    block = memoryview(os.urandom(_BLOCK_BYTES))
    offset = 0
    while (left_s := until_s - time.monotonic()) > 0:
        stream.settimeout(left_s)
        with contextlib.suppress(TimeoutError):
            offset = (offset + stream.send(block[offset:])) % _BLOCK_BYTES


def _report(stream: socket.socket, congestion: str) -> SourceReport:
    info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return SourceReport(
        mss_bytes=_NUMBER.unpack_from(info, _SEND_MSS_AT)[0],
        timestamps=bool(info[_OPTIONS_AT] & _TIMESTAMPS_BIT),
        ip_version=6 if stream.family == socket.AF_INET6 else 4,
        congestion=congestion,
        retransmitted=_NUMBER.unpack_from(info, _RETRANSMITTED_AT)[0],
    )
