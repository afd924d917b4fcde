"""Plain tables and numbers for a terminal of 100 columns."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.network.stats import Estimate

WIDTH = 100
_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell: the first to the left, the others to the right.

    A last column that does not fit is wrapped.
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    room = WIDTH - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    text = room < widths[-1]
    widths[-1] = min(widths[-1], max(room, 1))
    lines = []
    for row in (head, ["-" * width for width in widths], *rows):
        last = textwrap.wrap(row[-1], widths[-1]) or [""]
        front = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:-1], widths[1:-1], strict=True))]
        lines.append(_GAP.join([*front, last[0] if text else last[0].rjust(widths[-1])]))
        indent = " " * (WIDTH - room)
        lines += [indent + more for more in last[1:]]
    return "\n".join(line.rstrip() for line in lines)


def seconds(value: float) -> str:
    """Three significant digits, with the unit that fits."""
    if value < 1:
        return f"{_three(value * 1000)} ms"
    return f"{_three(value)} s"


def spread(estimate: Estimate) -> str:
    """The interval of a time: ``95 to 112 ms``, or that there is none."""
    if math.isnan(estimate.low):
        return "too few"
    low, high = seconds(estimate.low), seconds(estimate.high)
    if low.split()[1] == high.split()[1]:
        low = low.split()[0]
    return f"{low} to {high}"


def times(estimate: Estimate) -> str:
    """A ratio and its interval: ``143 x [131, 150]``."""
    if math.isnan(estimate.low):
        return f"{_three(estimate.median)} x"
    return f"{_three(estimate.median)} x [{_three(estimate.low)}, {_three(estimate.high)}]"


def number(value: float) -> str:
    """A count or a mean of counts, without digits that say nothing."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def paragraph(text: str) -> str:
    """Text that fits the terminal."""
    return textwrap.fill(" ".join(text.split()), WIDTH)


def _three(value: float) -> str:
    if value <= 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f}"
