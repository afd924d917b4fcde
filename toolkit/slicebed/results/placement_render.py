"""Placements on the terminal, no wider than 120 columns, and what the pipeline says of codecs and early exits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slicebed.results.placements import REST, is_slice, is_transfer, parts_of, title_of
from slicebed.spec.cuts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from rich.console import Console

    from slicebed.results.campaign import Campaign, FinishedRun

_CUT_LETTERS = 20
_MS_PER_S = 1000
_BROKEN = {"transformer": "trans-\nformer", "classifier": "class-\nifier", "overhead": "over-\nhead"}
_HEADINGS = {REST: "way back\nand\nrest"}


def render_placements(console: Console, campaign: Campaign, table: pd.DataFrame) -> None:
    """Print two tables for each configuration: what became of the frames, and where their time went."""
    rate = f"{campaign.frames_per_s:g} frame/s"
    for configuration, rows in table.groupby("configuration", sort=False):
        title = f"Configuration {configuration}  ·  {campaign.name}, wire {campaign.wire}, {rate}"
        console.print(_frames_table(title, rows))
        console.print(_parts_table(rows))
        console.print()


def pipeline_notes(campaign: Campaign) -> Iterator[Text]:
    """What the runs say of codecs and early exits: one line each that is different from those before."""
    said = dict.fromkeys(
        line
        for run in campaign.finished
        for line in (*_codec_lines(run), *_lossy_lines(run), *_early_lines(run), *_gap_lines(run))
    )
    for line in said:
        yield Text(line)


def _frames_table(title: str, rows: pd.DataFrame) -> Table:
    table = _new_table(title)
    table.add_column("hosts", no_wrap=True, style="dim")
    table.add_column("frame\ndrop\nrate", justify="right", no_wrap=True, style="bold")
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("median\nms", justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("p95\nms", justify="right", no_wrap=True)
    table.add_column("done\nof", justify="right", no_wrap=True)
    table.add_column("labels\nas the\nwhole's", justify="right", no_wrap=True)
    table.add_column("dropped at", overflow="fold")
    for row in rows.to_dict("records"):
        table.add_row(
            # A stream's are long: part, version and cut.
            escape(_name(row, "\n" if row["stretch"] else " ")),
            escape(str(row["chain"])),
            _number(row["frame_drop_rate"], 2),
            _range(row, "frame_drop_rate_low", "frame_drop_rate_high", 2),
            _number(row["latency_median_ms"], 0),
            _range(row, "latency_median_low_ms", "latency_median_high_ms", 0),
            _number(row["latency_p95_ms"], 0),
            f"{row['latency_n']}/{row['captured']}",
            _labels(row),
            escape(row["dropped_where"]),
        )
    return table


def _parts_table(rows: pd.DataFrame) -> Table:
    table = _new_table(
        "Mean of the completed frames in ms, by the parts of their way; a link is encoding + transfer + decoding"
    )
    parts = [part for part in parts_of(rows) if rows[part].notna().any()]
    for part in parts:
        table.add_column(_heading(part), justify="right", no_wrap=True)
    table.add_column("la-\ntency", justify="right", no_wrap=True, style="bold")
    for row in rows.to_dict("records"):
        values = (_brief(row[part]) for part in (*parts, "latency_mean_ms"))
        # Two lines, which leave room for a dozen parts.
        table.add_row(escape(_name(row, "\n")), *values)
    return table


def _new_table(title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("placement", no_wrap=True)
    return table


def _labels(row: dict[Any, Any]) -> str:
    """How many of the labels that were checked are the whole model's."""
    images = int(row["images"])
    return f"{round(row['labels_equal_share'] * images)}/{images}" if images else "-"


def _name(row: dict[Any, Any], between: str = " ") -> str:
    cut = str(row["cut"])
    name = str(row["stretch"] or row["placement"])
    if cut == WHOLE:
        return name
    return f"{name}{between}{cut if len(cut) <= _CUT_LETTERS else cut[: _CUT_LETTERS - 1] + '…'}"


def _heading(part: str) -> str:
    """Two or three short lines."""
    if part in _HEADINGS:
        return _HEADINGS[part]
    words = title_of(part).split()
    if is_slice(part):
        return f"{escape(words[0])}\nslices"
    if is_transfer(part):
        return f"{escape(words[0])}\nto\n{escape(words[1])}"
    return "\n".join(_BROKEN.get(word, word) for word in words)


def _codec_lines(run: FinishedRun) -> Iterator[str]:
    for note in run.summary.get("codecs", ()):
        if note.get("picked"):
            yield f"Codec of {note['host']} ({_run_name(run)}): {note.get('why') or note['picked']}"


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


def _gap_lines(run: FinishedRun) -> Iterator[str]:
    hosts = run.manifest.get("rejoined")
    if hosts:
        yield (
            f"In {run.path.name} the agent of {', '.join(sorted(set(hosts)))} was started again: what it did last"
            " before that may be missing from the parts of the way"
        )


def _run_name(run: FinishedRun) -> str:
    words = (run.stretch or run.placement, "" if run.cut == WHOLE else run.cut)
    return ", ".join(word for word in words if word)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _brief(value: float) -> str:
    """To a tenth, which says nothing of a second and more."""
    return _number(value, 1 if math.isnan(value) or abs(value) < _MS_PER_S else 0)


def _range(row: dict[Any, Any], low: str, high: str, digits: int) -> str:
    if math.isnan(row[low]):
        return "-"
    return f"{row[low]:.{digits}f}–{row[high]:.{digits}f}"  # noqa: RUF001 - an en dash is the sign for a range
