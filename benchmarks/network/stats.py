"""Medians and ratios of repeated, interleaved runs, with the interval that goes with each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_RESAMPLES = 10_000
_LEVEL_PERCENT = 95.0
# Below this a resampled median can only repeat the two or three values there are.
_FEWEST = 3


@dataclass(frozen=True)
class Estimate:
    """A median over `count` runs and its 95 % interval; the bounds are not a number when the runs are too few."""

    median: float
    low: float
    high: float
    count: int


def median(values: Sequence[float]) -> Estimate:
    """Median with a percentile bootstrap interval (B. Efron, 1979).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no runs: nothing to take a median of")
    samples = np.asarray(values, dtype=np.float64)
    middle = float(np.median(samples))
    if len(samples) < _FEWEST:
        return Estimate(middle, math.nan, math.nan, len(samples))
    low, high = _bootstrap(samples)
    return Estimate(middle, low, high, len(samples))


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Median of the round-by-round ratios above/below; what slowed a whole round down cancels out of it.

    Raises:
        ValueError: not one value per round on either side, or nothing to divide by.
    """
    if len(above) != len(below):
        raise ValueError(f"{len(above)} rounds against {len(below)}")
    if any(value <= 0 for value in below):
        raise ValueError("a run that took no time has no ratio")
    return median([a / b for a, b in zip(above, below, strict=True)])


def _bootstrap(samples: NDArray[np.float64]) -> tuple[float, float]:
    # A fixed seed: the same runs always print the same interval.
    generator = np.random.default_rng(0)
    drawn = generator.choice(samples, size=(_RESAMPLES, len(samples)))
    tail = (100 - _LEVEL_PERCENT) / 2
    low, high = np.percentile(np.median(drawn, axis=1), [tail, 100 - tail])
    return float(low), float(high)
