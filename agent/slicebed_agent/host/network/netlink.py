"""A route netlink socket: batches of requests, each batch acknowledged once, and whole dumps.

By hand, because 1,000 requests one at a time take a hundred times as long, and because importing pyroute2 alone
takes longer than shaping 1,000 peers.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from slicebed_agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")

# linux/netlink.h
FLAG_CREATE_NEW = 0x400 | 0x200  # NLM_F_CREATE | NLM_F_EXCL
FLAG_CHANGE = 0
_REQUEST, _ACK, _DUMP, _DUMP_INTERRUPTED, _CAPPED, _ACK_TLVS = 0x1, 0x4, 0x300, 0x10, 0x100, 0x200
_DONE, _ERROR_MESSAGE, _FIRST_REAL_TYPE = 3, 2, 16
_ERROR_ATTR_MESSAGE = 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT_CHECK = 270, 10, 11, 12
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER_BYTES = 8 << 20

_BATCH_BYTES = 120_000
_DUMP_ATTEMPTS = 8
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


@dataclass(frozen=True)
class Request:
    """One message: its type, its flags beyond request and acknowledgement, and what follows the header."""

    kind: int
    flags: int
    payload: bytes


@dataclass(frozen=True)
class Reply:
    """One message of a dump."""

    kind: int
    payload: bytes


class RefusedError(Exception):
    """The kernel refused one request of a batch."""

    def __init__(self, index: int, code: int, said: str) -> None:
        """Keep which request of the batch it was, the errno, and the kernel's own sentence where it gave one."""
        super().__init__(said)
        self.index = index
        self.code = code
        self.said = said

    @property
    def reason(self) -> str:
        """The errno's name and text, with the kernel's own sentence: ``ENOENT No such file or directory (...)``."""
        text = f"{errno.errorcode.get(self.code, self.code)} {os.strerror(self.code)}"
        return f"{text} ({self.said})" if self.said else text


def attribute(kind: int, payload: bytes) -> bytes:
    """Pack one attribute, padded to four bytes."""
    length = len(payload) + 4
    return ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length & 3)


def attributes(payload: bytes, offset: int = 0) -> dict[int, bytes]:
    """Unpack the attributes that follow `offset`, by type; the last of a type wins."""
    found: dict[int, bytes] = {}
    end = len(payload)
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(payload, offset)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class NetlinkSocket:
    """A NETLINK_ROUTE socket in the network namespace of the calling thread; use it as a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            # Only the administrator may raise these; everybody else reads with the buffers there are.
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        """Use the socket for a while."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Send requests in order; the kernel has done all of them when this returns.

        Raises:
            RefusedError: the first that the kernel refused. Later ones of the same batch may have been done.
        """
        for first, batch in _batches(requests):
            self._send_batch(first, batch)

    def dump(self, kind: int, payload: bytes) -> list[Reply]:
        """Ask for a whole table.

        Raises:
            OSError: the kernel refused it.
            HostError: the table changed during every one of several attempts.
        """
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            self._socket.send(
                HEADER.pack(HEADER.size + len(payload), kind, _REQUEST | _DUMP, self._sequence, 0) + payload
            )
            found = self._receive_dump()
            if found is not None:
                return found
        raise HostError(
            "the kernel's tables kept changing while they were read", where="netlink", mend="stop what changes them"
        )

    def ask(self, kind: int, payload: bytes) -> Reply:
        """Ask one question that has one answer.

        Raises:
            OSError: the kernel refused it.
        """
        self._sequence += 1
        self._socket.send(HEADER.pack(HEADER.size + len(payload), kind, _REQUEST, self._sequence, 0) + payload)
        while True:
            for found, _, sequence, body in _messages(self._socket.recv(1 << 16)):
                if sequence != self._sequence:
                    continue
                if found == _ERROR_MESSAGE:
                    code = -_ERROR.unpack_from(body)[0]
                    raise OSError(code, os.strerror(code))
                return Reply(found, body)

    def _send_batch(self, first: int, batch: list[Request]) -> None:
        start, last = self._sequence + 1, self._sequence + len(batch)
        data = bytearray()
        for request in batch:
            self._sequence += 1
            # The kernel tells of every refusal unasked, in order: only the end of the batch needs an answer.
            flags = _REQUEST | request.flags | (_ACK if self._sequence == last else 0)
            data += HEADER.pack(HEADER.size + len(request.payload), request.kind, flags, self._sequence, 0)
            data += request.payload
            data += b"\0" * (-len(request.payload) & 3)
        try:
            self._socket.send(data)
        except OSError as error:
            raise RefusedError(first, error.errno or errno.EIO, "the requests could not be sent") from error
        refused: RefusedError | None = None
        answered = start - 1
        while answered < last:
            try:
                received = self._socket.recv(1 << 18)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                raise RefusedError(first, errno.ENOBUFS, "acknowledgements were lost") from error
            for kind, flags, sequence, body in _messages(received):
                if kind != _ERROR_MESSAGE or sequence < start:
                    continue
                answered = sequence
                code = -_ERROR.unpack_from(body)[0]
                if code and refused is None:
                    refused = RefusedError(first + sequence - start, code, _said(flags, body))
        if refused is not None:
            raise refused

    def _receive_dump(self) -> list[Reply] | None:
        found: list[Reply] = []
        interrupted = False
        while True:
            try:
                received = self._socket.recv(1 << 18)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return None
            for kind, flags, sequence, body in _messages(received):
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
                if kind >= _FIRST_REAL_TYPE:
                    found.append(Reply(kind, body))
                elif kind in (_DONE, _ERROR_MESSAGE):
                    code = -_ERROR.unpack_from(body)[0] if len(body) >= 4 else 0
                    if code > 0:
                        raise OSError(code, os.strerror(code))
                    return None if interrupted else found


def _batches(requests: Iterable[Request]) -> Iterator[tuple[int, list[Request]]]:
    batch: list[Request] = []
    size = first = 0
    for index, request in enumerate(requests):
        length = len(request.payload) + HEADER.size
        if batch and size + length > _BATCH_BYTES:
            yield first, batch
            batch, size, first = [], 0, index
        batch.append(request)
        size += length
    if batch:
        yield first, batch


def _messages(received: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset, end = 0, len(received)
    while offset + HEADER.size <= end:
        length, kind, flags, sequence, _ = HEADER.unpack_from(received, offset)
        if length < HEADER.size:
            return
        yield kind, flags, sequence, received[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _said(flags: int, body: bytes) -> str:
    if not flags & _ACK_TLVS:
        return ""
    offset = _ERROR.size + HEADER.size
    if not flags & _CAPPED:
        offset = _ERROR.size + ((HEADER.unpack_from(body, _ERROR.size)[0] + 3) & ~3)
    return attributes(body, offset).get(_ERROR_ATTR_MESSAGE, b"").rstrip(b"\0").decode("utf-8", "replace")
