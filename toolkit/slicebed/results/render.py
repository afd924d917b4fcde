"""A campaign on the terminal: one table per configuration, no wider than 120 columns."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slicebed.results.placement_render import pipeline_notes, render_placements
from slicebed.results.places import dropped_places
from slicebed.results.published import PAPER_FRAMES, PAPER_TABLE
from slicebed.results.timeline import timeline_lines
from slicebed.spec.cuts import is_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from rich.console import Console

    from slicebed.results.campaign import Campaign

_SHORT = {"BatchNormalization": "BNorm", "MaxPooling2D": "Pool", "Conv2D": "Conv", "Flatten": "Flat"}
# More places than this leave no room in 120 columns; the rarest are then counted together.
_PLACE_COLUMNS = 3
_ELSEWHERE = "else-\nwhere"


def render(console: Console, campaign: Campaign, table: pd.DataFrame) -> None:
    """Print the tables, what goes with them, and the attempts that are not in them."""
    if campaign.has_placements:
        render_placements(console, campaign, table)
    else:
        _render_cuts(console, campaign, table)
    for note in pipeline_notes(campaign):
        console.print(note)
    for line in timeline_lines(campaign.timeline):
        console.print(line, soft_wrap=True)
    if campaign.unfinished:
        console.print("[bold]Not in the tables[/bold]")
    for attempt in campaign.unfinished:
        why = "" if attempt.error is None else f": {escape(attempt.error)}"
        status = f"{attempt.status}, completed since" if attempt.repeated else attempt.status
        console.print(f"  {escape(attempt.run)} [yellow]{escape(status)}[/yellow]{why}", soft_wrap=True)


def _render_cuts(console: Console, campaign: Campaign, table: pd.DataFrame) -> None:
    for configuration, rows in table.groupby("configuration", sort=False):
        console.print(_table(campaign, str(configuration), rows))
        console.print(_footnote(rows, campaign.frames_per_s))
        console.print()
    if table.empty:
        console.print("No complete run yet.")
    else:
        console.print(_summary(table))


def _summary(table: pd.DataFrame) -> str:
    """The whole campaign in a few lines: where every frame went, and each configuration's drop rate in the mean."""
    total = table[["runs", "captured", "completed", "dropped", "failed"]].sum()
    frames = f"{total['captured']} frames captured = {total['completed']} completed + {total['dropped']} dropped"
    lines = [f"[bold]Summary[/bold]  {total['runs']} runs: {frames} + {total['failed']} failed."]
    for configuration, rows in table.groupby("configuration", sort=False):
        published = rows["published_drop_rate"].mean()
        beside = "" if math.isnan(published) else f" (paper, same cuts: {published:.2f})"
        rate = f"frame drop rate {rows['frame_drop_rate'].mean():.2f}{beside}"
        latency = f"median latency {_span(rows['latency_median_ms'].round())} ms"
        lines.append(f"  configuration {escape(str(configuration))}, {len(rows)} cuts: {rate}, {latency}")
    return "\n".join(lines)


def _short_split(split: str) -> str:
    for long, short in _SHORT.items():
        split = split.replace(long, short)
    return split


def _table(campaign: Campaign, configuration: str, rows: pd.DataFrame) -> Table:
    number = PAPER_TABLE.get(configuration)
    published = bool(rows["published_time_s"].notna().any())
    beside = f" beside the paper's Table {number}" if published else ""
    title = f"Configuration {configuration}{beside}  ·  {campaign.name}, wire {campaign.wire}"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    places = _place_columns(rows)
    numbered = any(is_numbers(cut) for cut in rows["cut"])
    _add_columns(table, places, numbered=numbered, published=published)
    for row in rows.to_dict("records"):
        by_number = is_numbers(row["cut"])
        cells = [row["cut"] if by_number else ""] if numbered else []
        cells += [_short_split(row["split"]) if by_number else escape(row["split"])]
        cells += [_number(row["total_time_s"], 1)]
        cells += [_number(row["published_time_s"], 1)] if published else []
        cells += [_number(row["frame_drop_rate"], 2), _range(row, "frame_drop_rate_low", "frame_drop_rate_high", 2)]
        cells += [_number(row["published_drop_rate"], 2)] if published else []
        cells += [
            _number(row["latency_median_ms"], 0),
            _range(row, "latency_median_low_ms", "latency_median_high_ms", 0),
            _number(row["latency_p95_ms"], 0),
            f"{row['latency_n']}/{row['captured']}",
        ]
        counts = Counter({f"{host}\n{stage}": count for host, stage, count in dropped_places(row["dropped_where"])})
        named = [counts.pop(place, 0) for place in places if place != _ELSEWHERE]
        cells += [str(count or "") for count in ([*named, counts.total()] if _ELSEWHERE in places else named)]
        table.add_row(*cells)
    return table


def _add_columns(table: Table, places: list[str], *, numbered: bool, published: bool) -> None:
    if numbered:
        table.add_column("\n\ncut", no_wrap=True)
    # The one column that may wrap: the cuts of a long chain have long names.
    table.add_column(
        "\n\nafter layers" if numbered else "\n\ncut after", style="dim" if numbered else "", overflow="fold"
    )
    table.add_column("total\ntime\ns", justify="right", no_wrap=True)
    if published:
        table.add_column("\npaper\ns", justify="right", no_wrap=True, style="cyan")
    table.add_column("frame\ndrop\nrate", justify="right", no_wrap=True, style="bold")
    table.add_column("\n\n95 %", no_wrap=True, style="dim")
    if published:
        table.add_column("\npaper\nrate", justify="right", no_wrap=True, style="cyan")
    table.add_column("\nmedian\nms", justify="right", no_wrap=True)
    table.add_column("latency\n\n95 %", no_wrap=True, style="dim")
    table.add_column("\np95\nms", justify="right", no_wrap=True)
    table.add_column("\ndone\nof", justify="right", no_wrap=True)
    for index, place in enumerate(places):
        table.add_column(f"{'dropped' if index == 0 else ''}\n{escape(place)}", justify="right", no_wrap=True)


def _place_columns(rows: pd.DataFrame) -> list[str]:
    """Where frames were dropped in any row, the most frequent place first."""
    counts: Counter[str] = Counter()
    for text in rows["dropped_where"]:
        for host, stage, count in dropped_places(text):
            counts[f"{host}\n{stage}"] += count
    places = [place for place, _ in counts.most_common()]
    return places if len(places) <= _PLACE_COLUMNS else [*places[: _PLACE_COLUMNS - 1], _ELSEWHERE]


def _footnote(rows: pd.DataFrame, frames_per_s: float) -> Text:
    """What the table rests on; red where slices did not give the whole model's labels or a frame failed."""
    text = Text(style="dim")
    images = int(rows["images"].sum())
    if images:
        weights = rows["images"]
        equal = round(float((rows["labels_equal_share"].fillna(0) * weights).sum()))
        labelled = rows[rows["accuracy"].notna()]
        known = int(labelled["images"].sum())
        correct = float((labelled["accuracy"] * labelled["images"]).sum()) / known if known else math.nan
        worst = float(rows["max_abs_error"].max())
        text.append(
            f"Labels as the whole model's: {equal} of {images} images, outputs within {worst:.1g}; "
            f"accuracy {_number(correct, 3)}. ",
            style="dim" if equal == images else "bold red",
        )
    failed = int(rows["failed"].sum())
    if failed:
        text.append(f"{failed} frame(s) failed. ", style="bold red")
    text.append("95 %: Wilson (frame drop), order statistics (median latency of the frames done).")
    per_run = rows["captured"] / rows["runs"]
    if rows["published_time_s"].notna().any():
        text.append(
            f" Total times are the source's: {_span(per_run)} frames at {frames_per_s:g} a second here, "
            f"{PAPER_FRAMES} at about one a second in the paper.",
            style="yellow",
        )
    return text


def _span(values: pd.Series[float]) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _range(row: Mapping[Any, float], low: str, high: str, digits: int) -> str:
    if math.isnan(row[low]):
        return "-"
    return f"{row[low]:.{digits}f}–{row[high]:.{digits}f}"  # noqa: RUF001 - an en dash is the sign for a range
