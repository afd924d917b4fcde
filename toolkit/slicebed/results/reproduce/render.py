"""A reproduction on the terminal, no wider than 120 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slicebed.results.reproduce.page import cell_texts
from slicebed.results.reproduce.section import STOPPED
from slicebed.results.reproduce.statement import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from slicebed.results.reproduce.report import Report
    from slicebed.results.reproduce.section import Section

_COLOURS = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.OPEN: "yellow"}
# Columns that the files and the page have, and the terminal has no room for.
_LEFT_OUT = ("_low", "_high", "_low_ms", "_high_ms")
_LEFT_OUT_TOO = frozenset({
    "published_latency_of_cloud", "published_drop_rate_of_cloud", "figure", "all_measured", "testbed_s", "table",
})  # fmt: skip
_MOST_ROWS = 48
_LETTERS = 19
_FACTS = 4


def render_report(console: Console, report: Report) -> None:
    """Print every table with its statements, and how many hold."""
    for section in report.sections:
        console.print(f"[bold]{escape(section.title)}[/]")
        console.print(_table(section) if len(section.table) else "  Nothing of it was measured.")
        if any(section.stopped):
            console.print(Text(STOPPED))
        console.print(Text(f"Compare: {section.comparable} Do not compare: {section.not_comparable}", style="dim"))
        console.print(_statements(section))
    for note in report.notes:
        console.print(Text(f"Not measured: {note}", style="yellow"))
    told = ", ".join(f"[{_COLOURS[verdict]}]{count} {verdict}[/]" for verdict, count in report.verdicts.items())
    console.print(f"[bold]Statements[/]  {told}")


def _table(section: Section) -> Table:
    shown, table = _new_table(), section.shown
    columns = [
        str(column) for column in table.columns if not str(column).endswith(_LEFT_OUT) and column not in _LEFT_OUT_TOO
    ]
    for column in columns:
        number = table[column].dtype.kind in "iuf"
        published = column.startswith("published_")
        shown.add_column(
            _heading(column), justify="right" if number else "left", style="cyan" if published else "", no_wrap=True
        )
    rows = cell_texts(section)
    for row in rows[:_MOST_ROWS]:
        shown.add_row(*(escape(_short(row[column])) for column in columns))
    if len(rows) > _MOST_ROWS:
        shown.caption = f"and {len(rows) - _MOST_ROWS} more rows in the files"
    return shown


def _statements(section: Section) -> Table:
    shown = _new_table()
    shown.add_column("verdict", no_wrap=True)
    shown.add_column("statement of the paper", ratio=5)
    shown.add_column("here", ratio=6)
    for each in section.statements:
        facts = [fact.text for fact in each.facts[:_FACTS]]
        more = [f"and {len(each.facts) - _FACTS} more"] if len(each.facts) > _FACTS else []
        here = "\n".join([each.why, *(f"· {line}" for line in (*facts, *more))])
        verdict = f"[{_COLOURS[each.verdict]}]{each.verdict}[/]"
        shown.add_row(verdict, f"{escape(each.text)}\n[dim]{escape(each.source)}[/]", escape(here))
    return shown


def _new_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _heading(column: str) -> str:
    return escape(column.replace("published_", "paper_").replace("_", "\n"))


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"…{text[1 - _LETTERS :]}"


def plan_table(rows: Sequence[tuple[str, str, int, int, float]]) -> Table:
    """What a reproduction will take: part, file, problems, cells and seconds of each."""
    shown = _new_table()
    for name in ("part", "experiment"):
        shown.add_column(name, no_wrap=True)
    for name in ("models x conditions", "cells, about", "minutes, about"):
        shown.add_column(name, justify="right", no_wrap=True)
    for part, file, problems, cells, seconds in rows:
        shown.add_row(part, file, str(problems), str(cells), f"{seconds / 60:.1f}")
    total = sum(row[4] for row in rows)
    shown.add_row(
        "[bold]all[/]", "", str(sum(row[2] for row in rows)), str(sum(row[3] for row in rows)), f"{total / 60:.1f}"
    )
    return shown
