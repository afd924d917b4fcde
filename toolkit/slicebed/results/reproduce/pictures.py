"""The pictures of a reproduction: those of its campaigns, and Figure 9, which needs several of them."""

from __future__ import annotations

import logging
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.errors import SlicebedError
from slicebed.results.plots import save_figure, write_plots
from slicebed.results.referee.folder import is_search
from slicebed.results.referee.report import write_report
from slicebed.results.referee.style import STYLE
from slicebed.results.tables import write_tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_9 = "couper_fig9"
# Section -> which plots of which parts' campaigns show it.
_SHOWN: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "couper_fig4": (("fig4", "cuts__*.svg"),),
        "couper_fig10_12": tuple(
            (part, "best__*.svg") for part in ("fig10", "fig10_others", "fig11", "fig12", "fig12_others")
        ),
        "dnn_slicing": (("dnn_slicing", "figure*.svg"),),
    }
)
_BLUE, _ORANGE, _GREY = "#33608c", "#d9742b", "#666666"


def draw_campaigns(campaigns: Mapping[str, Path]) -> list[str]:
    """Write every campaign's own report and plots; what kept one from it, a line each."""
    notes = []
    for part, folder in campaigns.items():
        try:
            if is_search(folder):
                write_report(folder)
            else:
                write_tables(folder)
                write_plots(folder)
        except SlicebedError as error:
            notes.append(f"{part}, its own report: {error}")
    return notes


def pictures_of(section: str, campaigns: Mapping[str, Path]) -> list[Path]:
    """The plots that show a section, of the campaigns that have them."""
    return [
        path
        for part, pattern in _SHOWN.get(section, ())
        if part in campaigns
        for path in sorted((campaigns[part] / "plots").glob(pattern))
    ]


def draw_figure9(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write Figure 9 as SVG and PNG: latency and drop rate of cloud-only's; nothing without a row.

    Args:
        table: of `figure9.figure9`.
        folder: for the files.

    Returns:
        The SVG.
    """
    if table.empty:
        return []
    # Building its font list once is not worth a line on the user's screen.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only plotting should cost

    folder.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        return [save_figure(_figure9(table), folder, FIGURE_9)[0]]


def _figure9(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see draw_figure9

    rows = table.to_dict("records")
    figure = Figure(figsize=(max(6.0, 1.1 * len(rows) + 2.0), 5.6), layout="constrained")
    latency, drops = figure.subplots(2, 1, sharex=True)
    values = [float(row["latency_of_cloud"]) for row in rows]
    spans = [[abs(float(row[f"latency_of_cloud_{end}"]) - row["latency_of_cloud"]) for row in rows] for end in _ENDS]
    spans = [[each if math.isfinite(each) else 0.0 for each in span] for span in spans]
    latency.bar(range(len(rows)), values, 0.55, yerr=spans, color=_BLUE, ecolor=_GREY, capsize=2.5)
    drops.bar(range(len(rows)), [float(row["drop_rate_of_cloud"]) for row in rows], 0.55, color=_ORANGE)
    _finish(latency, "latency", "published: 0.10 to 0.60", (0.1, 0.6))
    _finish(drops, "frame drop rate", "published: 0.01 to 0.40", (0.01, 0.4))
    drops.set_xticks(range(len(rows)), [f"{row['model']}\n{row['condition']}" for row in rows], fontsize=8)
    figure.suptitle("Sliced, as a multiple of the whole model in the cloud", x=0.01, ha="left", fontsize=11)
    return figure


_ENDS = ("low", "high")


def _finish(axes: Axes, what: str, published: str, span: tuple[float, float]) -> None:
    style: dict[str, Any] = {"color": _GREY, "linewidth": 0.8}
    axes.axhline(1.0, linestyle="--", **style)
    axes.axhspan(*span, color="#eeeeee", zorder=0, label=published)
    axes.set_ylabel(f"{what}, of cloud-only's")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="upper right")
