"""The choices of the methods beside the whole model in the cloud, as Couper's Figure 9 shows them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slicebed.results.referee.names import problem_title, shortened
from slicebed.results.referee.style import GREY, PALE, legend, method_colours, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = (("latency", "(a) median latency"), ("drop", "(b) drop rate"))
_UPRIGHT_FROM = 7
_NAME_LETTERS = 40


def ratios_figure(normalised: pd.DataFrame, methods: pd.DataFrame, context: str) -> Figure:
    """A bar for every session's choice, a group of them for each problem; 1 is the cloud alone.

    Args:
        normalised: its table.
        methods: one session or more.
        context: campaign, wire and rate.
    """
    objectives = list(dict.fromkeys(methods["objective"]))
    methods = methods.assign(bar=[_name(row, several=len(objectives) > 1) for row in methods.to_dict("records")])
    problems = list(methods.groupby("problem", sort=False))
    names = list(dict.fromkeys(methods["bar"]))
    labels = [
        problem_title(shortened(str(own["model"].iloc[0]), 24), shortened(str(own["condition"].iloc[0]), 16))
        for _, own in problems
    ]
    upright = len(labels) >= _UPRIGHT_FROM
    height = 6.6 + (0.08 * max(map(len, labels)) if upright else 0.0)
    figure = new_figure(max(7.5, 0.19 * len(problems) * (len(names) + 1) + 2.0), height)
    panels = figure.subplots(2, 1, sharex=True)
    colours = method_colours(names)
    rows = {(row["problem"], row["key"]): row for row in normalised.to_dict("records")}
    for panel, (kind, title) in zip(panels, _PANELS, strict=True):
        _draw(panel, kind, [(own, problem) for problem, own in problems], rows, colours)
        panel.set_title(f"{title}, divided by that of the whole model in the cloud", fontsize=9)
    panels[-1].set_xticks(range(len(labels)), labels, fontsize=8, rotation=90 if upright else 0)
    panels[-1].set_xlim(-0.6, len(labels) - 0.4)
    figure.suptitle("What the methods chose, beside the cloud alone", x=0.01, ha="left", fontsize=11)
    handles, told = panels[0].get_legend_handles_labels()
    by = "" if len(objectives) > 1 else f"; chosen by {objectives[0]}"
    below = f"{context}{by}; intervals of the ratio at their widest, as far as the plot goes"
    legend(figure, dict(zip(told, handles, strict=True)), below)
    return figure


def _name(session: Mapping[Any, Any], *, several: bool) -> str:
    """A session as the legend names it: its objective, too, where there are several."""
    by = f", by {shortened(str(session['objective']).replace('_', ' '), _NAME_LETTERS)}" if several else ""
    return f"{session['method']}{by}"


def _draw(
    axes: Axes,
    kind: str,
    problems: Sequence[tuple[pd.DataFrame, Any]],
    rows: Mapping[tuple[str, str], Mapping[Any, Any]],
    colours: Mapping[str, str],
) -> None:
    width = 0.8 / len(colours)
    highest = top = 1.0
    for place, (sessions, problem) in enumerate(problems):
        missing = []
        for session in sessions.to_dict("records"):
            name = session["bar"]
            at = place - 0.4 + width * (list(colours).index(name) + 0.5)
            row = rows.get((problem, session["chosen"]), {})
            value = float(row.get(f"{kind}_ratio", math.nan))
            if math.isnan(value):
                missing.append((at, str(row.get("missing") or "its choice is not measured")))
                continue
            ends = [float(row[f"{kind}_ratio_{end}"]) for end in ("low", "high")]
            axes.bar(at, value, 0.92 * width, color=colours[name], label=name, edgecolor="black", linewidth=0.4)
            if not any(map(math.isnan, ends)):
                spread = [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]]
                axes.errorbar(
                    at, value, yerr=spread, fmt="o", ecolor="black", capsize=2, elinewidth=0.8, markersize=4,
                    markerfacecolor=colours[name], markeredgecolor="black",
                )  # fmt: skip
            highest, top = max(highest, value), max(top, value, *(end for end in ends if not math.isnan(end)))
        if len({why for _, why in missing}) == 1 and len(missing) == len(sessions):
            missing = [(float(place), missing[0][1])]
        for at, why in missing:
            axes.text(at, 0.03, shortened(why, 44), rotation=90, fontsize=7, color=GREY, ha="center", clip_on=True)
    axes.axhline(1.0, color="black", linewidth=0.9, linestyle="--", zorder=0)
    axes.annotate("cloud alone", (1.0, 1.0), (3, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                  fontsize=7.5, va="center", annotation_clip=False)  # fmt: skip
    # The interval of few drops is so wide that it would hide the bars.
    highest_shown = min(1.08 * top, 2.2 * highest)
    axes.set_ylim(-0.03 * highest_shown, highest_shown)
    axes.set_ylabel("ratio")
    axes.spines["right"].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
