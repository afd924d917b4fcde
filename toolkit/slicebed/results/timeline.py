"""What happened while a stream ran: its events as text and table, and every frame's latency over time."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from rich.text import Text

from slicebed.run.stream.timeline import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from slicebed.results.campaign import Campaign, FinishedRun

_SHOWN_EVENTS = 40
_COLOURS = ("#33608c", "#5f9c7d", "#8b6bb0", "#b99a4c", "#c27ba0", "#2f6b4f")
_ORANGE = "#d9742b"
_GREY = "#666666"


def timeline_lines(timeline: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """The latest events, a line each, below a heading; nothing for what was no stream."""
    if not timeline:
        return
    left_out = len(timeline) - _SHOWN_EVENTS
    yield Text(
        "Timeline" + (f" ({left_out} earlier events: tables/timeline.csv)" if left_out > 0 else ""), style="bold"
    )
    for plain in timeline[-_SHOWN_EVENTS:]:
        yield Text(str(_event(plain)))


def write_timeline(timeline: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Write ``timeline.csv``: seconds since the stream began, the event, and what goes with it as JSON."""
    path = folder / "timeline.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("at_s", "event", "facts"))
        for event in map(_event, timeline):
            rows.writerow((event.at_s, event.name, json.dumps(event.facts)))
    return path


def parts_of_stream(campaign: Campaign) -> dict[Path, list[FinishedRun]]:
    """The versions of every part of a stream, by its folder; nothing of other campaigns."""
    found: dict[Path, list[FinishedRun]] = {}
    for run in campaign.finished:
        if run.version is not None:
            found.setdefault(run.path, []).append(run)
    return found


def timeline_figure(versions: Sequence[FinishedRun], context: str) -> Figure:
    """Latency of every completed frame over time, in the colour of its cut; dropped and failed frames at the bottom."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only plotting should cost

    figure = Figure(figsize=(10.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines["right"].set_visible(False)
    lost: list[float] = []
    for index, run in enumerate(versions):
        frames, colour = run.samples, _COLOURS[index % len(_COLOURS)]
        done = frames[frames["end"] == "completed"]
        label = f"v{run.version}: {run.cut} ({len(done)} of {len(frames)} frames)"
        axes.plot(done["captured_s"], done["latency_ms"], ".", color=colour, markersize=4, label=label)
        axes.axvline(float(frames["captured_s"].min()), color=colour, linewidth=1, linestyle="--")
        lost += frames["captured_s"][frames["end"].isin(["dropped", "failed"])].tolist()
    if lost:
        axes.plot(lost, [0.0] * len(lost), "|", color=_ORANGE, label=f"dropped or failed ({len(lost)} frames)")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("captured, seconds after the first frame; a dashed line where a cut begins")
    axes.set_ylabel("latency (ms)")
    axes.set_title(context, color=_GREY, pad=8)
    figure.suptitle(f"{versions[0].path.name}: latency over time, by the cut", x=0.01, ha="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _event(plain: Mapping[str, Any]) -> Event:
    return Event(plain["at_s"], plain["event"], {key: plain[key] for key in plain if key not in {"at_s", "event"}})
