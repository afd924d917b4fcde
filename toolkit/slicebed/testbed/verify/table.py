"""Verdicts as a reader wants them: one row per link in the shape of Couper's Table 3, and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from slicebed.testbed.verify.verdict import Quantity, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

# The columns of a link; what else was asked of it stands below, a line each.
_COLUMNS = (Quantity.RTT, Quantity.JITTER, Quantity.GOODPUT, Quantity.LOSS)
_UNITS = {
    Quantity.RTT: "ms",
    Quantity.JITTER: "ms",
    Quantity.ONE_WAY_JITTER: "ms",
    Quantity.GOODPUT: "Mbit/s",
    Quantity.FREQUENCY: "MHz",
    Quantity.MEMORY: "bytes",
}
_NAMES = {
    Quantity.RTT: "round trip",
    Quantity.JITTER: "jitter",
    Quantity.ONE_WAY_JITTER: "one-way jitter",
    Quantity.LOSS: "loss",
    Quantity.REORDER: "reordering",
    Quantity.DUPLICATE: "duplicates",
    Quantity.GOODPUT: "goodput",
    Quantity.FREQUENCY: "frequency",
    Quantity.CPU_QUOTA: "CPU quota",
    Quantity.MEMORY: "memory",
    Quantity.CORES: "cores",
}
_SHARES = frozenset({Quantity.LOSS, Quantity.REORDER, Quantity.DUPLICATE})


def links_table(verdicts: Sequence[Verdict], title: str = "Links, asked and measured") -> Table:
    """Give a table of the links for a terminal of 120 columns: one row per directed link, the interval at 95 %.

    A round trip stands in the row of the link as declared; the row of the way back has its goodput and loss.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("Link\n(wire)")
    for header in (
        "RTT ms\nasked", "\nmeasured", "Jitter ms\nasked", "\nmeasured",
        "Mbit/s\nasked", "goodput\nexpected", "\nmeasured", "Lost %\nasked", "\nmeasured",
    ):  # fmt: skip
        table.add_column(header, justify="right")
    for link in dict.fromkeys(verdict.link for verdict in verdicts if verdict.quantity in _COLUMNS):
        of = {verdict.quantity: verdict for verdict in verdicts if verdict.link == link}
        cells = [Text(f"{link}\n({next(iter(of.values())).wire})")]
        for quantity in _COLUMNS:
            cells += _cells(quantity, of.get(quantity))
        table.add_row(*cells)
    return table


def other_lines(verdicts: Sequence[Verdict]) -> list[Text]:
    """Give a line for each verdict that the table has no column for, and the reason of each that failed."""
    lines = []
    for verdict in verdicts:
        if verdict.quantity in _COLUMNS and verdict.passed:
            continue
        low, high = (_number(verdict.quantity, value) for value in (verdict.low, verdict.high))
        asked, measured = (_number(verdict.quantity, value) for value in (verdict.asked, verdict.measured))
        unit = "%" if verdict.quantity in _SHARES else _UNITS.get(verdict.quantity, "")
        tolerance = _number(verdict.quantity, verdict.tolerance)
        line = Text.assemble(
            (_word(verdict), "green" if verdict.passed else "red"),
            f"  {verdict.link}: {_NAMES[verdict.quantity]} asked {asked} {unit}".rstrip(),
            f", expected {_number(verdict.quantity, verdict.expected)}" if verdict.expected != verdict.asked else "",
            f", measured {measured} ({low} to {high}), tolerance {tolerance}, {verdict.samples} samples",
            f"; {verdict.detail}" if verdict.detail else "",
        )
        lines.append(line)
    return lines


def summary(verdicts: Sequence[Verdict]) -> Text:
    """Give the last line: how many of how many passed."""
    failed = sum(not verdict.passed for verdict in verdicts)
    if not verdicts:
        return Text("Nothing was asked that could be measured.")
    passed = f"{len(verdicts) - failed} of {len(verdicts)} verdicts passed"
    return Text(f"{passed}.", "green") if not failed else Text(f"{passed}, {failed} failed.", "red")


def to_csv(verdicts: Sequence[Verdict]) -> str:
    """Give one line per verdict, every field in full, under a line of their names."""
    file = io.StringIO()
    names = [field.name for field in fields(Verdict)]
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(verdict.to_plain() for verdict in verdicts)
    return file.getvalue()


def _cells(quantity: Quantity, verdict: Verdict | None) -> list[Text]:
    columns = 3 if quantity is Quantity.GOODPUT else 2
    if verdict is None:
        return [Text("")] * columns
    asked = [verdict.asked, verdict.expected] if quantity is Quantity.GOODPUT else [verdict.asked]
    colour = "green" if verdict.passed else "red"
    low, high = (_number(quantity, value) for value in (verdict.low, verdict.high))
    measured = Text.assemble(
        _number(quantity, verdict.measured), " ", (_word(verdict), colour), "\n", (f"{low}-{high}", "dim")
    )
    samples = Text(f"\nn={verdict.samples}", "dim")
    cells = [Text(_number(quantity, value)) for value in asked]
    return [cells[0] + samples, *cells[1:], measured]


def _word(verdict: Verdict) -> str:
    return "pass" if verdict.passed else "FAIL"


def _number(quantity: Quantity, value: float) -> str:
    if quantity in _SHARES:
        return f"{100 * value:.2f}"
    if quantity in {Quantity.MEMORY, Quantity.CORES, Quantity.FREQUENCY}:
        return f"{value:.0f}"
    return f"{value:.2f}"
