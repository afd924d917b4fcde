"""Estimates with 95 % intervals that hold for the sample at hand, whatever its distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from slicebed.stats import Z, mean_interval, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the number of independent values it rests on."""

    value: float
    low: float
    high: float
    samples: int


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Mean of independent values, its interval from Student's distribution; needs at least two values."""
    return Estimate(fmean(values), *mean_interval(values), len(values))


def deviation_estimate(values: Sequence[float]) -> Estimate:
    """Standard deviation of independent values; needs at least two.

    The interval uses the sample's own fourth moment, Var(s^2) = (m4 - s^4 (n-3)/(n-1)) / n, and so needs no normal
    distribution, as the chi-square interval does (A. M. Mood, F. A. Graybill and D. C. Boes, Introduction to the Theory
    of Statistics, VI.2).
    """
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    deviation = float(array.std(ddof=1))
    if deviation == 0:
        return Estimate(0.0, 0.0, 0.0, count)
    fourth = float(np.mean((array - array.mean()) ** 4))
    variance_of_square = max(fourth - deviation**4 * (count - 3) / (count - 1), 0.0) / count
    half = Z * math.sqrt(variance_of_square) / (2 * deviation)
    return Estimate(deviation, max(deviation - half, 0.0), deviation + half, count)


def batched_mean(values: Sequence[float], per_batch: int) -> Estimate:
    """Mean of a series whose neighbours depend on each other, from the means of `per_batch` neighbours each.

    What is left over at the end is not used; needs at least two full batches.
    """
    batches = len(values) // per_batch
    array = np.asarray(values[: batches * per_batch], dtype=np.float64)
    return mean_estimate(array.reshape(batches, per_batch).mean(axis=1).tolist())


def share_estimate(hits: int, trials: int, correlation: float = 0.0) -> Estimate:
    """Share with E. B. Wilson's interval (1927).

    A correlation between neighbours leaves trials (1-c)/(1+c) independent ones: the interval grows by that.
    """
    worth = trials * (1 - correlation) / (1 + correlation) if correlation < 1 else 1.0
    return Estimate(hits / trials, *wilson_interval(hits, trials, worth), trials)


def without_drift(
    times: Sequence[float], forward: Sequence[float], backward: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Take off the straight line that two clocks of slightly different speed add to one direction's delays.

    The line has the opposite slope in the other direction; it is found in the one that varies less about it.
    """
    moments, there, back = (np.asarray(values, dtype=np.float64) for values in (times, forward, backward))
    fits = [np.polyfit(moments, values, 1) for values in (there, back)]
    spreads = [
        float(np.std(values - np.polyval(fit, moments))) for values, fit in zip((there, back), fits, strict=True)
    ]
    slope = float(fits[0][0]) if spreads[0] <= spreads[1] else -float(fits[1][0])
    return list(there - slope * moments), list(back + slope * moments)
