"""Which links are measured how, and which of them at one time. Pure: it reads nothing and sends nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from slicebed.testbed.verify.expect import PROBE_FRAME_BYTES, round_trip_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed.testbed.verify.expect import Delay
    from slicebed_agent.host.wish import LinkCondition

Item = TypeVar("Item")
RTT_TOLERANCE_SHARE = 0.02
RTT_TOLERANCE_US = 300.0
JITTER_TOLERANCE_SHARE = 0.15
LOSS_TOLERANCE_SHARE = 0.10
LOSS_TOLERANCE = 0.001
BASE_SAMPLES = 100
STANDARD_ERRORS = 3
_SAMPLES_WITHOUT_JITTER = 200
# The standard error of a standard deviation is s / sqrt(2 n): 2.5 % here, a sixth of its tolerance.
_SAMPLES_WITH_JITTER = 800
_MOST_SAMPLES = 2_500
_SHORTEST_INTERVAL_US = 2_000
_SHORTEST_TRAIN_INTERVAL_US = 1_000
_TRAIN = 2_000
_LONGEST_TRAIN = 30_000
_LONGEST_TRAIN_US = 30_000_000
# Of the link's rate, so that the train does not queue behind itself.
_TRAIN_RATE_SHARE = 0.1
# An answer later than this still counts; it only means that the next probe did not wait for it.
_SHORTEST_WAIT_US = 200_000
_SHORTEST_LINGER_US = 1_000_000
_LONGEST_ROUND_TRIPS_US = 300_000_000
FEWEST_SAMPLES = 30
_MOST_PROBES = 5_000
_FEWEST_TO_GIVE_UP = 10
_GIVE_UP_CHANCE = 1e-9
_SETTLE_S = 1.5
_SETTLE_ROUND_TRIPS = 30
# With the time to settle less than ten seconds: then BBR stops for a moment to see the round trip of an empty queue.
_COUNTED_S = 8.0
_LONGEST_COUNTED_S = 60.0
# Fewer would make one frame more or less visible in the result.
_COUNTED_FRAMES = 400
_FRAME_BITS = 1514 * 8
# Segments that a new connection sends at once (RFC 6928).
_INITIAL_WINDOW = 10
_FEWEST_STREAMS = 4
_MOST_STREAMS = 32


@dataclass(frozen=True)
class ProbeWish:
    """Probes of one kind over one link; see ProbePlan on the host."""

    count: int
    interval_us: int
    timeout_us: int
    pace: str
    give_up_after: int

    @property
    def longest_s(self) -> float:
        """How long the host may need at most, every probe unanswered."""
        each_us = self.interval_us + (self.timeout_us if self.pace == "one_in_flight" else 0)
        return (self.count * each_us + 2 * self.timeout_us) / 1e6


@dataclass(frozen=True)
class LinkPlan:
    """How one link is probed.

    Attributes:
        link: the link.
        round_trips: None when no packet is to come back.
        train: for loss, duplicates and order; None measures none of them.
    """

    link: LinkAsk
    round_trips: ProbeWish | None
    train: ProbeWish | None


@dataclass(frozen=True)
class StreamPlan:
    """One directed link whose rate is measured.

    Attributes:
        link: the link.
        backward: True when the stream goes from `link.b` to `link.a`.
        streams: connections at once, so many that each needs a small window only.
        settle_s: how long TCP may take to fill the link; not counted.
        counted_s: how long is counted then.
    """

    link: LinkAsk
    backward: bool
    streams: int
    settle_s: float
    counted_s: float

    @property
    def name(self) -> str:
        """The directed link's name."""
        return self.link.reverse_name if self.backward else self.link.name

    @property
    def condition(self) -> LinkCondition:
        """What its packets meet."""
        return self.link.backward if self.backward else self.link.forward


@dataclass(frozen=True)
class VerifyPlan:
    """Everything to measure. Rounds follow one another; what stands in one round is measured at one time.

    Attributes:
        probes: no two links of a round share an interface.
        streams: no two streams of a round share a host, whose processor, memory bus or uplink cap they would share.
    """

    probes: tuple[tuple[LinkPlan, ...], ...]
    streams: tuple[tuple[StreamPlan, ...], ...]


def plan_verification(links: Sequence[LinkAsk], *, goodput: bool = True) -> VerifyPlan:
    """Plan the measurement of every link, and of both directions of those whose rate is asked."""
    streams = [
        StreamPlan(
            link,
            backward,
            _streams(link, condition.rate_bit_per_s),
            _settle_s(link),
            _counted_s(condition.rate_bit_per_s),
        )
        for link in links
        for backward, condition in ((False, link.forward), (True, link.backward))
        if goodput and not link.is_severed and condition.rate_bit_per_s
    ]
    return VerifyPlan(
        probes=_rounds([_link_plan(link) for link in links], _share_an_interface),
        streams=_rounds(streams, _share_a_host),
    )


def plan_base(links: Sequence[LinkAsk]) -> tuple[tuple[LinkPlan, ...], ...]:
    """Plan the round trip of links before they are shaped: few samples suffice, for nothing varies on purpose."""
    wish = ProbeWish(BASE_SAMPLES, _SHORTEST_INTERVAL_US, _SHORTEST_LINGER_US, "one_in_flight", give_up_after=5)
    return _rounds([LinkPlan(link, wish, None) for link in links], _share_an_interface)


def rtt_tolerance_us(asked_us: float) -> float:
    """2 % of the round trip asked for, or 0.3 ms when that is more."""
    return max(RTT_TOLERANCE_SHARE * asked_us, RTT_TOLERANCE_US)


def round_trip_samples(rtt_us: int | None, expected: Delay, *, jitter: bool) -> int:
    """Samples that make the tolerance three standard errors of what is judged, within bounds.

    Args:
        rtt_us: the round trip asked for.
        expected: the delay that the conditions make; with reordering it varies more than the jitter asked for.
        jitter: whether the jitter is judged as well.
    """
    most = max(min(_MOST_SAMPLES, _LONGEST_ROUND_TRIPS_US // max(rtt_us or 0, 1)), FEWEST_SAMPLES)
    needed = (STANDARD_ERRORS * expected.deviation_us / rtt_tolerance_us(rtt_us or 0)) ** 2
    if jitter:
        of_jitter = (expected.kurtosis - 1) * (STANDARD_ERRORS / (2 * JITTER_TOLERANCE_SHARE)) ** 2
        needed = max(needed, of_jitter, _SAMPLES_WITH_JITTER)
    return min(max(math.ceil(needed), _SAMPLES_WITHOUT_JITTER), most)


def train_interval_us(link: LinkAsk) -> int:
    """Time between two packets of a train: a tenth of the link's rate at most.

    Where ``reorder`` is asked: far enough apart that jitter alone seldom reorders, near enough that a packet leaving at
    once overtakes one that is held.
    """
    shortest = float(_SHORTEST_TRAIN_INTERVAL_US)
    for _, condition in link.directions():
        if condition.rate_bit_per_s is not None:
            shortest = max(shortest, PROBE_FRAME_BYTES * 8e6 / (_TRAIN_RATE_SHARE * condition.rate_bit_per_s))
        if condition.reorder:
            apart = min(6 * condition.jitter_us, max(condition.delay_us - 4 * condition.jitter_us, 0))
            shortest = max(shortest, apart)
    return math.ceil(shortest)


def loss_tolerance(asked: float) -> float:
    """A tenth of the share asked for, or 0.1 percentage points when that is more."""
    return max(LOSS_TOLERANCE_SHARE * asked, LOSS_TOLERANCE)


def train_packets(link: LinkAsk) -> int:
    """Packets that make the tolerance of every share asked for three standard errors, within bounds."""
    needed = float(_TRAIN)
    for _, condition in link.directions():
        for asked in (condition.loss, condition.duplicate, condition.reorder):
            needed = max(needed, STANDARD_ERRORS**2 * asked * (1 - asked) / loss_tolerance(asked) ** 2)
    most = min(_LONGEST_TRAIN, max(_LONGEST_TRAIN_US // train_interval_us(link), 1))
    return min(math.ceil(needed), most)


def _link_plan(link: LinkAsk) -> LinkPlan:
    longest_us = 2 * sum(condition.delay_us + 8 * condition.jitter_us for _, condition in link.directions())
    if link.is_severed:
        return LinkPlan(link, None, _train(link, longest_us))
    samples = round_trip_samples(link.rtt_us, round_trip_delay(link), jitter=link.rtt_jitter_us > 0)
    round_trips = ProbeWish(
        count=min(math.ceil(samples / (1 - _lost(link))), max(samples, _MOST_PROBES)),
        interval_us=_SHORTEST_INTERVAL_US,
        timeout_us=max(_SHORTEST_WAIT_US, longest_us),
        pace="one_in_flight",
        give_up_after=_give_up_after(link),
    )
    return LinkPlan(link, round_trips, _train(link, longest_us))


def _train(link: LinkAsk, longest_us: int) -> ProbeWish:
    linger_us = max(_SHORTEST_LINGER_US, longest_us)
    return ProbeWish(train_packets(link), train_interval_us(link), linger_us, "train", give_up_after=0)


def _lost(link: LinkAsk) -> float:
    """Share of probes asked to be lost on the way there or back."""
    return 1 - (1 - link.forward.loss) * (1 - link.backward.loss)


def _give_up_after(link: LinkAsk) -> int:
    """So many unanswered in a row that the loss asked for makes them once in a thousand million times."""
    lost = _lost(link)
    return max(_FEWEST_TO_GIVE_UP, math.ceil(math.log(_GIVE_UP_CHANCE) / math.log(lost)) if lost else 0)


def _streams(link: LinkAsk, rate_bit_per_s: int) -> int:
    """Connections whose first windows together hold what the link holds."""
    round_trip_us = link.forward.delay_us + link.backward.delay_us
    held = rate_bit_per_s * round_trip_us / 1e6 / _FRAME_BITS
    return min(max(math.ceil(held / _INITIAL_WINDOW), _FEWEST_STREAMS), _MOST_STREAMS)


def _counted_s(rate_bit_per_s: int) -> float:
    return min(max(_COUNTED_S, _COUNTED_FRAMES * _FRAME_BITS / rate_bit_per_s), _LONGEST_COUNTED_S)


def _settle_s(link: LinkAsk) -> float:
    return max(_SETTLE_S, _SETTLE_ROUND_TRIPS * (link.forward.delay_us + link.backward.delay_us) / 1e6)


def _share_an_interface(one: LinkPlan, other: LinkPlan) -> bool:
    ends, others = (
        ((plan.link.a, plan.link.interface_a), (plan.link.b, plan.link.interface_b)) for plan in (one, other)
    )
    return any(
        host == its_host and (interface == its_interface or interface is None or its_interface is None)
        for host, interface in ends
        for its_host, its_interface in others
    )


def _share_a_host(one: StreamPlan, other: StreamPlan) -> bool:
    return not {one.link.a, one.link.b}.isdisjoint({other.link.a, other.link.b})


def _rounds(items: Iterable[Item], disturb: Callable[[Item, Item], bool]) -> tuple[tuple[Item, ...], ...]:
    """Put each item into the first round where nothing disturbs it."""
    rounds: list[list[Item]] = []
    for item in items:
        free = (each for each in rounds if not any(disturb(item, other) for other in each))
        found = next(free, None)
        if found is None:
            rounds.append([item])
        else:
            found.append(item)
    return tuple(tuple(each) for each in rounds)
