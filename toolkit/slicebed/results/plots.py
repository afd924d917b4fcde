"""Plots like the paper's Figures 4-6, measured beside published, and the latencies that the paper does not show."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from slicebed.results.campaign import read_campaign
from slicebed.results.placement_plots import placement_figure
from slicebed.results.published import PAPER_FIGURE, PAPER_FRAMES, REFERENCE, is_published
from slicebed.results.tables import table_of
from slicebed.results.timeline import parts_of_stream, timeline_figure
from slicebed.spec.cuts import is_numbers

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _MIDDLE_BLUE, _PALE_BLUE = "#33608c", "#86a9cb", "#dfe8f1"
_RED, _PALE_RED = "#a83a22", "#d18b7b"
_GREY = "#666666"
# Of a cut's name in one line below an axis.
_AXIS_LETTERS = 18
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.edgecolor": _GREY,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    # The same figure gives the same file, so that kept plots show up in a diff only when they changed.
    "svg.hashsalt": "slicebed",
}


def write_plots(campaign_dir: Path, reference: Path = REFERENCE) -> tuple[Path, ...]:
    """Write the campaign's plots under ``plots/``, each as SVG and PNG, and return their paths.

    One figure per configuration (``figure4`` to ``figure6`` for the paper's, else ``figure_<name>``) shows the total
    time and the frame drop rate of every cut; ``latency`` shows median and 95th percentile. An experiment with
    placements has ``placements_<configuration>`` instead, and a stream ``timeline_<part>``: every frame's latency over
    time, by the version of the cut. No complete run, no plot.

    Raises:
        RunError: no such campaign, or a finished run that cannot be read.
    """
    campaign = read_campaign(campaign_dir)
    table = table_of(campaign, reference)
    if table.empty:
        return ()
    # Building its font list once is not worth a line on the user's screen.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only plotting should cost

    folder = campaign_dir / "plots"
    folder.mkdir(exist_ok=True)
    context = f"{campaign.name}, wire {campaign.wire}"
    written: list[Path] = []
    if campaign.has_placements:
        with mpl.rc_context(STYLE):
            for configuration, rows in table.groupby("configuration", sort=False):
                figure = placement_figure(str(configuration), rows, context)
                written += save_figure(figure, folder, f"placements_{configuration}")
            for path, versions in parts_of_stream(campaign).items():
                written += save_figure(timeline_figure(versions, context), folder, f"timeline_{path.name}")
        return tuple(written)
    with mpl.rc_context(STYLE):
        for configuration, rows in table.groupby("configuration", sort=False):
            name = str(configuration)
            published = is_published(campaign.spec_of(name), name, reference)
            stem = f"figure{PAPER_FIGURE[name]}" if published else f"figure_{name}"
            written += save_figure(_configuration_figure(name, rows, context), folder, stem)
        written += save_figure(_latency_figure(table, context), folder, "latency")
    return tuple(written)


def save_figure(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write a figure as SVG and PNG; the same figure gives the same SVG."""
    svg, png = folder / f"{stem}.svg", folder / f"{stem}.png"
    # The places that the layout finds differ behind the twelfth digit now and then, and names in the SVG with them.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(each, 9) for each in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))
    figure.savefig(svg, metadata={"Date": None})
    figure.savefig(png, dpi=150)
    return [svg, png]


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see write_plots

    return Figure(figsize=(width, height), layout="constrained")


def _configuration_figure(configuration: str, rows: pd.DataFrame, context: str) -> Figure:
    """Bars of total time on the left axis, points of frame drop rate on the right one."""
    figure = _new_figure(max(5.0, 1.15 * len(rows) + 1.2), 4.4)
    time = figure.add_subplot()
    drop = time.twinx()
    drop.spines["top"].set_visible(False)
    places = range(len(rows))
    published = bool(rows["published_time_s"].notna().any())
    width = 0.36 if published else 0.5
    shift = width / 2 if published else 0.0
    left = [place - shift for place in places]
    time.bar(left, rows["total_time_s"], width, color=_MIDDLE_BLUE, label="total time")
    rate = rows["frame_drop_rate"]
    drop.errorbar(
        left,
        rate,
        yerr=[rate - rows["frame_drop_rate_low"], rows["frame_drop_rate_high"] - rate],
        color=_RED,
        marker="o",
        capsize=2.5,
        elinewidth=1,
        label="frame drop rate, 95 % interval",
        zorder=4,
        clip_on=False,
    )
    if published:
        right = [place + shift for place in places]
        time.bar(
            right, rows["published_time_s"], width, color=_PALE_BLUE, label=f"total time, paper ({PAPER_FRAMES} frames)"
        )
        drop.plot(
            right,
            rows["published_drop_rate"],
            linestyle=":",
            color=_PALE_RED,
            marker="o",
            markerfacecolor="white",
            markeredgecolor=_RED,
            label="frame drop rate, paper",
            zorder=3,
            clip_on=False,
        )
    time.set_ylabel("total time (s)", color=_BLUE)
    drop.set_ylabel("frame drop rate", color=_RED)
    tallest = float(rows[["total_time_s", "published_time_s"]].max().max())
    time.set_ylim(0, 1.05 * tallest)
    drop.set_ylim(0, 1)
    _cut_axis(time, rows)
    least, most = int(rows["captured"].min()), int(rows["captured"].max())
    frames = f"{least}" if least == most else f"{least} to {most}"
    figure.suptitle(
        f"Configuration {configuration}: total time and frame drop rate by cut", x=0.01, ha="left", fontsize=11
    )
    time.set_title(f"{context}; n = {frames} frames per cut", color=_GREY, pad=8)
    handles, labels = time.get_legend_handles_labels()
    more_handles, more_labels = drop.get_legend_handles_labels()
    columns = 4 if len(rows) >= 6 else 2
    figure.legend(handles + more_handles, labels + more_labels, loc="outside lower center", ncols=columns, fontsize=8)
    return figure


def _latency_figure(table: pd.DataFrame, context: str) -> Figure:
    """Median and 95th percentile of completed frames, a panel per configuration, each with its own scale from 0."""
    groups = list(table.groupby("configuration", sort=False))
    most = max(len(rows) for _, rows in groups)
    figure = _new_figure(max(5.0, 1.0 * most + 1.2), 2.3 * len(groups) + 1.2)
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for panel, (configuration, rows) in zip(panels, groups, strict=True):
        places = list(range(len(rows)))
        seconds = rows[["latency_median_ms", "latency_median_low_ms", "latency_median_high_ms", "latency_p95_ms"]] / 1e3
        median = seconds["latency_median_ms"]
        panel.vlines(places, median, seconds["latency_p95_ms"], color=_MIDDLE_BLUE, linewidth=4, zorder=1)
        panel.plot(places, seconds["latency_p95_ms"], "_", color=_BLUE, markersize=11, label="95th percentile")
        low = (median - seconds["latency_median_low_ms"]).fillna(0)
        high = (seconds["latency_median_high_ms"] - median).fillna(0)
        panel.errorbar(
            places,
            median,
            yerr=[low, high],
            fmt="o",
            color=_RED,
            capsize=3,
            elinewidth=1,
            label="median, 95 % interval",
            zorder=3,
        )
        panel.set_title(f"Configuration {configuration}")
        panel.set_ylabel("latency (s)")
        panel.set_ylim(0, _top_s(rows))
        panel.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        panel.set_axisbelow(True)
        panel.spines["right"].set_visible(False)
        _cut_axis(panel, rows, counts=True, kinds=panel is panels[-1])
    figure.suptitle(f"Latency of the completed frames by cut ({context})", x=0.01, ha="left", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _folded(name: str) -> list[str]:
    """A name in lines that leave its neighbours room, broken between its words where it has some."""
    lines = []
    while len(name) > _AXIS_LETTERS:
        place = max(name.rfind(mark, 0, _AXIS_LETTERS) for mark in "/_+") + 1
        lines.append(name[: place or _AXIS_LETTERS])
        name = name[len(lines[-1]) :]
    return [*lines, name]


def _top_s(rows: pd.DataFrame) -> float:
    highest = rows[["latency_p95_ms", "latency_median_high_ms"]].max().max()
    # Without one completed frame there is nothing to scale by.
    return 1.08 * float(highest) / 1e3 if highest > 0 else 1.0


def _cut_axis(axes: Axes, rows: pd.DataFrame, *, counts: bool = False, kinds: bool = True) -> None:
    """A label for each cut: its layers, how many frames were completed, and the kinds of its layers or its names."""
    labels = []
    for row in rows.to_dict("records"):
        numbered = is_numbers(str(row["cut"]))
        lines = [str(row["cut"])] if numbered else []
        lines += [f"n = {row['latency_n']}"] if counts else []
        names = str(row["split"]).replace("BatchNormalization", "BatchNorm").split(" - ")
        # Without numbers the names are all there is to tell the cuts apart by, in every panel.
        lines += [line for name in names for line in _folded(name)] if kinds or not numbered else []
        labels.append("\n".join(lines))
    axes.set_xticks(range(len(rows)), labels, fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(rows) - 0.4)
