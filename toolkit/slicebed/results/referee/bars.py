"""Stacked latencies and drop rates by cut (Couper's Figure 4), above them what the methods chose (Figures 10-12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicebed.results.placements import title_of
from slicebed.results.referee.cuts import measured, parts_in
from slicebed.results.referee.names import problem_title, shortened, without_scope
from slicebed.results.referee.style import (
    DROP_COLOUR,
    GREY,
    PALE,
    legend,
    method_signs,
    new_figure,
    objective_colours,
    part_colours,
)
from slicebed.spec.cuts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More bars than this say less than the table.
_MOST_BARS = 80
_UPRIGHT_FROM = 9
_AXIS_LETTERS = 26
_BEST = "best known"


def cuts_figure(rows: pd.DataFrame, context: str) -> Figure:
    """Latency by its parts and drop rate of every cut of one problem.

    Args:
        rows: its table of cuts, with one measured cut or more.
        context: campaign, wire and rate.
    """
    shown = _shown(rows, frozenset())
    figure = new_figure(_width(len(shown)), 4.6 if len(shown) < _UPRIGHT_FROM else 5.2)
    axes = figure.add_subplot()
    handles = _draw(axes, shown, part_colours(_parts(rows)))
    _name_cuts(axes, shown)
    title = f"{_title(rows)}: latency by its parts, and drop rate, of every cut"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes.set_title(_evidence(rows, shown), color=GREY, pad=8, fontsize=8.5)
    legend(figure, handles, context)
    return figure


def best_figure(rows: pd.DataFrame, methods: pd.DataFrame, context: str) -> Figure:
    """The same for all conditions of a model, a panel each, with every method's choice marked above its bars.

    Args:
        rows: table of cuts of the model's problems, with one measured cut or more each.
        methods: sessions of these problems, one or more.
        context: as of `cuts_figure`.
    """
    problems = [_Panel.of(own, methods) for _, own in rows.groupby("problem", sort=False)]
    heights = [height for each in problems for height in (0.21 * len(each.lines) + 0.12, 2.9)]
    named = [index for index, each in enumerate(problems) if [*each.shown["key"]] != _keys_after(problems, index)]
    height = sum(heights) + 0.9 + 1.2 * len(named)
    figure = new_figure(_width(max(len(each.shown) for each in problems)), height)
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    signs, colours = method_signs(methods["method"]), objective_colours(methods["objective"])
    parts = part_colours(_parts(rows))
    handles: dict[str, Any] = {}
    for index, each in enumerate(problems):
        strip, axes = panels[2 * index], panels[2 * index + 1]
        handles |= _draw(axes, each.shown, parts)
        _name_cuts(axes, each.shown, names=index in named)
        strip.sharex(axes)
        for place, colour in _mark(strip, each, signs, colours).items():
            axes.axvspan(place - 0.5, place + 0.5, color=colour, alpha=0.13, linewidth=0, zorder=0)
        letter = f"({chr(97 + index % 26)}) " if len(problems) > 1 else ""
        condition = shortened(str(each.rows["condition"].iloc[0]), _AXIS_LETTERS)
        strip.set_title(f"{letter}{condition}: {_evidence(each.rows, each.shown)}", fontsize=9)
    figure.suptitle(f"{rows['model'].iloc[0]}: the cuts that the methods chose", x=0.01, ha="left", fontsize=11)
    handles |= {
        f"best for {shortened(name.replace('_', ' '), _AXIS_LETTERS)}": _sign(colour)
        for name, colour in colours.items()
    }
    legend(figure, handles, context)
    return figure


@dataclass(frozen=True)
class _Panel:
    """One problem: all its cuts, those that are shown, its sessions, and the lines of signs above the bars."""

    rows: pd.DataFrame
    shown: pd.DataFrame
    sessions: pd.DataFrame
    lines: tuple[str, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame, methods: pd.DataFrame) -> _Panel:
        own = methods[methods["problem"] == rows["problem"].iloc[0]]
        return cls(rows, _shown(rows, frozenset(own["chosen"])), own, (_BEST, *dict.fromkeys(own["method"])))


def _keys_after(problems: Sequence[_Panel], index: int) -> list[str]:
    """The cuts of the next panel: where they are the same, they need their names once."""
    return [*problems[index + 1].shown["key"]] if index + 1 < len(problems) else []


def _parts(rows: pd.DataFrame) -> list[str]:
    """The parts that took any time."""
    return [part for part in parts_in(rows) if (rows[part] > 0).any()]


def _shown(rows: pd.DataFrame, chosen: frozenset[str]) -> pd.DataFrame:
    """The cuts that were measured or should have been; of too many the fastest, and those that were chosen."""
    tried = rows[(rows["runs"] > 0) | (rows["not_done"] > 0)]
    if len(tried) <= _MOST_BARS:
        return tried
    fastest = set(tried.sort_values("latency_median_ms", kind="stable")["key"].head(_MOST_BARS))
    return tried[tried["key"].isin(fastest | chosen)]


def _draw(axes: Axes, rows: pd.DataFrame, colours: Mapping[str, str]) -> dict[str, Any]:
    """Bars on the left axis, drop rates on the right one; give what the legend names."""
    places = list(range(len(rows)))
    bottom = [0.0] * len(rows)
    handles: dict[str, Any] = {}
    width = 0.78 if len(rows) >= _UPRIGHT_FROM else 0.55
    for part, colour in colours.items():
        heights = rows[part].fillna(0.0).tolist()
        bars = axes.bar(places, heights, width, bottom=bottom, color=colour, edgecolor="white", linewidth=0.4)
        handles[title_of(part)] = bars
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    median = rows["latency_median_ms"]
    spread = [median - rows["latency_median_low_ms"], rows["latency_median_high_ms"] - median]
    handles["median latency, 95 % interval"] = axes.errorbar(
        places, median, yerr=[side.fillna(0.0) for side in spread], fmt="_", color="black", markersize=5, capsize=1.5,
        elinewidth=0.8, zorder=3,
    )  # fmt: skip
    nothing = [place for place, count in zip(places, rows["completed"], strict=True) if not count]
    if nothing:
        handles["no frame completed, or no finished cell"] = axes.plot(
            nothing, [0.0] * len(nothing), "x", color="black", markersize=6, clip_on=False, zorder=5
        )[0]
    drop = axes.twinx()
    handles["drop rate, 95 % interval"] = _draw_drops(drop, rows)
    axes.set_ylabel("mean latency of the\ncompleted frames (ms)")
    highest = max([*bottom, *rows["latency_median_high_ms"].dropna(), *median.dropna(), 1e-3])
    axes.set_ylim(0, 1.05 * highest)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.7, len(rows) - 0.3)
    return handles


def _draw_drops(axes: Axes, rows: pd.DataFrame) -> Any:
    """Points with a line along the cuts that differ in nothing else."""
    axes.spines["top"].set_visible(False)
    lines: dict[tuple[str, ...], list[tuple[int, float]]] = {}
    for place, row in enumerate(rows.to_dict("records")):
        whole = str(row["cut"] in {"", WHOLE})
        alike = (whole, row["placement"], row["codec"], row["knobs"])
        lines.setdefault(alike, []).append((place, row["drop_rate"]))
    for points in lines.values():
        axes.plot(*zip(*points, strict=True), color=DROP_COLOUR, linewidth=1.1)
    rate = rows["drop_rate"]
    line = axes.errorbar(
        range(len(rows)), rate, yerr=[rate - rows["drop_rate_low"], rows["drop_rate_high"] - rate], color=DROP_COLOUR,
        fmt="o", markersize=4.2, markerfacecolor="white", capsize=1.8, elinewidth=0.9, clip_on=False, zorder=4,
    )  # fmt: skip
    axes.set_ylabel("drop rate", color=DROP_COLOUR)
    axes.tick_params(axis="y", colors=DROP_COLOUR)
    # From 0, so that a line that is higher drops more; never so fine that the interval of no drop fills the plot.
    axes.set_ylim(0, 1)
    return line


def _mark(axes: Axes, panel: _Panel, signs: Mapping[str, str], colours: Mapping[str, str]) -> dict[int, str]:
    """A line per method, with its sign over the cut that it chose, and how many cuts it measured.

    Returns:
        The colours of the places that are marked.
    """
    place_of = {number: place for place, number in enumerate(panel.shown["number"])}
    marked = {}
    for session in panel.sessions.to_dict("records"):
        line, colour = panel.lines.index(session["method"]), colours[session["objective"]]
        told = f"{session['candidates_measured']} of {session['candidates']}"
        if session["best_number"] in place_of:
            _put(axes, place_of[session["best_number"]], 0, "+", colour)
        if session["number"] in place_of:
            _put(axes, place_of[session["number"]], line, signs[session["method"]], colour)
            marked[place_of[session["number"]]] = colour
        else:
            told += f"; its choice {shortened(str(session['name']), _AXIS_LETTERS)} is not measured"
        _beside(axes, line, told)
    _beside(axes, 0, "measured")
    axes.set_ylim(len(panel.lines) - 0.4, -0.6)
    axes.set_yticks(range(len(panel.lines)), [shortened(name, 16) for name in panel.lines], fontsize=7.5)
    axes.tick_params(axis="both", length=0)
    axes.tick_params(axis="x", labelbottom=False)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return marked


def _beside(axes: Axes, line: int, text: str) -> None:
    axes.annotate(text, (1.0, line), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                  fontsize=7, color=GREY, va="center", annotation_clip=False)  # fmt: skip


def _put(axes: Axes, place: int, line: int, sign: str, colour: str) -> None:
    axes.axvline(place, color=colour, linewidth=0.7, linestyle=":", zorder=1)
    stroke = {"markeredgewidth": 2.2, "color": colour} if sign == "+" else {"markeredgecolor": "black"}
    size = 10 if sign == "*" else 7
    axes.plot([place], [line], sign, markerfacecolor=colour, markersize=size, clip_on=False, zorder=3, **stroke)


def _sign(colour: str) -> Any:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - see new_figure

    return Line2D([], [], linestyle="none", marker="o", markerfacecolor=colour, markeredgecolor="black", markersize=7)


def _name_cuts(axes: Axes, rows: pd.DataFrame, *, names: bool = True) -> None:
    """Number and name of every cut, or the numbers alone."""
    upright = len(rows) >= _UPRIGHT_FROM
    labels = [str(number) for number in rows["number"]]
    place: dict[str, Any] = {}
    if names:
        short = without_scope([str(name) for name in rows["name"]])
        labels = [f"{label}  {shortened(name, _AXIS_LETTERS)}" for label, name in zip(labels, short, strict=True)]
        place = {"rotation": 90} if upright else {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(rows)), labels, fontsize=7.5 if upright else 8.5, **place)
    axes.tick_params(axis="x", length=0, pad=6)


def _evidence(rows: pd.DataFrame, shown: pd.DataFrame) -> str:
    """How many cuts and frames are behind a plot, and what is not in it."""
    there = measured(rows)
    counts = there["latency_n"]
    least, most = (int(counts.min()), int(counts.max())) if len(there) else (0, 0)
    words = [f"{len(there)} of {len(rows)} candidates measured"]
    words += [f"n = {least} frames each" if least == most else f"n = {least} to {most} completed frames each"]
    not_done = int(rows["not_done"].sum())
    words += [f"{not_done} cell{'s' * (not_done > 1)} not done"] if not_done else []
    if len(shown) < len(there):
        words.append(f"the {len(shown)} fastest shown")
    return ", ".join(words)


def _title(rows: pd.DataFrame) -> str:
    return problem_title(str(rows["model"].iloc[0]), str(rows["condition"].iloc[0]))


def _width(bars: int) -> float:
    return max(7.5, 0.27 * bars + 2.4)
