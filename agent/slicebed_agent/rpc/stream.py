"""What the pipeline knows of its transport: a stream of messages each way, and how it breaks. No Arrow here."""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol

from slicebed_agent.errors import AgentError

INLINE_BYTES = 64 * 1024
"""A payload of up to this many bytes travels in the message; a longer one beside it, without being copied: ADR 12."""

UNREAD_BYTES = 32 * 1024
"""So much may be written without waiting: half of the window that HTTP/2 opens every stream with (RFC 9113, 6.9.2)."""


class Fault(enum.StrEnum):
    """Why a stream ended before its time."""

    FOREIGN = "unauthenticated"
    """The other side is not the neighbour that the run names."""
    MALFORMED = "invalid argument"
    """It sent what no agent sends."""
    NOT_READY = "failed precondition"
    """The agent is there, but has no such run, or has a stream for it already."""
    UNREACHABLE = "unavailable"
    """Nobody answers at the address, or the connection broke."""
    HUNG_UP = "hung up"
    """It took the connection and closed it: it stops, or does not know this host's certificate, or one has no TLS."""
    CANCELLED = "cancelled"
    """This side ended it."""


class StreamError(AgentError):
    """A stream broke, or was refused."""

    def __init__(self, fault: Fault, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        """As of every error, and the kind of break, by which a link decides whether to try again."""
        super().__init__(what, where=where, mend=mend)
        self.fault = fault


class Message(NamedTuple):
    """A message as it came: protobuf bytes, and the long payload beside them, if there is one."""

    metadata: bytes
    body: memoryview | None


class Stream(Protocol):
    """One side of an open stream. One thread may write while another one reads."""

    @property
    def kept(self) -> bool:
        """True where it is on a connection that a stream before it has left behind."""

    def write(self, metadata: bytes, body: memoryview | None = None) -> None:
        """Send a message; waits while the other side takes none. The body's bytes must stay as they are.

        Raises:
            StreamError: the stream broke.
        """

    def read(self) -> Message | None:
        """Wait for a message; None when the other side has finished.

        Raises:
            StreamError: the stream broke; MALFORMED when what came is no message.
        """

    def finish(self) -> None:
        """Say that nothing more will be written."""

    def cancel(self) -> None:
        """End the stream at once; whoever reads or writes is woken. From any thread, any number of times."""


class Call(Stream, Protocol):
    """The serving side of a stream."""

    @property
    def hello(self) -> bytes:
        """What the other side opened the stream with."""

    @property
    def identity(self) -> str | None:
        """The name in its certificate; None on a plaintext server."""

    @property
    def peer(self) -> str:
        """Its address, for the log."""

    def silent_s(self) -> float:
        """Seconds since bytes came from the other side's host."""

    def arrived_bytes(self) -> int:
        """Bytes that came from there so far, with those of a message that is not whole yet."""
