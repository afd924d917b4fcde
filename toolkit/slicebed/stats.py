"""Intervals that go with the figures, all of 95 %.

Frames of one run are taken as independent; a queue that is full for a while makes that only roughly true. Of several
runs, `over_runs` adds what whole runs differ by.
"""

from __future__ import annotations

import math
import statistics
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Z = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
_LEVEL = 0.95
_EXACT_UP_TO = 1000
_STUDENT: dict[float, float] = {1: 12.7062, 2: 4.30265}


def wilson_interval(hits: int, trials: int, independent: float | None = None) -> tuple[float, float]:
    """Interval of a share (E. B. Wilson, 1927); not a number when there were no trials.

    Args:
        hits: of the trials.
        trials: how many there were.
        independent: so many trials are worth as much that do not depend on each other; None: all of them.
    """
    if trials == 0:
        return math.nan, math.nan
    worth = trials if independent is None else independent
    share = hits / trials
    spread = Z * math.sqrt(share * (1 - share) / worth + Z**2 / (4 * worth**2))
    middle = share + Z**2 / (2 * worth)
    scale = 1 + Z**2 / worth
    low = 0.0 if hits == 0 else (middle - spread) / scale
    high = 1.0 if hits == trials else (middle + spread) / scale
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval of the mean of independent values from Student's distribution; of at least two values."""
    middle = statistics.fmean(values)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
    half = student_quantile(len(values) - 1) * deviation / math.sqrt(len(values))
    return middle - half, middle + half


def over_runs(pooled: tuple[float, float], of_runs: Sequence[float], most: float = math.inf) -> tuple[float, float]:
    """Widen the interval of all frames together by what whole runs differ from each other.

    Frames of one run have that run's placing, clock and caches in common, so that more of them tell nothing of the next
    run. Each run is one value here: Student's interval of their mean (W. S. Gosset, 1908), which takes the runs as
    independent and what they differ by as normal. It is wide where there are few: of two runs, six times their
    distance to either side of the middle.

    Args:
        pooled: interval that takes all frames as independent; not numbers where these are too few.
        of_runs: the figure of each run alone, none below 0.
        most: what the figure can be at most; it is never below 0.
    """
    if len(of_runs) < 2 or math.isnan(pooled[0]):
        return pooled
    low, high = mean_interval(of_runs)
    return min(pooled[0], max(low, 0.0)), max(pooled[1], min(high, most))


def student_quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's distribution, by its expansion about the normal one.

    Abramowitz and Stegun 26.7.5, four terms: within 0.5 % from three degrees of freedom on; 1 and 2 are exact, and
    between 1 and 3 there are no others.
    """
    if freedom in _STUDENT:
        return _STUDENT[freedom]
    terms = (
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
        (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
    )
    return Z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


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
        spread = Z * math.sqrt(count * share * (1 - share))
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


def fewest_for_quantile(share: float) -> int:
    """How many values `quantile_interval` needs at least, for a share from 0.5 on; `median_interval` as for 0.5."""
    return math.ceil(math.log((1 - _LEVEL) / 2) / math.log(share))


def _median_rank(count: int) -> int:
    """The greatest k with P(Binomial(count, 1/2) < k) <= 2.5 %; 0 when there is none."""
    if count > _EXACT_UP_TO:
        return math.floor((count - Z * math.sqrt(count)) / 2)
    below, rank = 0, 0
    allowed = (1 - _LEVEL) / 2 * 2**count
    while below + math.comb(count, rank) <= allowed:
        below += math.comb(count, rank)
        rank += 1
    return rank
