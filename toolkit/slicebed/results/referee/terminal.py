"""The referee's report on the terminal, no wider than 120 columns."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slicebed.results.referee.cuts import measured
from slicebed.results.referee.methods import minutes_by_method, runs_by_method, stopped_by_method
from slicebed.results.referee.names import problem_title, shortened, without_scope
from slicebed.results.referee.words import NOT_KNOWN, amount, at_least, ends, number, share, shares
from slicebed.spec.objective import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from slicebed.results.referee.tables import Referee

_PROBLEM_LETTERS, _NAME_LETTERS, _METHOD_LETTERS = 24, 22, 12
# Of a table with a column per method; the others are in the CSV tables and on the page.
_MOST_METHODS = 6
_NOT_METHODS = frozenset({"problem", "model", "condition", "objective", "candidates"})


def show(console: Console, referee: Referee, *, front: bool = False) -> None:
    """Print what every method chose, what that took, the cuts where there is one problem, and what is left out.

    Args:
        console: where to.
        referee: what it says.
        front: whether to print the candidates on its front as well.
    """
    title = f"{referee.name}, wire {referee.wire}, {referee.frames_per_s:g} frame/s"
    if len(referee.methods):
        console.print(_decisions(referee.methods, title))
        stopped = stopped_by_method(referee.methods)
        runs, minutes = runs_by_method(referee.methods), minutes_by_method(referee.methods)
        console.print(_by_method(runs, stopped, "Candidates measured (Couper, Table 5)", 0))
        console.print(_by_method(minutes, stopped, "Minutes to a decision (Couper, Table 6)", 1))
    if len(referee.predicted):
        console.print(_predicted(referee.predicted))
    problems = list(measured(referee.cuts).groupby("problem", sort=False))
    if len(problems) == 1:
        console.print(_cuts(problems[0][1]))
    elif problems:
        console.print(f"{len(problems)} problems; their cuts: tables/referee_cuts.csv, report.html")
    if front:
        console.print(_front(referee.front[referee.front["on_front"]], referee.metrics))
    for note in referee.notes:
        console.print(Text(note), soft_wrap=True)
    for attempt in referee.attempts:
        since = ", done since" if attempt.repeated else ""
        why = f": {attempt.error}" if attempt.error else ""
        console.print(Text(f"  {attempt.cell or attempt.run} {attempt.status}{since}{why}"), soft_wrap=True)


def _new_table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _decisions(methods: pd.DataFrame, title: str) -> Table:
    objectives = list(dict.fromkeys(methods["objective"]))
    by = f", by {objectives[0]}" if len(objectives) == 1 else ""
    table = _new_table(f"What the methods chose{by}  ·  {title}")
    table.add_column("problem", overflow="fold", max_width=_PROBLEM_LETTERS)
    table.add_column("method", overflow="fold", max_width=_METHOD_LETTERS)
    table.add_column("cut", overflow="fold", max_width=_NAME_LETTERS, style="bold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("regret", justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True, style="dim")
    table.add_column("meas-\nured", justify="right", no_wrap=True)
    table.add_column("minutes", justify="right", no_wrap=True)
    for row in methods.to_dict("records"):
        unit = row["unit"]
        objective = "" if by else f" by {row['objective']}"
        known = not pd.isna(row["number"])
        table.add_row(
            escape(problem_title(row["model"], row["condition"])),
            escape(f"{row['method']}{objective}"),
            escape(f"{row['number']} {shortened(row['name'], _NAME_LETTERS - 4)}" if known else str(row["name"])),
            amount(unit, row["value"]),
            ends(unit, row["value_low"], row["value_high"]),
            str(row["n"]) if known else NOT_KNOWN,
            share(row["regret"]),
            shares(row["regret_low"], row["regret_high"]),
            f"{row['candidates_measured']}/{row['candidates']}",
            number(row["time_to_decision_s"] / 60, 1),
        )
    return table


def _by_method(rows: pd.DataFrame, stopped: pd.DataFrame, title: str, digits: int) -> Table:
    names = [name for name in rows.columns if name not in _NOT_METHODS]
    left_out = f"; {len(names) - _MOST_METHODS} more methods: report.html" if len(names) > _MOST_METHODS else ""
    table = _new_table(title + left_out)
    table.add_column("problem", overflow="fold", max_width=_PROBLEM_LETTERS + 8)
    table.add_column("candidates", justify="right", no_wrap=True)
    for name in names[:_MOST_METHODS]:
        table.add_column(escape(name), justify="right", overflow="fold", max_width=_METHOD_LETTERS)
    for row, cut_short in zip(rows.to_dict("records"), stopped.to_dict("records"), strict=True):
        values = (
            "" if pd.isna(row[name]) else at_least(number(float(row[name]), digits), cut_short[name])
            for name in names[:_MOST_METHODS]
        )
        table.add_row(escape(problem_title(row["model"], row["condition"])), str(row["candidates"]), *values)
    return table


def _predicted(rows: pd.DataFrame) -> Table:
    table = _new_table("Last predictions of the latency, by all that was measured")
    table.add_column("problem", overflow="fold", max_width=_PROBLEM_LETTERS + 8)
    for name in ("measured", "median error", "inside predicted 95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.to_dict("records"):
        table.add_row(
            escape(problem_title(row["model"], row["condition"])),
            f"{row['n']} of {row['candidates']}",
            share(row["median_error"]),
            f"{row['inside']} of {row['n']} ({share(row['coverage'])})",
        )
    return table


def _cuts(rows: pd.DataFrame) -> Table:
    table = _new_table("Cuts, in the model's order; latencies in ms")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("cut", overflow="fold", max_width=_NAME_LETTERS + 12)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("done\nof", justify="right", no_wrap=True)
    table.add_column("drop\nrate", justify="right", no_wrap=True, style="bold")
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("median", justify="right", no_wrap=True, style="bold")
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("p95", justify="right", no_wrap=True)
    table.add_column("pre-\ndicted", justify="right", no_wrap=True, style="cyan")
    table.add_column("MB a\nframe", justify="right", no_wrap=True)
    records = rows.to_dict("records")
    for row, name in zip(records, without_scope([str(row["name"]) for row in records]), strict=True):
        table.add_row(str(row["number"]), escape(shortened(name, _NAME_LETTERS + 12)), *_figures(row))
    return table


def _front(rows: pd.DataFrame, metrics: tuple[str, str]) -> Table:
    names = [metric.replace("_", " ") for metric in metrics]
    table = _new_table(f"Front of {' and '.join(names)}: no other candidate of the problem is better in both")
    table.add_column("problem", overflow="fold", max_width=_PROBLEM_LETTERS)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("cut", overflow="fold", max_width=_NAME_LETTERS)
    table.add_column("done\nof", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, style="bold")
        table.add_column("95 %", no_wrap=True, style="dim")
    for row in rows.to_dict("records"):
        figures = (
            (amount(METRICS[metric], row[metric]), ends(METRICS[metric], row[f"{metric}_low"], row[f"{metric}_high"]))
            for metric in metrics
        )
        table.add_row(
            escape(problem_title(row["model"], row["condition"])),
            str(row["number"]),
            escape(shortened(row["name"], _NAME_LETTERS)),
            f"{row['completed']}/{row['captured']}",
            *chain.from_iterable(figures),
        )
    return table


def _figures(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return (
        str(row["runs"]),
        f"{row['completed']}/{row['captured']}",
        number(row["drop_rate"], 2),
        _range(row["drop_rate_low"], row["drop_rate_high"], 2),
        number(row["latency_median_ms"], 1),
        _range(row["latency_median_low_ms"], row["latency_median_high_ms"], 1),
        number(row["latency_p95_ms"], 0),
        number(row["predicted_latency_ms"], 1),
        number(row["bytes_per_frame"] / 1e6, 2),
    )


def _range(low: float, high: float, digits: int) -> str:
    if NOT_KNOWN in {number(low, digits), number(high, digits)}:
        return NOT_KNOWN
    return f"{number(low, digits)}–{number(high, digits)}"  # noqa: RUF001 - an en dash is the sign for a range
