"""The referee's plots of a search, as files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from slicebed.results.plots import save_figure
from slicebed.results.referee.bars import best_figure, cuts_figure
from slicebed.results.referee.names import stem_of
from slicebed.results.referee.predicted import predicted_and_measured
from slicebed.results.referee.ratios import ratios_figure
from slicebed.results.referee.scatter import front_figure, predicted_figure
from slicebed.results.referee.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

    from slicebed.results.referee.tables import Referee


def write_plots(referee: Referee, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write every plot as SVG and PNG under ``plots/`` of a search's folder.

    ``cuts__<problem>`` (Couper's Figure 4), ``best__<model>`` (Figures 10-12), ``normalised`` (Figure 9), ``predicted``
    and ``pareto_<metric>_<metric>``; each only where there is something to show.

    Returns:
        Both files by the plot's name without an ending.
    """
    # Building its font list once is not worth a line on the user's screen.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only plotting should cost

    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    written = {}
    with mpl.rc_context(STYLE):
        for stem, figure in _figures(referee):
            svg, png = save_figure(figure, plots, stem)
            written[stem] = (svg, png)
    return written


def cuts_stem(problem: str) -> str:
    """Name of the plot of a problem's cuts."""
    return stem_of("cuts", problem)


def best_stem(model: str) -> str:
    """Name of the plot of what was chosen for a model."""
    return stem_of("best", model)


def front_stem(metrics: tuple[str, str]) -> str:
    """Name of the plot of a front."""
    return f"pareto_{'_'.join(metrics)}"


def _figures(referee: Referee) -> Iterator[tuple[str, Figure]]:
    context = f"{referee.name}, wire {referee.wire}, {referee.frames_per_s:g} frame/s"
    tried = referee.cuts.groupby("problem", sort=False).filter(lambda rows: bool((rows["runs"] > 0).any()))
    for problem, rows in tried.groupby("problem", sort=False):
        yield cuts_stem(str(problem)), cuts_figure(rows, context)
    for model, rows in tried.groupby("model", sort=False):
        own = referee.methods[referee.methods["problem"].isin(rows["problem"])]
        if len(own):
            yield best_stem(str(model)), best_figure(rows, own, context)
    if len(referee.methods) and referee.normalised["latency_ratio"].notna().any():
        yield "normalised", ratios_figure(referee.normalised, referee.methods, context)
    predicted = predicted_and_measured(referee.cuts)
    if len(predicted):
        yield "predicted", predicted_figure(predicted, context)
    if len(referee.front):
        yield front_stem(referee.metrics), front_figure(referee.front, referee.metrics, context)
