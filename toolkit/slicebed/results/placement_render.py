"""Placements on the terminal, no wider than 120 columns, and what the pipeline says of codecs and early exits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slicebed.results.placements import is_slice, is_transfer, parts_of, title_of
from slicebed.spec.cuts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from rich.console import Console

    from slicebed.results.campaign import Campaign, FinishedRun

_CUT_LETTERS = 20
# More than these leave no room in 120 columns; the CSV file has all.
_MOST_PARTS = 9


def render_placements(console: Console, campaign: Campaign, table: pd.DataFrame) -> None:
    """Print one table for each configuration."""
    for configuration, rows in table.groupby("configuration", sort=False):
        console.print(_table(campaign, str(configuration), rows))
        for row in rows.to_dict("records"):
            if row["dropped_where"]:
                console.print(f"  {escape(_name(row))} dropped at: {escape(row['dropped_where'])}", style="dim")
        console.print("Parts of a frame's way are means of the completed frames, in ms; links with their codecs.\n")


def pipeline_notes(campaign: Campaign) -> Iterator[Text]:
    """What the runs say of codecs and early exits: one line each that is different from those before."""
    said = dict.fromkeys(
        line for run in campaign.finished for line in (*_codec_lines(run), *_lossy_lines(run), *_early_lines(run))
    )
    for line in said:
        yield Text(line)


def _table(campaign: Campaign, configuration: str, rows: pd.DataFrame) -> Table:
    title = (
        f"Configuration {configuration}  ·  {campaign.name}, wire {campaign.wire}, {campaign.frames_per_s:g} frame/s"
    )
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    parts = [part for part in parts_of(rows) if rows[part].notna().any()][:_MOST_PARTS]
    table.add_column("\n\nplacement", overflow="fold")
    table.add_column("\nframe\ndrop", justify="right", no_wrap=True, style="bold")
    table.add_column("\nrate\n95 %", no_wrap=True, style="dim")
    table.add_column("\nmedian\nms", justify="right", no_wrap=True)
    table.add_column("\np95\nms", justify="right", no_wrap=True)
    table.add_column("\ndone\nof", justify="right", no_wrap=True)
    for part in parts:
        table.add_column(_heading(part), justify="right", no_wrap=True)
    for row in rows.to_dict("records"):
        cells = [
            escape(_name(row)),
            _number(row["frame_drop_rate"], 2),
            f"{_number(row['frame_drop_rate_low'], 2)}–{_number(row['frame_drop_rate_high'], 2)}",  # noqa: RUF001 - a range
            _number(row["latency_median_ms"], 0),
            _number(row["latency_p95_ms"], 0),
            f"{row['latency_n']}/{row['captured']}",
        ]
        table.add_row(*cells, *(_number(row[part], 1) for part in parts))
    return table


def _name(row: dict[Any, Any]) -> str:
    cut = str(row["cut"])
    if cut == WHOLE:
        return str(row["placement"])
    return f"{row['placement']} {cut if len(cut) <= _CUT_LETTERS else cut[: _CUT_LETTERS - 1] + '…'}"


def _heading(part: str) -> str:
    """Three lines, of a word each."""
    words = title_of(part).split()
    kind = "slices" if is_slice(part) else "link" if is_transfer(part) else ""
    lines = [*words[:-1], kind] if kind else words
    return "\n".join([""] * (3 - len(lines)) + [escape(line) for line in lines])


def _codec_lines(run: FinishedRun) -> Iterator[str]:
    for note in run.summary.get("codecs", ()):
        if note.get("picked"):
            yield f"Codec of {note['host']} ({_run_name(run)}): {note['picked']}: {note.get('why', '')}"


def _lossy_lines(run: FinishedRun) -> Iterator[str]:
    answers = run.summary.get("answers", {})
    if answers.get("lossy") and answers.get("images_checked"):
        share, error = answers["labels_equal_share"], answers["max_abs_error"]
        yield (
            f"Codec {run.manifest['spec']['pipeline']['codec']} ({_run_name(run)}): {share:.1%} of"
            f" {answers['images_checked']} labels as the whole model's, outputs within {error:.2g}"
        )


def _early_lines(run: FinishedRun) -> Iterator[str]:
    early = run.summary.get("early")
    if not early:
        return
    accuracy, others = (_share(early.get(key)) for key in ("accuracy", "accuracy_of_others"))
    yield (
        f"Early exits ({_run_name(run)}): {early['frames']} frames, {early['share']:.1%} of those completed; accuracy"
        f" {accuracy}, of the others {others}; labels as the whole model's {_share(early.get('labels_equal_share'))}"
    )


def _run_name(run: FinishedRun) -> str:
    words = (run.placement, "" if run.cut == WHOLE else run.cut)
    return ", ".join(word for word in words if word)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
