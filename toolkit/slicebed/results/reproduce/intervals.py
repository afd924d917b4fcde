"""Estimates with 95 % intervals, and those of their differences, ratios and rank correlations."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slicebed.stats import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Z = 1.959963984540054
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


def share(hits: int, trials: int) -> Estimate:
    """A share with its Wilson interval."""
    low, high = wilson_interval(hits, trials)
    return Estimate(hits / trials if trials else math.nan, low, high, trials)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """So many times as much; the factor is above 0."""
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor, estimate.n)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Subtract: a - b, of independent estimates, from their own intervals.

    The square-and-add interval (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10; for any estimates G. Y. Zou
    and A. Donner, Statistics in Medicine 27, 2008). The count is the smaller one.
    """
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high, min(a.n, b.n))


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """Divide: a / b, of independent estimates, as the difference of their logarithms; at a 0 without an interval."""
    if not (a.value >= 0 and b.value > 0):
        return UNKNOWN
    if not (a.low > 0 and b.low > 0):
        return Estimate(a.value / b.value, n=min(a.n, b.n))
    found = difference(_logarithm(a), _logarithm(b))
    return Estimate(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.n)


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
    half = _Z * math.sqrt((1 + value**2 / 2) / (count - 3))
    # Of a perfect order the bound is that of the next to it, two neighbours exchanged.
    most = 1 - 12 / (count**3 - count)
    middle = math.atanh(max(-most, min(most, value)))
    low = -1.0 if value == -1 else math.tanh(middle - half)
    return Estimate(value, low, 1.0 if value == 1 else math.tanh(middle + half), count)


def bootstrap_of_shares(counts: Sequence[tuple[int, int]], statistic: Callable[[Sequence[float]], float]) -> Estimate:
    """A statistic of several shares, with the percentile interval of shares drawn anew from each; seeded.

    Args:
        counts: hits and trials of each share.
        statistic: of the shares, in the order of the counts.
    """
    if not counts or any(trials == 0 for _, trials in counts):
        return UNKNOWN
    shares = [hits / trials for hits, trials in counts]
    trials = [each for _, each in counts]
    draws = np.random.default_rng(_SEED).binomial(trials, shares, size=(_DRAWS, len(counts))) / trials
    drawn = sorted(statistic([float(each) for each in row]) for row in draws)
    edge = round(0.025 * _DRAWS)
    return Estimate(statistic(shares), drawn[edge], drawn[-1 - edge], sum(trials))


def _logarithm(estimate: Estimate) -> Estimate:
    return Estimate(math.log(estimate.value), math.log(estimate.low), math.log(estimate.high), estimate.n)


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
