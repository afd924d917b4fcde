"""Round trip and jitter of one link from its samples.

A distribution of netem's ends at four standard deviations. A sample beyond that, counted from the round trip asked for,
was not made by the condition but by a machine that was busy: up to 2 % of such samples are left out and reported. When
there are more, the link is not as asked, and none is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slicebed.testbed.verify.expect import one_way_delay, round_trip_delay, serialisation_us
from slicebed.testbed.verify.plan import (
    FEWEST_SAMPLES,
    JITTER_TOLERANCE_SHARE,
    STANDARD_ERRORS,
    rtt_tolerance_us,
)
from slicebed.testbed.verify.statistics import Estimate, deviation_estimate, mean_estimate, without_drift
from slicebed.testbed.verify.verdict import Quantity, link_verdict

if TYPE_CHECKING:
    from slicebed.testbed.verify.answers import ProbeAnswer
    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed.testbed.verify.expect import Delay
    from slicebed.testbed.verify.verdict import Verdict

# net/sched/sch_netem.c: tables of 16-bit numbers in units of 1/8192 standard deviation.
_REACH_DEVIATIONS = 4
_MOST_LEFT_OUT = 0.02
# What a direction may vary that was not asked to: a busy host's own, or this share of what the other direction does.
_STILL_US = 100.0
_STILL_SHARE = 0.10
_TIMES = ("asked", "expected", "measured", "low", "high", "tolerance")


def judge_round_trips(link: LinkAsk, answer: ProbeAnswer, base_us: float | None) -> list[Verdict]:
    """Judge the round trip where one was asked, its jitter where one was, and each direction's where they differ."""
    samples = _Samples.of(link, answer, base_us)
    verdicts = []
    if link.rtt_us is not None:
        verdicts.append(_round_trip(link, samples, link.rtt_us, base_us))
    if link.rtt_jitter_us:
        verdicts.append(_jitter(link, samples, base_us))
    if link.forward.jitter_us != link.backward.jitter_us and len(samples.rtt_us) >= FEWEST_SAMPLES:
        verdicts += _one_way_jitter(link, samples)
    return verdicts


@dataclass(frozen=True)
class _Samples:
    """The samples that count, and what is to be said about the others."""

    sent: int
    sent_us: tuple[float, ...]
    rtt_us: tuple[float, ...]
    forward_us: tuple[float, ...]
    note: str

    @classmethod
    def of(cls, link: LinkAsk, answer: ProbeAnswer, base_us: float | None) -> _Samples:
        latest_us = _latest_us(link, base_us)
        kept = [index for index, rtt_us in enumerate(answer.rtt_us) if rtt_us <= latest_us]
        total = len(answer.rtt_us)
        late = total - len(kept)
        note = f"{late} of {total} samples later than the condition can make them" if late else ""
        if late > _MOST_LEFT_OUT * total:
            return cls(answer.sent, answer.sent_us, answer.rtt_us, answer.forward_us, note)
        sent_us, rtt_us, forward_us = (
            tuple(values[index] for index in kept) for values in (answer.sent_us, answer.rtt_us, answer.forward_us)
        )
        return cls(answer.sent, sent_us, rtt_us, forward_us, f"{note}, left out" if note else "")

    def detail(self, text: str) -> str:
        return f"{text}; {self.note}" if self.note else text


def _latest_us(link: LinkAsk, base_us: float | None) -> float:
    conditions = (link.forward, link.backward)
    middle = link.rtt_us if link.rtt_us is not None else sum(each.delay_us for each in conditions)
    reach = _REACH_DEVIATIONS * max(sum(each.jitter_us for each in conditions), link.rtt_jitter_us)
    return middle + reach + rtt_tolerance_us(middle) + _serialised_us(link) + (base_us or 0.0)


def _serialised_us(link: LinkAsk) -> float:
    """A probe's own time on a slow link comes on top, or does not: that depends on how the rate is made."""
    return serialisation_us(link.forward) + serialisation_us(link.backward)


def _round_trip(link: LinkAsk, samples: _Samples, asked_us: int, base_us: float | None) -> Verdict:
    delay = round_trip_delay(link)
    expected = asked_us + delay.mean_us - link.forward.delay_us - link.backward.delay_us
    if len(samples.rtt_us) < FEWEST_SAMPLES:
        return _too_few(link, Quantity.RTT, samples, asked_us, expected)
    tolerance = rtt_tolerance_us(asked_us)
    if _reorders(link):
        tolerance = max(tolerance, STANDARD_ERRORS * delay.deviation_us / math.sqrt(len(samples.rtt_us)))
    estimate = mean_estimate(samples.rtt_us)
    above = estimate.value - expected
    passed = -tolerance <= above <= tolerance + _serialised_us(link)
    ordered = sorted(samples.rtt_us)
    median, p95, least = (ordered[int(share * len(ordered))] / 1000 for share in (0.5, 0.95, 0))
    detail = samples.detail(f"median {median:.3f}, p95 {p95:.3f}, min {least:.3f} ms")
    if _reorders(link):
        detail += "; packets that overtake leave at once, which lowers the mean"
    if not passed and base_us is not None and abs(above - base_us) <= tolerance:
        detail += f"; the base of {base_us / 1000:.3f} ms comes on top: compensate: true takes it off"
    return _in_ms(link_verdict(
        link, link.name, Quantity.RTT, estimate,
        asked=asked_us, expected=expected, tolerance=tolerance, passed=passed, detail=detail, base_us=base_us,
    ))  # fmt: skip


def _jitter(link: LinkAsk, samples: _Samples, base_us: float | None) -> Verdict:
    whole = math.hypot(link.forward.jitter_us, link.backward.jitter_us)
    delay = round_trip_delay(link)
    expected = link.rtt_jitter_us * (delay.deviation_us / whole if whole else 1.0)
    if len(samples.rtt_us) < FEWEST_SAMPLES:
        return _too_few(link, Quantity.JITTER, samples, link.rtt_jitter_us, expected)
    estimate = deviation_estimate(samples.rtt_us)
    tolerance = _jitter_share(delay, estimate.samples, reorders=_reorders(link)) * expected
    return _in_ms(link_verdict(
        link, link.name, Quantity.JITTER, estimate,
        asked=link.rtt_jitter_us, expected=expected, tolerance=tolerance,
        passed=abs(estimate.value - expected) <= tolerance,
        detail=samples.detail("standard deviation of the round trip"), base_us=base_us,
    ))  # fmt: skip


def _one_way_jitter(link: LinkAsk, samples: _Samples) -> list[Verdict]:
    """Judge each direction's own deviation: an unknown clock difference shifts its delays, not how they vary."""
    backward_us = [rtt - there for rtt, there in zip(samples.rtt_us, samples.forward_us, strict=True)]
    without = without_drift(samples.sent_us, samples.forward_us, backward_us)
    floor = max(_STILL_US, _STILL_SHARE * link.rtt_jitter_us)
    verdicts = []
    for (name, condition), values in zip(link.directions(), without, strict=True):
        delay = one_way_delay(condition)
        expected = delay.deviation_us
        estimate = deviation_estimate(values)
        share = _jitter_share(delay, estimate.samples, reorders=condition.reorder > 0)
        tolerance = max(share * expected, floor)
        passed = abs(estimate.value - expected) <= tolerance
        detail = samples.detail("standard deviation of the one-way delay, by each host's own clock")
        verdict = _in_ms(link_verdict(
            link, name, Quantity.ONE_WAY_JITTER, estimate,
            asked=condition.jitter_us, expected=expected, tolerance=tolerance, passed=passed, detail=detail,
        ))  # fmt: skip
        verdicts.append(verdict)
    return verdicts


def _reorders(link: LinkAsk) -> bool:
    return any(condition.reorder for _, condition in link.directions())


def _jitter_share(delay: Delay, count: int, *, reorders: bool) -> float:
    """Give the tolerance of a deviation as a share: where few packets overtake, chance alone makes more than 15 %."""
    if not reorders:
        return JITTER_TOLERANCE_SHARE
    return max(JITTER_TOLERANCE_SHARE, STANDARD_ERRORS / 2 * math.sqrt((delay.kurtosis - 1) / count))


def _too_few(link: LinkAsk, quantity: Quantity, samples: _Samples, asked: float, expected: float) -> Verdict:
    values = sorted(samples.rtt_us) or [0.0]
    estimate = Estimate(values[len(values) // 2], values[0], values[-1], len(samples.rtt_us))
    detail = f"too few samples: {estimate.samples} of {samples.sent} probes counted, {FEWEST_SAMPLES} are needed"
    return _in_ms(link_verdict(
        link, link.name, quantity, estimate,
        asked=asked, expected=expected, tolerance=0.0, passed=False, detail=detail,
    ))  # fmt: skip


def _in_ms(verdict: Verdict) -> Verdict:
    """Give in ms what was judged in us."""
    scaled = {name: getattr(verdict, name) / 1000 for name in _TIMES}
    return replace(verdict, **scaled)
