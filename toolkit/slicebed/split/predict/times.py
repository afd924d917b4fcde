"""What a step takes for one frame: a median, and how single frames vary around it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


@dataclass(frozen=True)
class Part:
    """One part of a sum.

    Attributes:
        median_s: 0 or more.
        shape: samples divided by their median; () where every frame takes the same.
    """

    median_s: float
    shape: tuple[float, ...] = ()


@dataclass(frozen=True)
class Times:
    """Seconds for one frame, as a sum of parts that vary by themselves; add two with ``+``.

    Attributes:
        parts: none: it takes no time.
    """

    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """As measured: seconds of some frames.

        Raises:
            SpecError: there are none, or one is no time.
        """
        if not samples:
            raise SpecError("no samples of a time", mend="profile the host again")
        return cls.like(statistics.median(samples), samples)

    @classmethod
    def fixed(cls, seconds: float) -> Self:
        """The same for every frame.

        Raises:
            SpecError: it is no time.
        """
        _check(seconds)
        return cls((Part(seconds),) if seconds else ())

    @classmethod
    def like(cls, median_s: float, samples: Sequence[float]) -> Self:
        """A median of its own that varies as other samples do, such as a slice as the whole model.

        Args:
            median_s: of one frame.
            samples: in seconds; () or all 0: every frame takes the same.

        Raises:
            SpecError: one is no time.
        """
        for each in (median_s, *samples):
            _check(each)
        middle = statistics.median(samples) if samples else 0.0
        shape = tuple(each / middle for each in samples) if middle else ()
        return cls((Part(median_s, shape),) if median_s else ())

    @property
    def median_s(self) -> float:
        """Sum of the parts' medians."""
        return sum(part.median_s for part in self.parts)

    def __add__(self, other: Times) -> Times:
        """One after the other."""
        return Times((*self.parts, *other.parts))

    def scaled(self, factor: float) -> Times:
        """So many times as long, as on a host of another speed."""
        return Times(tuple(Part(part.median_s * factor, part.shape) for part in self.parts))

    def draw(self, frames: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Seconds of so many frames: of every part one of its samples, drawn with equal chances."""
        total = np.zeros(frames)
        for part in self.parts:
            if part.shape:
                total += part.median_s * np.asarray(part.shape)[generator.integers(len(part.shape), size=frames)]
            else:
                total += part.median_s
        return total


NOTHING = Times()
"""It takes no time."""


def _check(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise SpecError(f"a time of {seconds} s", mend="times are finite and not negative")
