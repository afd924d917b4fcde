"""What a paper states, and whether it holds on this testbed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slicebed.results.reproduce.intervals import Estimate

SAME_LATENCY = 1.1
"""Latencies of a lower ratio are read as the same."""


class Verdict(StrEnum):
    """Whether a statement holds here; `OPEN` where the figures do not say, or there are none."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not decidable"


@dataclass(frozen=True)
class Fact:
    """A figure that a verdict rests on.

    Attributes:
        what: which figure of what.
        estimate: it, its 95 % interval and the count behind it.
        unit: of all three.
    """

    what: str
    estimate: Estimate
    unit: str = ""

    @property
    def text(self) -> str:
        """Such as ``InceptionV3, low: 0.52 [0.40, 0.63], n = 48``; without an interval where there is none.

        What is the least that it may be, is ``>= 12``.
        """
        value, low, high, count = self.estimate
        unit = f" {self.unit}" if self.unit else ""
        known = not math.isnan(low) and not math.isnan(high) and low != high
        between = f" [{_short(low)}, {_short(high)}]" if known else ""
        if known and low == value and math.isinf(high):
            return f"{self.what}: >= {_short(low)}{unit}" + (f", n = {count}" if count else "")
        return f"{self.what}: {_short(value)}{unit}{between}" + (f", n = {count}" if count else "")


@dataclass(frozen=True)
class Statement:
    """A statement of a paper and what became of it.

    Attributes:
        text: the statement.
        source: paper, section, and table or figure.
        verdict: whether it holds here.
        why: in a sentence or two.
        facts: the figures behind it.
    """

    text: str
    source: str
    verdict: Verdict
    why: str
    facts: tuple[Fact, ...] = ()


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Of a statement about every case: it fails where one fails, and holds where all hold; open without any."""
    found = list(verdicts)
    if Verdict.FAILS in found:
        return Verdict.FAILS
    return Verdict.HOLDS if found and set(found) == {Verdict.HOLDS} else Verdict.OPEN


def of_every(verdicts: Iterable[Verdict], published: int) -> tuple[Verdict, str]:
    """The verdict of a statement about every one of so many cases of the paper, and what its reason has to add.

    A case that was not run is open: it may be the one that fails.
    """
    found = list(verdicts)
    missing = max(0, published - len(found))
    beside = f" Of the paper's {published} cases {missing} cannot be judged by what was run." if missing else ""
    return all_of([*found, *[Verdict.OPEN] * missing]), beside


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Of a statement that there is such a case: holds where one holds, fails where all fail; open without any."""
    found = list(verdicts)
    if Verdict.HOLDS in found:
        return Verdict.HOLDS
    return Verdict.FAILS if found and set(found) == {Verdict.FAILS} else Verdict.OPEN


def greater(estimate: Estimate, bound: float) -> Verdict:
    """Whether it is above a bound, or not, with its whole interval; open where the bound is within or there is none."""
    if estimate.low > bound:
        return Verdict.HOLDS
    return Verdict.FAILS if estimate.high <= bound else Verdict.OPEN


def less(estimate: Estimate, bound: float) -> Verdict:
    """Whether it is below a bound, as `greater`."""
    if estimate.high < bound:
        return Verdict.HOLDS
    return Verdict.FAILS if estimate.low >= bound else Verdict.OPEN


def at_most(estimate: Estimate, bound: Estimate) -> Verdict:
    """Whether a count or a time is not above another one, wherever in their intervals the two are."""
    if estimate.high <= bound.low:
        return Verdict.HOLDS
    return Verdict.FAILS if estimate.low > bound.high else Verdict.OPEN


def below(estimate: Estimate, bound: Estimate) -> Verdict:
    """Whether it is strictly below the other, as `at_most`."""
    return _NOT[at_most(bound, estimate)]


def within(estimate: Estimate, low: float, high: float) -> Verdict:
    """Whether it is between two bounds: its whole interval is, or lies outside of them, or else it is open."""
    if low < estimate.low and estimate.high < high:
        return Verdict.HOLDS
    return Verdict.FAILS if estimate.low >= high or estimate.high <= low else Verdict.OPEN


_NOT = {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS, Verdict.OPEN: Verdict.OPEN}


def truth(value: bool) -> Verdict:  # noqa: FBT001 - the whole of what it is given
    """The verdict where nothing is estimated: counts."""
    return Verdict.HOLDS if value else Verdict.FAILS


def unmeasured(text: str, source: str, missing: str) -> Statement:
    """A statement that nothing here can decide."""
    return Statement(text, source, Verdict.OPEN, missing)


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
