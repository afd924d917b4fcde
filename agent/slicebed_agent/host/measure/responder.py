"""Answers the probes of one session on one link address, and counts what came."""

from __future__ import annotations

import contextlib
import secrets
import select
import threading
import time
from dataclasses import dataclass

from slicebed_agent.host.measure import packet
from slicebed_agent.host.measure.packet import Arrivals, Packet
from slicebed_agent.host.measure.sockets import Received, open_stamped, receive

_LOOK_S = 0.1
# After a stop: what still waits in the socket is counted, but a flood does not keep the thread alive.
_DRAIN_S = 2.0


@dataclass(frozen=True)
class ResponderCounts:
    """The forward direction of a session, as its responder saw it.

    Attributes:
        received: different probes that came.
        duplicates: further copies of them.
        overtakings: probes that came before one sent earlier.
        answered: answers sent, one for every copy.
        refused: packets that were not this session's; they got no answer.
        overflowed: packets that the socket's full buffer lost, which the link delivered.
    """

    received: int
    duplicates: int
    overtakings: int
    answered: int
    refused: int
    overflowed: int


class Responder:
    """A UDP echo in a thread, bound to `address` only; ends by `stop` or after `lifetime_s`.

    Attributes:
        port: the kernel's choice.
        token: what a probe must carry to be answered.
    """

    def __init__(self, address: str, lifetime_s: float) -> None:
        """Open the socket and answer from now on; raises HostError when the address is not this host's."""
        self.token = secrets.token_bytes(packet.TOKEN_BYTES)
        self._socket = open_stamped(address)
        self.port: int = self._socket.getsockname()[1]
        self._ends_s = time.monotonic() + lifetime_s
        self._stopping = threading.Event()
        self._arrivals = Arrivals()
        self._answered = self._refused = self._overflowed = 0
        self._thread = threading.Thread(target=self._serve, name=f"responder {address}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def stop(self) -> ResponderCounts:
        """Count what still waits, end, and say what came."""
        self._stopping.set()
        self._thread.join()
        return ResponderCounts(
            received=self._arrivals.distinct,
            duplicates=self._arrivals.duplicates,
            overtakings=self._arrivals.overtakings(),
            answered=self._answered,
            refused=self._refused,
            overflowed=self._overflowed,
        )

    def _serve(self) -> None:
        drained_s = None
        with self._socket:
            while (now_s := time.monotonic()) < self._ends_s and (drained_s is None or now_s < drained_s):
                if self._stopping.is_set() and drained_s is None:
                    drained_s = now_s + _DRAIN_S
                waiting, _, _ = select.select([self._socket], [], [], 0 if drained_s else _LOOK_S)
                if waiting:
                    self._take_all()
                elif drained_s:
                    return

    def _take_all(self) -> None:
        # An ICMP error of an earlier answer says nothing about the next one.
        with contextlib.suppress(ConnectionError):
            while (received := receive(self._socket, packet.PACKET_BYTES)) is not None:
                self._overflowed = received.overflowed
                self._answer(received)

    def _answer(self, received: Received) -> None:
        probe = packet.unpack(self.token, received.data)
        if probe is None or probe.answer != 0:
            self._refused += 1
            return
        self._arrivals.add(probe.sequence)
        # Written last: everything before it counts as turnaround, which the prober takes off.
        kept_ns = time.time_ns() - received.stamp_ns
        answer = Packet(probe.sequence, self._answered + 1, received.stamp_ns, kept_ns)
        # A full send buffer loses this answer: it must not be counted against the link.
        with contextlib.suppress(BlockingIOError):
            self._socket.sendto(packet.pack(self.token, answer), received.sender)
            self._answered += 1
