"""What was asked for, beside what was found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.network.tables import seconds, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.network.stats import Estimate

RATIO_TO_PARSING: Final = 1.3
RATIO_OF_COUPER: Final = 10.0
SWEEP_S: Final = 0.050
SWITCH_S: Final = 0.010
PREPARE_S: Final = {"resnet50_v2": 2.0, "inception_resnet_v2": 5.0}
CHAIN_RATIO: Final = 1.10
ABOVE_WEIGHTS_BYTES: Final = 300_000_000


@dataclass(frozen=True)
class Verdict:
    """A row of the table of bars.

    Attributes:
        what: was asked for.
        found: as the table shows it.
        bar: the same.
        said: ``met`` or ``NOT met``, and whether the interval leaves that open.
    """

    what: str
    found: str
    bar: str
    said: str


def of_ratio(what: str, found: Estimate, bar: float, *, at_least: bool = False) -> Verdict:
    """A ratio against its bar."""
    sign = "at least" if at_least else "at most"
    return Verdict(what, times(found), f"{sign} {bar:g} x", judge(found, bar, at_least=at_least))


def of_time(what: str, found: Estimate, bar: float) -> Verdict:
    """A median time against its bar, which it must stay under."""
    return Verdict(what, f"{signed(found.median)}, median of {found.count}", f"under {seconds(bar)}", judge(found, bar))


def of_worst(what: str, found: Sequence[float], bar: float) -> Verdict:
    """The longest of several times against a bar that all must stay under."""
    said = "met" if max(found) < bar else "NOT met"
    return Verdict(what, f"{signed(max(found))}, longest of {len(found)}", f"under {seconds(bar)}", said)


def of_count(what: str, bad: int, of: int) -> Verdict:
    """How many of so many are not as they should be."""
    return Verdict(what, f"{bad:,} of {of:,}", "0", "NOT met" if bad else "met")


def of_bytes(what: str, found: int, bar: int) -> Verdict:
    """A size against the most it may be."""
    return Verdict(what, f"{found / 1e6:.0f} MB", f"at most {bar / 1e6:.0f} MB", "met" if found <= bar else "NOT met")


def judge(found: Estimate, bar: float, *, at_least: bool = False) -> str:
    """By the median; where the interval reaches over the bar, that is said too."""
    sign = -1 if at_least else 1
    met = sign * found.median <= sign * bar
    bounds = [] if math.isnan(found.low) else [found.low, found.high]
    others = any((sign * bound <= sign * bar) != met for bound in bounds)
    return ("met" if met else "NOT met") + (", interval open" if others else "")


def signed(value: float) -> str:
    """A time, or a difference of two, which may be below 0."""
    # `seconds` takes what is not above 0 for nothing; a difference of two times may be below.
    return f"-{seconds(-value)}" if value < 0 else seconds(value)
