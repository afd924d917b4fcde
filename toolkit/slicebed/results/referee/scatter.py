"""A panel per problem: what was predicted against what was measured, and the front of two metrics."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from slicebed.results.referee.names import problem_title, shortened
from slicebed.results.referee.style import BLUE, DROP_COLOUR, GREY, PALE, new_figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
# Of an axis: name and unit of each metric, and how many of these are one of the metric's own.
_SHOWN = {
    "latency": ("median latency (ms)", 1e3),
    "latency_p95": ("95th percentile of latency (ms)", 1e3),
    "drop_rate": ("drop rate", 1.0),
    "throughput": ("throughput (frame/s)", 1.0),
    "bytes": ("sent per completed frame (MB)", 1e-6),
    "energy": ("energy per completed frame (J)", 1.0),
}
_NUMBERED = 24


def predicted_figure(known: pd.DataFrame, context: str) -> Figure:
    """Predicted latency across, measured upwards, both with their intervals; on the line they are the same.

    Args:
        known: as `predicted_and_measured` gives it, one row or more.
        context: campaign, wire and rate.
    """
    figure, panels = _panels(known, "Predicted and measured latency")
    for panel, rows in panels:
        median, predicted = rows["latency_median_ms"], rows["predicted_latency_ms"]
        _points(
            panel, (predicted, median),
            (predicted - rows["predicted_low_ms"], rows["predicted_high_ms"] - predicted),
            (median - rows["latency_median_low_ms"], rows["latency_median_high_ms"] - median), BLUE,
        )  # fmt: skip
        top = 1.08 * float(rows[["latency_median_ms", "predicted_latency_ms", "predicted_high_ms"]].max().max())
        panel.plot([0, top], [0, top], color="black", linewidth=0.9, zorder=1)
        panel.fill_between([0, top], [0, 0.9 * top], [0, 1.1 * top], color=PALE, zorder=0, linewidth=0)
        panel.set_xlim(0, top)
        panel.set_ylim(0, top)
        panel.set_aspect("equal")
        panel.set_xlabel("predicted (ms)")
        panel.set_ylabel("measured median (ms)")
        told = f"median error {rows['error'].median():.1%}, {int(rows['inside'].sum())} of {len(rows)} inside"
        panel.set_title(f"{_title(rows)}\n{told}", fontsize=8.5)
    _caption(
        figure,
        context,
        "95 % intervals; grey: within 10 %. The predictions are the last ones of the search, which had seen what was"
        " measured by then.",
    )
    return figure


def front_figure(front: pd.DataFrame, metrics: tuple[str, str], context: str) -> Figure:
    """Every measured candidate by two metrics; those that no other beats in both are joined and numbered.

    Args:
        front: its table, one row or more.
        metrics: across and upwards.
        context: campaign, wire and rate.
    """
    (across, scale), (up, other_scale) = _SHOWN[metrics[0]], _SHOWN[metrics[1]]
    figure, panels = _panels(front, f"Front of {metrics[0].replace('_', ' ')} and {metrics[1].replace('_', ' ')}")
    for panel, rows in panels:
        for on_front, colour in ((False, "#9a9a9a"), (True, DROP_COLOUR)):
            own = rows[rows["on_front"] == on_front].sort_values(metrics[0], kind="stable")
            x, y = own[metrics[0]] * scale, own[metrics[1]] * other_scale
            _points(
                panel, (x, y),
                tuple((own[metrics[0]] - own[f"{metrics[0]}{end}"]).abs() * scale for end in ("_low", "_high")),
                tuple((own[metrics[1]] - own[f"{metrics[1]}{end}"]).abs() * other_scale for end in ("_low", "_high")),
                colour,
            )  # fmt: skip
            if on_front:
                panel.plot(x, y, color=colour, linewidth=1.1, drawstyle="steps-post" if _less(metrics) else "default")
                _number(panel, own, x, y)
        panel.set_xlabel(across)
        panel.set_ylabel(up)
        # A little below 0, so that a point without drops is seen whole.
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=-0.04 * panel.get_ylim()[1])
        panel.set_title(f"{_title(rows)}\n{int(rows['on_front'].sum())} of {len(rows)} on the front", fontsize=8.5)
    _caption(
        figure,
        context,
        "95 % intervals where there are any; on the front: no other is better in both. Numbers are those of the cuts.",
    )
    return figure


def _less(metrics: tuple[str, str]) -> bool:
    return "throughput" not in metrics


def _panels(rows: pd.DataFrame, title: str) -> tuple[Figure, Iterator[tuple[Axes, pd.DataFrame]]]:
    """A figure with a panel for each problem."""
    groups = [own for _, own in rows.groupby("problem", sort=False)]
    across = min(_COLUMNS, len(groups))
    down = math.ceil(len(groups) / across)
    figure = new_figure(max(5.5, 3.7 * across), 3.7 * down + 1.0)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in panels[len(groups) :]:
        spare.set_visible(False)
    for panel in panels:
        panel.spines["right"].set_visible(False)
        panel.grid(color=PALE, linewidth=0.6)
        panel.set_axisbelow(True)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure, zip(panels, groups, strict=False)


def _caption(figure: Figure, *paragraphs: str) -> None:
    """Below everything, in lines that fit."""
    letters = int(14 * figure.get_figwidth())
    lines = [line for text in paragraphs for line in textwrap.wrap(text, letters)]
    figure.supxlabel("\n".join(lines), fontsize=8, color=GREY, x=0.01, ha="left")


def _points(axes: Axes, at: tuple[Any, Any], across: tuple[Any, ...], up: tuple[Any, ...], colour: str) -> None:
    """Points, each with what its intervals reach to the left and right of it, and below and above."""
    axes.errorbar(
        *at, xerr=[side.fillna(0.0).clip(lower=0.0) for side in across],
        yerr=[side.fillna(0.0).clip(lower=0.0) for side in up], fmt="o", color=colour, markersize=4.5,
        ecolor=(colour, 0.5), elinewidth=0.7, markeredgecolor="white", markeredgewidth=0.5, zorder=3,
    )  # fmt: skip


def _number(axes: Axes, rows: pd.DataFrame, x: Any, y: Any) -> None:
    for index, (number, a, b) in enumerate(zip(rows["number"], x, y, strict=True)):
        if index < _NUMBERED:
            axes.annotate(str(number), (a, b), (4, 4), textcoords="offset points", fontsize=7.5)


def _title(rows: pd.DataFrame) -> str:
    return problem_title(shortened(str(rows["model"].iloc[0]), 28), shortened(str(rows["condition"].iloc[0]), 20))
