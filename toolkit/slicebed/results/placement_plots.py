"""Where a frame's time goes in every placement, and how many are dropped: as Couper's Figures 2 and 4 show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicebed.results.placements import (
    CAMERA_QUEUE,
    CLASSIFIER,
    EXIT,
    OTHER_QUEUES,
    OVERHEAD,
    REST,
    TRANSFORMER,
    is_slice,
    is_transfer,
    parts_of,
    title_of,
)
from slicebed.spec.cuts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

_GREENS = ("#2f6b4f", "#5f9c7d", "#97c4ab", "#c9e2d4")
_BLUES = ("#33608c", "#86a9cb", "#bcd0e4", "#dfe8f1")
_OTHERS = {
    CAMERA_QUEUE: "#c9c9c9",
    OTHER_QUEUES: "#e2e2e2",
    TRANSFORMER: "#b99a4c",
    CLASSIFIER: "#8b6bb0",
    EXIT: "#c27ba0",
    OVERHEAD: "#efe3c2",
    REST: "#f0f0f0",
}
_ORANGE = "#d9742b"
_GREY = "#666666"


def placement_figure(configuration: str, rows: pd.DataFrame, context: str) -> Figure:
    """Stacked bars of the mean parts of latency on the left axis, points of the frame drop rate on the right one."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only plotting should cost

    figure = Figure(figsize=(max(8.0, 1.3 * len(rows) + 2.0), 5.0), layout="constrained")
    latency = figure.add_subplot()
    drop = latency.twinx()
    drop.spines["top"].set_visible(False)
    places = list(range(len(rows)))
    bottom = [0.0] * len(rows)
    colours = _colours(parts_of(rows))
    for part, colour in colours.items():
        heights = rows[part].fillna(0.0).tolist()
        latency.bar(places, heights, 0.55, bottom=bottom, color=colour, label=title_of(part))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    latency.plot(places, rows["latency_mean_ms"], "_", color="black", markersize=16, label="mean latency")
    rate = rows["frame_drop_rate"]
    drop.errorbar(
        places,
        rate,
        yerr=[rate - rows["frame_drop_rate_low"], rows["frame_drop_rate_high"] - rate],
        color=_ORANGE,
        marker="o",
        capsize=2.5,
        elinewidth=1,
        linestyle="none",
        label="frame drop rate, 95 % interval",
        zorder=4,
        clip_on=False,
    )
    latency.set_ylabel("mean of the completed frames (ms)")
    latency.set_ylim(0, 1.08 * max([*bottom, float(rows["latency_mean_ms"].max()), 1e-3]))
    drop.set_ylabel("frame drop rate", color=_ORANGE)
    drop.set_ylim(0, 1)
    latency.set_xticks(places, [_label(row) for row in rows.to_dict("records")], fontsize=8)
    latency.tick_params(axis="x", length=0)
    latency.set_xlim(-0.6, len(rows) - 0.4)
    figure.suptitle(
        f"Configuration {configuration}: latency by its parts, and frame drop rate", x=0.01, ha="left", fontsize=11
    )
    latency.set_title(context, color=_GREY, pad=8)
    handles, labels = latency.get_legend_handles_labels()
    more_handles, more_labels = drop.get_legend_handles_labels()
    figure.legend(handles + more_handles, labels + more_labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _colours(parts: list[str]) -> dict[str, str]:
    """Slices in greens, links in blues, as Couper's figures have them apart."""
    greens = (_GREENS[index % len(_GREENS)] for index in range(len(parts)))
    blues = (_BLUES[index % len(_BLUES)] for index in range(len(parts)))
    return {
        part: next(greens) if is_slice(part) else next(blues) if is_transfer(part) else _OTHERS[part] for part in parts
    }


def _label(row: Mapping[Any, Any]) -> str:
    lines = [str(row["stretch"] or row["placement"])]
    lines += [] if row["cut"] == WHOLE else [str(row["cut"])[:24]]
    return "\n".join([*lines, f"n = {row['latency_n']}"])
