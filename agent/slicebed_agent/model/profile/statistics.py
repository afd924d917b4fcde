"""Medians with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_RESAMPLES: Final = 2000
_SEED: Final = 20201123
_PERCENTILES: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and its 95 % interval.

    Attributes:
        median: of the samples.
        low, high: percentile bootstrap of the median (Efron, 1979), 2,000 resamples.
    """

    median: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        """In another unit."""
        return Estimate(self.median * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        """As a line of text shows it."""
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


def estimate(samples: Sequence[float] | npt.NDArray[np.float64]) -> Estimate:
    """The median of samples and how sure it is; the same samples always give the same.

    Args:
        samples: at least one.
    """
    values = np.asarray(samples, np.float64)
    drawn = np.random.default_rng(_SEED).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[drawn], axis=1), _PERCENTILES)
    return Estimate(float(np.median(values)), float(low), float(high))
