"""Figures as the referee's tables print them: with a unit, and never finer than they are known."""

from __future__ import annotations

import math

# Of a metric's unit: how many of the printed one it is, that one's name, and its decimals.
_PRINTED = {
    "s": (1e3, " ms", 1),
    "B": (1e-6, " MB", 3),
    "frame/s": (1.0, " frame/s", 2),
    "J": (1.0, " J", 2),
    "": (1.0, "", 3),
}
_COARSE_FROM = 1000
NOT_KNOWN = "-"


def amount(unit: str, value: float) -> str:
    """A value of a metric with this unit."""
    return NOT_KNOWN if math.isnan(value) else f"{_number(unit, value)}{_PRINTED[unit][1]}"


def ends(unit: str, low: float, high: float) -> str:
    """Both ends of an interval, without the unit."""
    if math.isnan(low) or math.isnan(high):
        return NOT_KNOWN
    return f"{_number(unit, low)}–{_number(unit, high)}"  # noqa: RUF001 - an en dash is the sign for a range


def share(value: float) -> str:
    """A share of 1 in per cent; infinite where a choice breaks a limit that the best keeps."""
    if math.isnan(value):
        return NOT_KNOWN
    return "∞" if math.isinf(value) else f"{value:.1%}".replace("%", " %")


def shares(low: float, high: float) -> str:
    """Both ends of an interval of a share."""
    if math.isnan(low) or math.isnan(high):
        return NOT_KNOWN
    return f"{100 * low:.1f}–{100 * high:.1f} %"  # noqa: RUF001 - as above


def number(value: float, digits: int) -> str:
    """A plain number."""
    return NOT_KNOWN if math.isnan(value) else f"{value:.{digits}f}"


def _number(unit: str, value: float) -> str:
    units, _, digits = _PRINTED[unit]
    printed = value * units
    return f"{printed:.0f}" if abs(printed) >= _COARSE_FROM else f"{printed:.{digits}f}"


def at_least(text: str, stopped: object) -> str:
    """A count or a time; ``stopped``, where it is known, says that it is the least that it may be."""
    return f"≥ {text}" if stopped is True and text else text
