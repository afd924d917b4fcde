"""What a measurement should see when the condition is exactly as asked; not always the number that was asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slicebed_agent.host.wish import Distribution

if TYPE_CHECKING:
    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed_agent.host.wish import LinkCondition

ETHERNET_BYTES = 14
_TCP_BYTES = 20
_TIMESTAMP_BYTES = 12
_IP_BYTES = {4: 20, 6: 40}
# A probe of 64 bytes in UDP, IPv6 and Ethernet, which is the longer of the two.
PROBE_FRAME_BYTES = 64 + 8 + 40 + ETHERNET_BYTES
_SIMULATED = 50_000
_NORMAL_KURTOSIS = 3.0


@dataclass(frozen=True)
class Delay:
    """The delay that a condition exactly as asked makes: of one direction, or of both one after the other.

    Attributes:
        mean_us: its mean.
        deviation_us: its standard deviation.
        kurtosis: fourth central moment by the square of the variance: 3 of a normal distribution, and the more the
            rarer it is what makes it vary. That is how much a measured deviation is uncertain.
    """

    mean_us: float
    deviation_us: float
    kurtosis: float = _NORMAL_KURTOSIS

    def __add__(self, other: Delay) -> Delay:
        """Both one after the other, each drawn for itself."""
        square, its_square = self.deviation_us**2, other.deviation_us**2
        fourth = self.kurtosis * square**2 + other.kurtosis * its_square**2 + 6 * square * its_square
        return Delay(
            self.mean_us + other.mean_us,
            math.hypot(self.deviation_us, other.deviation_us),
            _kurtosis(fourth, square + its_square),
        )


def one_way_delay(condition: LinkCondition) -> Delay:
    """Give the delay of one direction: no packet leaves before it came, and those that overtake leave at once.

    Of a held packet's delay D with deviation s and a share p that leaves at once the mean is (1-p) D and the variance
    (1-p) (s^2 + D^2) - ((1-p) D)^2. Loss and duplicates leave both as they are.
    """
    mean, deviation = _held_delay(condition)
    share = condition.reorder
    if not share:
        return Delay(mean, deviation)
    left = (1 - share) * mean
    variance = max((1 - share) * (deviation**2 + mean**2) - left**2, 0.0)
    off = mean - left
    held = off**4 + 6 * off**2 * deviation**2 + _NORMAL_KURTOSIS * deviation**4
    return Delay(left, math.sqrt(variance), _kurtosis((1 - share) * held + share * left**4, variance))


def round_trip_delay(link: LinkAsk) -> Delay:
    """Give the delay of both directions."""
    return one_way_delay(link.forward) + one_way_delay(link.backward)


def _kurtosis(fourth: float, variance: float) -> float:
    return fourth / variance**2 if variance else _NORMAL_KURTOSIS


def _held_delay(condition: LinkCondition) -> tuple[float, float]:
    """Mean and standard deviation, in us, of the delay of packets that are held, negative values taken as zero.

    A packet cannot leave before it came: with a jitter near the delay, the part of the distribution below zero piles up
    there, which raises the mean and lowers the deviation. Allowed for with the normal distribution (censored at zero)
    and the uniform one; netem's Pareto tables do not reach as far below their mean.
    """
    mean, deviation = float(condition.delay_us), float(condition.jitter_us)
    if deviation == 0:
        return mean, 0.0
    if condition.distribution is Distribution.NORMAL:
        z = mean / deviation
        above = 0.5 * math.erfc(-z / math.sqrt(2))
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        first = mean * above + deviation * density
        second = (mean**2 + deviation**2) * above + mean * deviation * density
        return first, math.sqrt(max(second - first**2, 0.0))
    half = math.sqrt(3) * deviation
    if condition.distribution is Distribution.UNIFORM and half > mean:
        first = (mean + half) ** 2 / (4 * half)
        return first, math.sqrt((mean + half) ** 3 / (6 * half) - first**2)
    return mean, deviation


def goodput_share(mss_bytes: int, *, timestamps: bool, ip_version: int) -> float:
    """Payload per byte of frame: what TCP can carry of a rate that counts Ethernet frames without checksum.

    Args:
        mss_bytes: payload of a full segment as the kernel sent it, TCP options taken off.
        timestamps: whether TCP timestamps were on.
        ip_version: 4 or 6.
    """
    headers = _TCP_BYTES + _TIMESTAMP_BYTES * timestamps + _IP_BYTES[ip_version] + ETHERNET_BYTES
    return mss_bytes / (mss_bytes + headers)


def serialisation_us(condition: LinkCondition) -> float:
    """How long one probe takes onto a link of this rate; a token bucket with credit left takes none of it."""
    rate = condition.rate_bit_per_s
    return 0.0 if rate is None else PROBE_FRAME_BYTES * 8 / rate * 1e6


def overtaking_share(condition: LinkCondition, interval_us: float) -> float:
    """Share of a train's packets that arrive before one sent earlier, when no packet waits for another.

    With ``reorder`` a packet leaves at once and overtakes what the delay holds, of packets `interval_us` apart; with a
    jitter near the interval, packets overtake each other by chance as well. Simulated, always with the same numbers.
    """
    generator = np.random.default_rng(3)
    delays = condition.delay_us + condition.jitter_us * generator.standard_normal(_SIMULATED)
    delays = np.where(generator.random(_SIMULATED) < condition.reorder, 0.0, np.maximum(delays, 0.0))
    arrivals = np.arange(_SIMULATED) * interval_us + delays
    latest_before = np.maximum.accumulate(arrivals)[:-1]
    return float(np.mean(arrivals[1:] < latest_before))
