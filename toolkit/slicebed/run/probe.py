"""Round-trip times of the chain's links, measured by ping before a run, and held against what was asked."""

from __future__ import annotations

import math
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from slicebed.errors import ProvisionError, VerdictError
from slicebed.testbed.verify.expect import one_way_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed.run.connection import HostConnection
    from slicebed.spec.experiment import Configuration
    from slicebed.spec.testbed import Testbed

# Before the runs of a configuration, and after each run: has anybody changed the link meanwhile?
PINGS = 20
RECHECK = 3
# As root, as hosts are logged in to; longer than a ping takes on any link whose delay can be judged at all.
_INTERVAL_S = 0.05
# A link that failed is measured again so often, each time after a pause: what another process's burst did is gone by
# then, what is truly wrong is as wrong.
_AGAIN = 2
_PAUSE_S = 3.0
# A wire adds its own fraction of a millisecond, and a user-space wire is scheduled like any process.
_TOLERANCE_SHARE = 0.05
_TOLERANCE_MS = 3.0
_LOST_SHARE = 0.05
# Chance moves a median by more in one measurement of ten thousand.
_DEVIATIONS = 4.0
# Standard error of a median, of normal values, in standard deviations over the root of their number.
_ERROR_OF_MEDIAN = math.sqrt(math.pi / 2)
_REPLY_TIME = re.compile(r"time=([0-9.]+) ms")


@dataclass(frozen=True)
class Trip:
    """The round trip that is asked of a link: mean and standard deviation, and the share of packets it may lose."""

    a: str
    b: str
    rtt_us: float
    jitter_us: float = 0.0
    loss: float = 0.0


def trips_of(configuration: Configuration, testbed: Testbed, pairs: Sequence[tuple[str, str]]) -> tuple[Trip, ...]:
    """The round trips that a configuration asks of the links between these hosts.

    A delay that varies cannot be negative, which moves its mean; what a link takes before it is shaped is within what
    `judge` allows, or is taken off the delay (``compensate``).
    """
    if not configuration.as_testbed:
        return tuple(Trip(link.a, link.b, link.rtt_us) for link in configuration.links(pairs))
    trips = []
    for a, b in pairs:
        link = testbed.link(a, b)
        if link is not None:
            delay = one_way_delay(link.forward) + one_way_delay(link.backward)
            trips.append(Trip(a, b, delay.mean_us, delay.deviation_us, link.asked.loss))
    return tuple(trips)


@dataclass(frozen=True)
class LinkVerdict:
    """Asked against measured round-trip time of one link, in milliseconds.

    Attributes:
        failed_before: medians of the measurements just before this one, which failed.
    """

    a: str
    b: str
    wire: str
    asked_rtt_ms: float
    median_rtt_ms: float
    p95_rtt_ms: float
    min_rtt_ms: float
    samples: int
    lost: int
    passed: bool
    failed_before: tuple[float, ...] = ()

    def to_plain(self) -> dict[str, object]:
        """As the manifest holds it."""
        return asdict(self)


def judge(link: Trip, wire: str, times_ms: Sequence[float], sent: int) -> LinkVerdict:
    """Hold measured round-trip times against the asked one.

    Passed is a median within 5 % or 3 ms, whichever is wider, or as far off as the jitter that is asked for may bring
    the median of so few; and at most one ping in twenty lost besides those that the link is asked to lose.
    """
    asked = link.rtt_us / 1000
    ordered = sorted(times_ms)
    median = statistics.median(ordered)
    of_median_ms = _ERROR_OF_MEDIAN * link.jitter_us / 1000 / math.sqrt(len(ordered))
    may_lose = sent * (link.loss + _LOST_SHARE) + _DEVIATIONS * math.sqrt(sent * link.loss * (1 - link.loss))
    return LinkVerdict(
        a=link.a,
        b=link.b,
        wire=wire,
        asked_rtt_ms=asked,
        median_rtt_ms=median,
        p95_rtt_ms=ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))],
        min_rtt_ms=ordered[0],
        samples=len(ordered),
        lost=sent - len(ordered),
        passed=abs(median - asked) <= max(_TOLERANCE_MS, _TOLERANCE_SHARE * asked, _DEVIATIONS * of_median_ms)
        and sent - len(ordered) <= may_lose,
    )


def probe_links(
    connections: Mapping[str, HostConnection], links: Sequence[Trip], pings: int
) -> tuple[LinkVerdict, ...]:
    """Ping every link from one of its ends, all at once: twenty small packets a second do not disturb each other.

    A link that fails is measured again, with as many pings as before a run: the machine may have been busy.

    Raises:
        ProvisionError: a link gives no reply at all.
    """
    with ThreadPoolExecutor(max(1, len(links))) as pool:
        return tuple(pool.map(lambda link: _judged(connections, link, pings), links))


def _judged(connections: Mapping[str, HostConnection], link: Trip, pings: int) -> LinkVerdict:
    first = _probe_link(connections, link, pings)
    return until_passed(first, lambda: _probe_link(connections, link, PINGS))


def until_passed(first: LinkVerdict, measure: Callable[[], LinkVerdict], pause_s: float = _PAUSE_S) -> LinkVerdict:
    """A verdict that passed, or the last one of a few that all failed, with the medians of those before it."""
    verdict = first
    failed: list[float] = []
    while not verdict.passed and len(failed) < _AGAIN:
        failed.append(verdict.median_rtt_ms)
        time.sleep(pause_s)
        verdict = measure()
    return replace(verdict, failed_before=tuple(failed))


def _probe_link(connections: Mapping[str, HostConnection], link: Trip, pings: int) -> LinkVerdict:
    end = connections[link.a].host.link_to(link.b)
    wait_s = max(1, round(link.rtt_us / 1e6) + 1)
    argv = ["ping", "-n", "-i", str(_INTERVAL_S), "-W", str(wait_s), "-I", end.address, end.peer_address, "-c"]
    if pings == PINGS:
        # The first resolves the peer's link address, which a delayed link makes as slow as a packet: no sample. After
        # a run the address is known.
        connections[link.a].command([*argv, "1"], timeout_s=2 * wait_s + 15)
    _, said = connections[link.a].command([*argv, str(pings)], timeout_s=pings * _INTERVAL_S + wait_s + 15)
    times = [float(found) for found in _REPLY_TIME.findall(said)]
    if not times:
        raise ProvisionError(
            f"no reply from {end.peer_address} to {pings} pings",
            where=f"link {link.a} - {link.b}",
            mend="see slicebed lab status, or the addresses in the inventory",
        )
    return judge(link, end.wire, times, pings)


def require_passed(verdicts: Sequence[LinkVerdict]) -> None:
    """Refuse to measure under a condition that is not the one asked.

    Raises:
        VerdictError: naming the first link that failed, asked against measured.
    """
    for verdict in verdicts:
        if not verdict.passed:
            raise VerdictError(
                f"asked {verdict.asked_rtt_ms:.1f} ms round trip, measured {verdict.median_rtt_ms:.1f} ms"
                f" (median of {verdict.samples}, {verdict.lost} lost{_before(verdict)})",
                where=f"link {verdict.a} - {verdict.b}",
                mend="look at the link's condition or make the machine quieter, then go on with --resume",
            )


def _before(verdict: LinkVerdict) -> str:
    if not verdict.failed_before:
        return ""
    return f"; just before {', '.join(f'{median:.1f}' for median in verdict.failed_before)}"
