"""The referee's report: tables, plots, and one page that holds both and needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from slicebed.results.placements import title_of
from slicebed.results.referee import words
from slicebed.results.referee.cuts import measured, parts_in
from slicebed.results.referee.front import LATENCY_AND_DROPS
from slicebed.results.referee.methods import minutes_by_method, runs_by_method, stopped_by_method
from slicebed.results.referee.names import problem_title
from slicebed.results.referee.plots import best_stem, cuts_stem, front_stem, write_plots
from slicebed.results.referee.tables import Referee, referee_of, write_tables
from slicebed.spec.objective import METRICS

if TYPE_CHECKING:
    import pandas as pd

_TEMPLATE = "report.html.j2"
_NOT_METHODS = frozenset({"problem", "model", "condition", "objective", "candidates"})


def write_report(folder: Path | str, metrics: tuple[str, str] = LATENCY_AND_DROPS) -> Path:
    """Judge a search and write ``tables/``, ``plots/`` and ``report.html`` into its folder.

    Args:
        folder: of the search, which may still go on.
        metrics: of the Pareto front.

    Returns:
        The page.

    Raises:
        SpecError: it is no search, nothing of it is measured yet, or the metrics were not measured.
        RunError: a table, a manifest or samples cannot be read.
    """
    return write_judged(referee_of(folder, metrics), Path(folder))


def write_judged(referee: Referee, folder: Path) -> Path:
    """As `write_report`, of a search that is judged already."""
    write_tables(referee, folder)
    plots = write_plots(referee, folder)
    page = folder / "report.html"
    partial = page.with_name(f"{page.name}.new")
    partial.write_text(_page(referee, {stem: svg for stem, (svg, _) in plots.items()}), encoding="utf-8")
    partial.replace(page)
    return page


def _page(referee: Referee, plots: dict[str, Path]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        name: getattr(words, name) for name in ("amount", "at_least", "ends", "share", "shares", "number")
    }
    environment.globals |= {"title": problem_title, "part_title": title_of, "units": METRICS}
    there = measured(referee.cuts)
    return environment.get_template(_TEMPLATE).render(
        referee=referee,
        captured=int(there["captured"].sum()),
        completed=int(there["completed"].sum()),
        cells=int(there["runs"].sum()),
        measured=len(there),
        decisions=_records(referee.methods),
        stopped=_records(stopped_by_method(referee.methods)),
        runs=_by_method(runs_by_method(referee.methods)),
        minutes=_by_method(minutes_by_method(referee.methods)),
        models=_models(referee, {stem: _image(path) for stem, path in plots.items()}),
        normalised=[row for row in _records(referee.normalised) if row["chosen_by"]],
        predicted=_records(referee.predicted),
        images={stem: _image(plots[stem]) for stem in ("normalised", "predicted") if stem in plots},
        front=_image(plots[front_stem(referee.metrics)]) if front_stem(referee.metrics) in plots else "",
        on_front=_records(referee.front[referee.front["on_front"]]) if len(referee.front) else [],
    )


def _models(referee: Referee, images: dict[str, str]) -> list[dict[str, Any]]:
    """Of every model the plot of what was chosen, and of each of its problems plot and table of the cuts."""
    found = []
    for model, rows in referee.cuts.groupby("model", sort=False):
        problems = [
            {
                "title": problem_title(str(model), str(own["condition"].iloc[0])),
                "image": images.get(cuts_stem(str(problem)), ""),
                "parts": parts_in(own),
                "rows": _records(own[(own["runs"] > 0) | (own["not_done"] > 0)]),
                "candidates": len(own),
            }
            for problem, own in rows.groupby("problem", sort=False)
        ]
        found.append({"name": str(model), "image": images.get(best_stem(str(model)), ""), "problems": problems})
    return found


def _by_method(rows: pd.DataFrame) -> dict[str, Any]:
    """A table with a column per method."""
    return {"methods": [column for column in rows.columns if column not in _NOT_METHODS], "rows": _records(rows)}


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows with not-a-number for every figure that is not known."""
    return table.astype(object).where(table.notna(), float("nan")).to_dict("records")


def _image(path: Path) -> str:
    """A plot inside a page: as an image, in which nothing can run."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
