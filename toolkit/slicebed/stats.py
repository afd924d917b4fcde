"""Intervals that go with the figures.

Frames of one run are taken as independent; a queue that is full for a while makes that only roughly true. What whole
runs differ by is not in these intervals: `slicebed.run.search.cells.measure` adds it.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Two-sided 95 %.
_Z = 1.959963984540054
_LEVEL = 0.95
_EXACT_UP_TO = 1000


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (E. B. Wilson, 1927); not a number when there were no trials."""
    if trials == 0:
        return math.nan, math.nan
    share = hits / trials
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    middle = share + _Z**2 / (2 * trials)
    scale = 1 + _Z**2 / trials
    low = 0.0 if hits == 0 else (middle - spread) / scale
    high = 1.0 if hits == trials else (middle + spread) / scale
    return low, high


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval of the median from order statistics, at least 95 %, free of any assumption about the distribution.

    The k-th smallest and k-th largest value enclose the median unless fewer than k of n values fall on one side of
    it, a binomial with probability 1/2 (H. A. David and H. N. Nagaraja, Order Statistics, section 7.1).

    Returns:
        Both bounds; not a number when there are fewer than six values, too few for 95 %.
    """
    count = len(values)
    rank = _median_rank(count)
    if rank < 1:
        return math.nan, math.nan
    ordered = sorted(values)
    return ordered[rank - 1], ordered[count - rank]


def quantile_interval(values: Sequence[float], share: float) -> tuple[float, float]:
    """Interval of a quantile, at least 95 %, as that of the median: of how many values lie below it.

    Args:
        values: in any order.
        share: of the values that lie below the quantile, between 0 and 1.

    Returns:
        Both bounds; not a number when there are too few values on one side for 95 %.
    """
    count = len(values)
    if count > _EXACT_UP_TO:
        spread = _Z * math.sqrt(count * share * (1 - share))
        low, high = math.floor(count * share - spread), math.ceil(count * share + spread) + 1
    else:
        below = list(
            accumulate(
                math.comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(count + 1)
            )
        )
        allowed = (1 - _LEVEL) / 2
        low = sum(chance <= allowed for chance in below)
        high = 1 + sum(chance < 1 - allowed for chance in below)
    if low < 1 or high > count:
        return math.nan, math.nan
    ordered = sorted(values)
    return ordered[low - 1], ordered[high - 1]


def _median_rank(count: int) -> int:
    """The greatest k with P(Binomial(count, 1/2) < k) <= 2.5 %; 0 when there is none."""
    if count > _EXACT_UP_TO:
        return math.floor((count - _Z * math.sqrt(count)) / 2)
    below, rank = 0, 0
    allowed = (1 - _LEVEL) / 2 * 2**count
    while below + math.comb(count, rank) <= allowed:
        below += math.comb(count, rank)
        rank += 1
    return rank
