"""Sends probes over a link and keeps every round trip.

The default is one packet in flight: a link that keeps packet order under jitter (netem with a rate, the lab's own)
would hold the next packet behind a late one, and a train would then measure another distribution than the one that was
asked for.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.measure import packet
from slicebed_agent.host.measure.packet import Arrivals, Packet
from slicebed_agent.host.measure.sockets import (
    Received,
    Target,
    open_stamped,
    receive,
    resolve,
    sent_stamp_ns,
    stamp_sends,
    wall_ahead_ns,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


# Two readings of both clocks may differ by this, which a round trip on one machine is shorter than.
_CLOCKS_APART_NS = 50_000


class Pace(Enum):
    """When the next probe leaves."""

    ONE_IN_FLIGHT = "one_in_flight"
    TRAIN = "train"


@dataclass(frozen=True)
class ProbePlan:
    """How a link is probed.

    Attributes:
        count: probes to send.
        interval_us: shortest time between two probes.
        timeout_us: how long an answer is waited for.
        pace: ONE_IN_FLIGHT for round trips and jitter, TRAIN for loss, duplicates and order.
        give_up_after: end after this many unanswered probes in a row when nothing at all was answered; 0 never does.
    """

    count: int
    interval_us: int = 2_000
    timeout_us: int = 2_000_000
    pace: Pace = Pace.ONE_IN_FLIGHT
    give_up_after: int = 20


@dataclass(frozen=True)
class Sample:
    """One round trip, turnaround taken off.

    Attributes:
        sent_us: when its probe left, since the first one.
        rtt_us: the round trip.
        forward_us: its forward part plus the unknown, nearly constant difference of the two hosts' clocks.
    """

    sent_us: float
    rtt_us: float
    forward_us: float


@dataclass(frozen=True)
class ProbeResult:
    """What the prober saw; with the responder's counts it tells both directions apart.

    Attributes:
        sent: probes sent.
        answers: different answers that came.
        duplicates: further copies of them, made on the way back.
        overtakings: answers that came before one sent earlier.
        overflowed: answers that this host's own full buffer lost.
        samples: one for every probe that was answered.
    """

    sent: int
    answers: int
    duplicates: int
    overtakings: int
    overflowed: int
    samples: tuple[Sample, ...]


def probe(target: Target, plan: ProbePlan) -> ProbeResult:
    """Probe a responder.

    Both ends of a round trip are the kernel's stamps, the first before the queueing discipline, so that a busy host's
    late sending and reading are not measured. The time between is taken from the monotonic clock: setting the wall
    clock meanwhile does no harm. A probe that had to wait for the neighbour's link-layer address gives no sample.

    Raises:
        HostError: the address is not this host's, no route leads to the destination, or nobody listens there.
    """
    with open_stamped(target.source) as opened:
        try:
            family, where = resolve(target.destination, target.port)
            if family != opened.family:
                raise HostError("not of one IP version", where=str(target), mend="give both addresses of one link")
            # Connected, the kernel lets nobody else's packets in and reports a closed port at once.
            opened.connect(where)
            stamp_sends(opened)
            return _Session(opened, target.token, plan).run()
        except OSError as error:
            raise HostError(
                f"probes cannot be sent: {error.strerror or error}",
                where=str(target),
                mend="check that the link is up on both hosts and that no firewall rejects UDP on it",
            ) from error


@dataclass(frozen=True)
class _Sent:
    """When a probe was handed over, and when it reached the device's queue, if it did at once."""

    handed_ns: int
    monotonic_ns: int | None
    wall_ns: int


@dataclass
class _Session:
    opened: socket.socket
    token: bytes
    plan: ProbePlan
    answers: Arrivals = field(default_factory=Arrivals)
    answered: set[int] = field(default_factory=set)
    sent: list[_Sent] = field(default_factory=list)
    samples: dict[int, Sample] = field(default_factory=dict)
    overflowed: int = 0

    def run(self) -> ProbeResult:
        for sequence in range(self.plan.count):
            self._send(sequence)
            handed_ns = self.sent[-1].handed_ns
            if self.plan.pace is Pace.ONE_IN_FLIGHT:
                self._collect(handed_ns + self.plan.timeout_us * 1000, partial(self.answered.__contains__, sequence))
            if self._hopeless():
                break
            self._collect(handed_ns + self.plan.interval_us * 1000)
        if len(self.answered) < len(self.sent) or self.plan.pace is Pace.TRAIN:
            self._collect(time.monotonic_ns() + self.plan.timeout_us * 1000)
        return ProbeResult(
            sent=len(self.sent),
            answers=self.answers.distinct,
            duplicates=self.answers.duplicates,
            overtakings=self.answers.overtakings(),
            overflowed=self.overflowed,
            samples=tuple(self.samples[sequence] for sequence in sorted(self.samples)),
        )

    def _hopeless(self) -> bool:
        """Whether so many probes in a row, the first ones, were not answered that more would change nothing."""
        enough = self.plan.give_up_after
        if not enough or self.answered or len(self.sent) < enough:
            return False
        self._collect(self.sent[-enough].handed_ns + self.plan.timeout_us * 1000, lambda: bool(self.answered))
        return not self.answered

    def _send(self, sequence: int) -> None:
        data = packet.pack(self.token, Packet(sequence))
        while True:
            ahead_ns, handed_ns = wall_ahead_ns(), time.monotonic_ns()
            try:
                self.opened.send(data)
            except BlockingIOError:
                # The packets that the link delays fill the send buffer: wait for room, and stamp again.
                select.select([], [self.opened], [], self.plan.timeout_us / 1e6)
                continue
            stamp_ns = sent_stamp_ns(self.opened)
            queued_ns = None if stamp_ns is None else stamp_ns - ahead_ns
            self.sent.append(_Sent(handed_ns, queued_ns, ahead_ns + handed_ns if stamp_ns is None else stamp_ns))
            return

    def _collect(self, until_ns: int, enough: Callable[[], bool] = lambda: False) -> None:
        """Take in answers until a time on the monotonic clock, or until there are `enough`."""
        while not enough():
            left_ns = until_ns - time.monotonic_ns()
            if left_ns <= 0:
                return
            # select waits in microseconds; a socket's own timeout would be rounded up to milliseconds.
            if select.select([self.opened], [], [], left_ns / 1e9)[0]:
                received = receive(self.opened, packet.PACKET_BYTES)
                if received is None:
                    sent_stamp_ns(self.opened)  # a late stamp wakes select as well
                else:
                    self._take(received)

    def _take(self, received: Received) -> None:
        self.overflowed = received.overflowed
        answer = packet.unpack(self.token, received.data)
        if answer is None or answer.answer == 0 or answer.sequence >= len(self.sent):
            return
        if not self.answers.add(answer.answer) or answer.sequence in self.answered:
            return
        self.answered.add(answer.sequence)
        sent = self.sent[answer.sequence]
        if sent.monotonic_ns is None:
            return
        rtt_ns = received.monotonic_ns - sent.monotonic_ns - answer.turnaround_ns
        if rtt_ns < -_CLOCKS_APART_NS:
            return  # the responder's clock was set between its two stamps
        self.samples[answer.sequence] = Sample(
            sent_us=(sent.handed_ns - self.sent[0].handed_ns) / 1000,
            rtt_us=max(rtt_ns, 0) / 1000,
            forward_us=(answer.received_ns - sent.wall_ns) / 1000,
        )
