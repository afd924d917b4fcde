"""Estimates with 95 % intervals, and those of their differences, ratios and rank correlations."""

from __future__ import annotations

import math
from functools import cache
from itertools import groupby
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slicebed.stats import Z, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TAIL = 0.025
_DRAWS = 2000
_SEED = 20191107
# Fewer pairs have no interval of a rank correlation.
_FEWEST_PAIRS = 4


class Estimate(NamedTuple):
    """A value with its 95 % interval, not numbers where there is none, and the count of what it was estimated from."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0


UNKNOWN = Estimate(math.nan)


def exact(value: float, n: int = 0) -> Estimate:
    """A count or a given number: nothing is estimated, the interval is the value itself."""
    return Estimate(value, value, value, n)


def at_least(value: float, n: int = 0) -> Estimate:
    """A count of what was stopped before its end: so many or any number more."""
    return Estimate(value, value, math.inf, n)


def quotient(a: Estimate, b: Estimate) -> Estimate:
    """Divide what is given or the least that it may be, both above 0: a / b, nothing being estimated."""
    return Estimate(a.value / b.value, a.low / b.high, a.high / b.low)


def share(hits: int, trials: int) -> Estimate:
    """A share with its Wilson interval."""
    low, high = wilson_interval(hits, trials)
    return Estimate(hits / trials if trials else math.nan, low, high, trials)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """So many times as much; the factor is above 0."""
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor, estimate.n)


def difference(a: Estimate, b: Estimate, among: int = 1) -> Estimate:
    """Subtract: a - b, of independent estimates, from their own intervals.

    The square-and-add interval (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10; for any estimates G. Y. Zou
    and A. Donner, Statistics in Medicine 27, 2008). The count is the smaller one.

    Args:
        a: from which the other is taken.
        b: the other.
        among: so many intervals shall hold together at 95 % (Bonferroni, which is Holm's first step).
    """
    value, factor = a.value - b.value, _wider(among)
    low = value - factor * math.hypot(a.value - a.low, b.high - b.value)
    high = value + factor * math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high, min(a.n, b.n))


def ratio(a: Estimate, b: Estimate, among: int = 1) -> Estimate:
    """Divide: a / b, as `difference` does their logarithms; where a is 0 without an interval."""
    if not (a.value >= 0 and b.value > 0):
        return UNKNOWN
    if not (a.value > 0 and a.low >= 0 and b.low >= 0):
        return Estimate(a.value / b.value, n=min(a.n, b.n))
    found = difference(_logarithm(a), _logarithm(b), among)
    return Estimate(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.n)


def least(estimates: Sequence[Estimate]) -> Estimate:
    """The least of several figures, with an interval that includes that it was picked as the least.

    The least is at most each of them, so that its upper bound is the least of upper bounds that hold together; it is
    one of them, so that its lower bound is the least of their own (after J. C. Hsu, Annals of Statistics 12, 1984).

    Args:
        estimates: none of them below 0; one without an interval may be anything. At least one.
    """
    best = min(estimates, key=lambda each: each.value)
    low = min(0.0 if math.isnan(each.low) else each.low for each in estimates)
    return best._replace(low=low, high=min(_raised(each, len(estimates)) for each in estimates))


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> Estimate:
    """Spearman's rank correlation, ties in the middle of their ranks.

    The interval is of Fisher's transformation with the variance (1 + r^2 / 2) / (n - 3) (D. G. Bonett and T. A. Wright,
    Psychometrika 65, 2000); none with fewer than four pairs. Pairs that are not numbers are left out.

    Returns:
        Not a number where one side does not vary.
    """
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if not math.isnan(x) and not math.isnan(y)]
    count = len(pairs)
    if count < 2:
        return Estimate(math.nan, n=count)
    a, b = (_ranks([pair[side] for pair in pairs]) for side in (0, 1))
    middle = (count + 1) / 2
    spread = math.sqrt(sum((each - middle) ** 2 for each in a) * sum((each - middle) ** 2 for each in b))
    if spread == 0:
        return Estimate(math.nan, n=count)
    value = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True)) / spread
    value = max(-1.0, min(1.0, value))
    if count < _FEWEST_PAIRS:
        return Estimate(value, n=count)
    half = Z * math.sqrt((1 + value**2 / 2) / (count - 3))
    # Of a perfect order the bound is that of the next to it, two neighbours exchanged.
    most = 1 - 12 / (count**3 - count)
    middle = math.atanh(max(-most, min(most, value)))
    low = -1.0 if value == -1 else math.tanh(middle - half)
    return Estimate(value, low, 1.0 if value == 1 else math.tanh(middle + half), count)


def bootstrap_of_shares(counts: Sequence[tuple[int, int]], statistic: Callable[[Sequence[float]], float]) -> Estimate:
    """A statistic of several shares, with the percentile interval of shares drawn anew for each; seeded.

    They are drawn from Jeffreys' posterior, Beta(hits + 1/2, misses + 1/2), which leaves something open at 0 and 1 too.

    Args:
        counts: hits and trials of each share.
        statistic: of the shares, in the order of the counts.
    """
    if not counts or any(trials == 0 for _, trials in counts):
        return UNKNOWN
    shares = [hits / trials for hits, trials in counts]
    hits, misses = np.array([(hits + 0.5, trials - hits + 0.5) for hits, trials in counts]).T
    draws = np.random.default_rng(_SEED).beta(hits, misses, size=(_DRAWS, len(counts)))
    drawn = sorted(statistic([float(each) for each in row]) for row in draws)
    edge = round(0.025 * _DRAWS)
    return Estimate(statistic(shares), drawn[edge], drawn[-1 - edge], sum(trials for _, trials in counts))


def _logarithm(estimate: Estimate) -> Estimate:
    value, low, high = (math.log(each) if each > 0 else -math.inf for each in estimate[:3])
    return Estimate(value, low, high, estimate.n)


@cache
def _wider(among: int) -> float:
    """How many times as wide an interval is of which so many hold together at 95 %."""
    return NormalDist().inv_cdf(1 - _TAIL / among) / Z


def _raised(estimate: Estimate, among: int) -> float:
    """An upper bound of which so many hold together; near 0 bounds of shares grow faster than the width does."""
    value, _, high, _ = estimate
    if math.isnan(high):
        return math.inf
    factor = _wider(among)
    return value * (high / value) ** factor if value > 0 else high * factor**2


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(range(len(values)), key=lambda index: values[index])
    ranks = [0.0] * len(values)
    place = 0
    for _, group in groupby(ordered, key=lambda index: values[index]):
        tied = list(group)
        for index in tied:
            ranks[index] = place + (len(tied) + 1) / 2
        place += len(tied)
    return ranks
