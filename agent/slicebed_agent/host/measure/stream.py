"""TCP goodput of one directed link: a source that fills, a sink that counts bytes by its own monotonic clock.

Over a link with jitter one connection is slow for reasons of its own: HyStart takes a late packet for a full queue, BBR
the earliest packet for the round trip. Several connections at once fill the link all the same.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.measure.packet import TOKEN_BYTES
from slicebed_agent.host.measure.sockets import Target, open_bound, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_US = 100_000
MAX_SECONDS = 600.0
MAX_STREAMS = 64
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
_NAME_BYTES = 16
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
        streams: connections at once.
        congestion: the congestion control that they used.
        retransmitted: segments sent again, of all of them.
    """

    mss_bytes: int
    timestamps: bool
    ip_version: int
    streams: int
    congestion: str
    retransmitted: int


class Sink:
    """Takes the connections of one source on `address` and counts all they carry, in a thread.

    It ends with the last of them, by `finish` or by its lifetime.

    Attributes:
        port: the kernel's choice.
        token: what each connection must send first.
    """

    def __init__(self, address: str, lifetime_s: float) -> None:
        """Listen from now on; raises HostError when the address is not this host's."""
        self.token = secrets.token_bytes(TOKEN_BYTES)
        self._listener = open_bound(address, socket.SOCK_STREAM)
        self._listener.listen(MAX_STREAMS)
        self._listener.settimeout(_LOOK_S)
        self.port: int = self._listener.getsockname()[1]
        self._ends_s = time.monotonic() + lifetime_s
        self._stopping = threading.Event()
        self._block = bytearray(_BLOCK_BYTES)
        self._windows: list[int] = []
        self._start_us = 0
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
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._listener)
            connections: list[socket.socket] = []
            while not self._stopping.is_set() and time.monotonic() < self._ends_s:
                ready, _, _ = select.select([self._listener, *connections], [], [], _LOOK_S)
                for one in ready:
                    if one is self._listener:
                        connections += [stack.enter_context(new) for new in self._accept()]
                    elif not self._count(one):
                        connections.remove(one)
                        if not connections:
                            return

    def _accept(self) -> list[socket.socket]:
        """Give the connection that waits, or none when it does not bring the token."""
        connection, _ = self._listener.accept()
        connection.settimeout(_TOKEN_S)
        with contextlib.suppress(OSError):
            if hmac.compare_digest(connection.recv(TOKEN_BYTES, socket.MSG_WAITALL), self.token):
                return [connection]
        connection.close()
        self._refused += 1
        return []

    def _count(self, connection: socket.socket) -> bool:
        """Count what waits; False at the connection's end, which is a reset: the source drops what it has not sent."""
        try:
            size = connection.recv_into(self._block)
        except OSError:
            return False
        if size:
            now_us = time.monotonic_ns() // 1000
            self._start_us = self._start_us or now_us
            missing = (now_us - self._start_us) // WINDOW_US + 1 - len(self._windows)
            self._windows += [0] * missing
            self._windows[-1] += size
        return size > 0


def run_source(
    target: Target, seconds: float, streams: int = 1, congestion: Sequence[str] = ("bbr", "cubic")
) -> SourceReport:
    """Fill the link to a sink for some seconds.

    Args:
        target: the sink.
        seconds: how long to send, once all connections are up.
        streams: connections at once.
        congestion: the first of these congestion controls that the kernel has is used, for these connections only;
            the report names it.

    Raises:
        HostError: the sink cannot be reached or closed a connection, or the kernel has none of `congestion`.
    """
    with contextlib.ExitStack() as stack:
        try:
            opened = [stack.enter_context(_open(target, congestion)) for _ in range(streams)]
            _fill(opened, time.monotonic() + seconds)
            report = _report(opened)
            for stream in opened:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
        except OSError as error:
            raise HostError(
                f"the stream broke: {error.strerror or error}",
                where=str(target),
                mend="check that the link is up on both hosts and that no firewall rejects TCP on it",
            ) from error
    return report


def _open(target: Target, congestion: Sequence[str]) -> socket.socket:
    stream = open_bound(target.source, socket.SOCK_STREAM)
    try:
        _use(stream, congestion)
        stream.settimeout(GRACE_S)
        stream.connect(resolve(target.destination, target.port)[1])
        stream.sendall(target.token)
        stream.settimeout(0)
    except BaseException:
        stream.close()
        raise
    return stream


def _use(stream: socket.socket, congestion: Sequence[str]) -> None:
    for name in congestion:
        # ENOENT: the kernel has neither it nor a module of it.
        with contextlib.suppress(FileNotFoundError):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            return
    names = " or ".join(congestion)
    raise HostError(f"no TCP congestion control {names}", where="goodput", mend=f"run modprobe tcp_{congestion[0]}")


def _fill(streams: list[socket.socket], until_s: float) -> None:
    # Random, so that nothing on the way can make it smaller.
    block = os.urandom(_BLOCK_BYTES)
    while (left_s := until_s - time.monotonic()) > 0:
        _, ready, _ = select.select([], streams, [], left_s)
        for stream in ready:
            with contextlib.suppress(BlockingIOError):
                stream.send(block)


def _report(streams: list[socket.socket]) -> SourceReport:
    used = streams[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
    infos = [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES) for each in streams]
    return SourceReport(
        mss_bytes=_NUMBER.unpack_from(infos[0], _SEND_MSS_AT)[0],
        timestamps=bool(infos[0][_OPTIONS_AT] & _TIMESTAMPS_BIT),
        ip_version=6 if streams[0].family == socket.AF_INET6 else 4,
        streams=len(streams),
        congestion=used.split(b"\0")[0].decode("ascii", "replace"),
        retransmitted=sum(_NUMBER.unpack_from(info, _RETRANSMITTED_AT)[0] for info in infos),
    )
