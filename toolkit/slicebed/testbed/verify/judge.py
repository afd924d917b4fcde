"""Verdicts from samples. Pure: the same samples give the same verdicts.

What passes:

- round trip: the mean within 2 % of the expected one, or 0.3 ms when that is more;
- jitter: the standard deviation within 15 % of the expected one (of both, up to 2 % of the samples are left out when
  they came later than the condition can make them: see `round_trips`);
- loss, duplicates, order: the share asked for inside the 95 % interval of the measured one, or no further from it than
  a tenth of it or 0.1 percentage points; where none is asked, the interval must reach down to 0.1 %, beyond which
  chance does not explain what was seen;
- goodput: the mean within 2 % of rate x payload per frame.

The number of samples comes from the plan; too few of them fail, whatever they say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.errors import VerdictError
from slicebed.testbed.verify.expect import goodput_share
from slicebed.testbed.verify.round_trips import judge_round_trips
from slicebed.testbed.verify.shares import judge_passage, passages
from slicebed.testbed.verify.statistics import Estimate, batched_mean, mean_estimate
from slicebed.testbed.verify.verdict import Quantity, Verdict, link_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.testbed.verify.answers import ProbeAnswer, StreamAnswer
    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed.testbed.verify.plan import StreamPlan

GOODPUT_TOLERANCE_SHARE = 0.02
_BATCHES = 12
_MEGA = 1e6


@dataclass(frozen=True)
class Probed:
    """What was measured of one link.

    Attributes:
        link: the link.
        round_trips: one probe in flight at a time; None when no packet was to come back.
        train: packets `train_interval_us` apart; None leaves loss and order unjudged.
        train_interval_us: their distance.
        base_us: the round trip before shaping; None when it was not measured.
    """

    link: LinkAsk
    round_trips: ProbeAnswer | None
    train: ProbeAnswer | None
    train_interval_us: int
    base_us: float | None = None


def judge_link(probed: Probed) -> list[Verdict]:
    """Judge round trip, jitter, loss, duplicates and order of one link.

    Raises:
        VerdictError: nothing came back over a link that is not to lose everything.
    """
    verdicts: list[Verdict] = []
    if probed.round_trips is not None:
        _check_answered(probed.link, probed.round_trips)
        verdicts += judge_round_trips(probed.link, probed.round_trips, probed.base_us)
    sessions = [answer for answer in (probed.round_trips, probed.train) if answer is not None]
    if probed.train is not None:
        for passage in passages(probed.link, sessions, probed.train):
            verdicts += judge_passage(probed.link, passage, probed.train_interval_us)
    return verdicts


def judge_stream(stream: StreamPlan, answers: Sequence[StreamAnswer]) -> Verdict:
    """Judge the goodput of one directed link whose rate was asked, from one or more streams over it.

    Where loss or reordering is asked, TCP takes them for congestion and does not fill the link: then the goodput is
    only held to be no more than the rate allows, and the verdict says so.
    """
    condition, answer = stream.condition, answers[0]
    rate = float(condition.rate_bit_per_s or 0)
    share = goodput_share(answer.mss_bytes, timestamps=answer.timestamps, ip_version=answer.ip_version)
    expected = rate * share / _MEGA
    mbit_per_s = [size * 8 / each.window_us for each in answers for size in _settled(stream, each)]
    estimate = batched_mean(mbit_per_s, max(len(mbit_per_s) // (_BATCHES * len(answers)), 1))
    tolerance = GOODPUT_TOLERANCE_SHARE * expected
    passed = abs(estimate.value - expected) <= tolerance
    again = sum(each.retransmitted for each in answers)
    how = (
        f"{answer.streams} connections, {answer.congestion}, {again} segments sent again;"
        f" {100 * share:.2f} % of each frame is payload"
    )
    if condition.loss or condition.reorder:
        passed = 0 < estimate.value <= expected + tolerance
        how = f"only the ceiling is judged: TCP slows down where loss or reordering is asked; {how}"
    return link_verdict(
        stream.link, stream.name, Quantity.GOODPUT, estimate,
        asked=rate / _MEGA, expected=expected, tolerance=tolerance, passed=passed, detail=how,
    )  # fmt: skip


def judge_host(  # noqa: PLR0913 - what a host's verdict consists of
    host: str,
    quantity: Quantity,
    asked: float,
    values: Sequence[float],
    tolerance: float,
    *,
    detail: str = "",
) -> Verdict:
    """Judge a condition of a host by values read or sampled on it.

    Args:
        host: its name.
        quantity: what was sampled.
        asked: the value asked for.
        values: at least one; of one value there is no interval, and `low` and `high` are the value.
        tolerance: how far their mean may be from `asked`, in the quantity's unit; 0 for what is exact.
        detail: what a reader should know beyond the numbers.

    Raises:
        VerdictError: there are no values.
    """
    if not values:
        raise VerdictError("nothing was measured", where=f"{host} {quantity.value}", mend="run slicebed doctor")
    estimate = mean_estimate(values) if len(values) > 1 else Estimate(values[0], values[0], values[0], 1)
    return Verdict(
        link=host, quantity=quantity, asked=asked, expected=asked, measured=estimate.value, low=estimate.low,
        high=estimate.high, tolerance=tolerance, samples=estimate.samples, wire="host", base_ms=None,
        passed=abs(estimate.value - asked) <= tolerance, detail=detail,
    )  # fmt: skip


def is_blurred(verdict: Verdict) -> bool:
    """Whether the interval is wider than the tolerance, so that another measurement is worth its time."""
    return verdict.high - verdict.low > 2 * verdict.tolerance


def _settled(stream: StreamPlan, answer: StreamAnswer) -> list[int]:
    """Give the windows that count; those missing at the end of a stream that stalled carried nothing."""
    first, end = (
        math.ceil(seconds * 1e6 / answer.window_us) for seconds in (stream.settle_s, stream.settle_s + stream.counted_s)
    )
    return [*answer.windows[:end], *([0] * (end - len(answer.windows)))][first:]


def _check_answered(link: LinkAsk, answer: ProbeAnswer) -> None:
    if answer.backward_received:
        return
    if answer.forward_received:
        what = f"{answer.forward_received} of {answer.sent} probes reached {link.b}, but no answer came back"
    else:
        what = f"none of {answer.sent} probes reached {link.b}"
    raise VerdictError(
        f"{what} ({link.address_a} to {link.address_b})",
        where=link.name,
        mend="check the cable, the addresses and that no firewall drops UDP on the link",
    )
