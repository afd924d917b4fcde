"""Sockets bound to one address of a link, with the kernel's own stamps of packets sent and received."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass

from slicebed_agent.errors import HostError

# asm-generic/socket.h; the standard library does not name them.
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_SO_TIMESTAMPING = 37
_SO_RXQ_OVFL = 40
# linux/net_tstamp.h: TX_SCHED (before the queueing discipline, so that what it delays is measured), SOFTWARE, and
# OPT_TSONLY (the stamp without the packet).
_STAMP_SENT = 1 << 8 | 1 << 4 | 1 << 11
_TIMESPEC = struct.Struct("@ll")
_COUNTER = struct.Struct("@I")
_ANCILLARY_BYTES = 256
# Room for every packet that a wire with much delay holds, and for the time in which a busy host does not read.
_BUFFER_BYTES = 4 << 20


_NEVER_NS = 1 << 62
_UNINTERRUPTED_NS = 5_000
_CLOCK_READS = 5
SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True)
class Target:
    """The way to an open responder or sink.

    Attributes:
        source: local address to send from.
        destination: the address it is bound to.
        port: its port.
        token: what it wants to see.
    """

    source: str
    destination: str
    port: int
    token: bytes

    def __str__(self) -> str:
        """As messages name it; the token stays secret."""
        return f"{self.source} -> {self.destination} port {self.port}"


@dataclass(frozen=True)
class Received:
    """One datagram.

    Attributes:
        data: its bytes, cut at the size asked for plus one, so that too long a packet is seen to be one.
        sender: the socket address it came from.
        stamp_ns: when the kernel took it in, on this machine's wall clock.
        monotonic_ns: the same moment on the monotonic clock.
        overflowed: packets that this socket's full buffer has lost so far: the host's fault, not the link's.
    """

    data: bytes
    sender: SocketAddress
    stamp_ns: int
    monotonic_ns: int
    overflowed: int


def open_bound(address: str, kind: socket.SocketKind, port: int = 0) -> socket.socket:
    """Give a socket of `kind` bound to exactly this local address; port 0 lets the kernel choose.

    Raises:
        HostError: the address is not an IP address, or not this host's.
    """
    family, where = resolve(address, port)
    opened = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(where)
    except OSError as error:
        opened.close()
        raise HostError(
            f"cannot be bound: {error.strerror}", where=address, mend="is this the host's own address on the link?"
        ) from error
    return opened


def open_stamped(address: str) -> socket.socket:
    """Give a non-blocking UDP socket on this local address whose datagrams carry the kernel's stamps."""
    opened = open_bound(address, socket.SOCK_DGRAM)
    opened.settimeout(0)
    opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        opened.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_BYTES)
        # Beyond the system's limit only with CAP_NET_ADMIN; an overflow is counted in any case.
        with contextlib.suppress(PermissionError):
            opened.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
    return opened


def resolve(address: str, port: int) -> tuple[socket.AddressFamily, SocketAddress]:
    """Give family and socket address of a numeric address; no name is ever looked up."""
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
    except (OSError, UnicodeError) as error:
        raise HostError("is not an IP address", where=address[:60], mend="write the address of the link") from error
    host, *rest = found[4]
    if found[0] == socket.AF_INET6:
        return found[0], (str(host), port, int(rest[1]), int(rest[2]))
    return found[0], (str(host), port)


def stamp_sends(stamped: socket.socket) -> None:
    """Have the kernel stamp what is sent from now on; `sent_stamp_ns` fetches the stamps."""
    stamped.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _STAMP_SENT)


def sent_stamp_ns(stamped: socket.socket) -> int | None:
    """Empty the queue of send stamps and give the latest, on the wall clock.

    None right after a send means that the packet has not reached the device's queue: it waits for the neighbour's
    link-layer address.
    """
    latest = None
    while True:
        try:
            _, ancillary, _, _ = stamped.recvmsg(0, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            return latest
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING and len(payload) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(payload)
                latest = seconds * 1_000_000_000 + nanoseconds


def wall_ahead_ns() -> int:
    """Say how far the wall clock, which the kernel stamps with, is ahead of the monotonic one now.

    Read again when the program was interrupted between the clocks, as on a busy machine it is.
    """
    closest_ns, ahead_ns = _NEVER_NS, 0
    for _ in range(_CLOCK_READS):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after_ns - before_ns < closest_ns:
            closest_ns, ahead_ns = after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2
        if closest_ns < _UNINTERRUPTED_NS:
            break
    return ahead_ns


def receive(stamped: socket.socket, size: int) -> Received | None:
    """Take one datagram of at most `size` bytes that is expected; None when none waits.

    Raises:
        OSError: what an earlier packet met, such as a port where nobody listens.
        HostError: the kernel gave no stamp.
    """
    try:
        data, ancillary, _, sender = stamped.recvmsg(size + 1, _ANCILLARY_BYTES)
    except BlockingIOError:
        return None
    ahead_ns = wall_ahead_ns()
    stamp_ns, overflowed = None, 0
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(payload) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(payload)
            stamp_ns = seconds * 1_000_000_000 + nanoseconds
        elif level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL and len(payload) >= _COUNTER.size:
            (overflowed,) = _COUNTER.unpack_from(payload)
    if stamp_ns is None:
        raise HostError(
            "the kernel gives no receive stamps", where="SO_TIMESTAMPNS", mend="measure on a 64-bit Linux kernel"
        )
    return Received(data, sender, stamp_ns, stamp_ns - ahead_ns, overflowed)
