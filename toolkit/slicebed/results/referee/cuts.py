"""What every cut costs: one row per candidate of every problem, in the model's order, as Couper's Figure 4 has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError
from slicebed.results.campaign import Campaign
from slicebed.results.placements import in_order, parts_of, placement_table
from slicebed.results.referee.names import candidate_names
from slicebed.run.search.cells import cell_of, measure, read_cell
from slicebed.split.search.contracts import Figure, Measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.results.campaign import FinishedRun
    from slicebed.results.referee.folder import SearchFolder

FIRST_COLUMNS = (
    "problem", "model", "condition", "number", "name", "key", "placement", "cut", "place", "codec", "knobs", "chain",
    "cloud_only", "runs", "not_done", "captured", "completed", "dropped", "failed", "drop_rate", "drop_rate_low",
    "drop_rate_high", "latency_n", "latency_median_ms", "latency_median_low_ms", "latency_median_high_ms",
    "latency_p95_ms", "latency_p95_low_ms", "latency_p95_high_ms", "latency_mean_ms",
)  # fmt: skip
LAST_COLUMNS = (
    "bytes_per_frame", "bytes_low", "bytes_high", "throughput_per_s", "throughput_low", "throughput_high", "energy_j",
    "testbed_s", "predicted_latency_ms", "predicted_low_ms", "predicted_high_ms", "predicted_drop_rate",
)  # fmt: skip
"""Columns of ``tables/referee_cuts.csv``; between the first and the last stand the parts of the mean latency.

``number`` counts the candidates of a problem from 1; ``runs`` are the cells done, ``not_done`` those that failed or
were invalid and were not done since. Of several cells all frames count together, as the search itself counts them
(`slicebed.run.search.cells.measure`): intervals are 95 %, latencies those of the ``latency_n`` completed frames, drop
rate and throughput of the captured ones, bytes (over all links) and energy of a completed frame. The mean latency is
there for its parts, which sum to it.
"""
_OF_CANDIDATE = ("problem", "model", "condition", "key", "placement", "cut", "place", "codec", "knobs",
                 "predicted_latency_ms", "predicted_low_ms", "predicted_high_ms", "predicted_drop_rate")  # fmt: skip
_COUNTS = ("runs", "captured", "completed", "dropped", "failed", "latency_n")
_KNOWN = frozenset({*FIRST_COLUMNS, *LAST_COLUMNS})
# Metric of an objective -> columns of its value and its interval, and how many of their units are one of its.
_FIGURES = {
    "latency": (("latency_median_ms", "latency_median_low_ms", "latency_median_high_ms"), 1e3),
    "latency_p95": (("latency_p95_ms", "latency_p95_low_ms", "latency_p95_high_ms"), 1e3),
    "drop_rate": (("drop_rate", "drop_rate_low", "drop_rate_high"), 1.0),
    "throughput": (("throughput_per_s", "throughput_low", "throughput_high"), 1.0),
    "bytes": (("bytes_per_frame", "bytes_low", "bytes_high"), 1.0),
    "energy": (("energy_j",), 1.0),
}


def cuts_table(search: SearchFolder) -> pd.DataFrame:
    """One row for every candidate of every problem; those without a finished cell have no figures.

    Raises:
        RunError: a run's samples cannot be read, or the cells of a candidate are not of one cut.
    """
    rows: list[dict[str, Any]] = []
    for _, candidates in search.candidates.groupby("problem", sort=False):
        rows += _problem_rows(search, _in_models_order(candidates))
    parts = {column for row in rows for column in row} - _KNOWN
    hosts = list(dict.fromkeys(host for run in search.campaign.finished for host in run.manifest["spec"]["chain"]))
    table = pd.DataFrame(rows, columns=[*FIRST_COLUMNS, *in_order(parts, hosts), *LAST_COLUMNS])
    return table.astype(dict.fromkeys(("number", "not_done", *_COUNTS), "int64"))


def parts_in(table: pd.DataFrame) -> list[str]:
    """The columns that are parts of the latency, in order, as far as any row has them."""
    return [column for column in table.columns if column not in _KNOWN and table[column].notna().any()]


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """The candidates with a finished cell."""
    return table[table["runs"] > 0]


def figure_of(row: Mapping[Any, Any], metric: str) -> Figure:
    """A metric of a candidate in the metric's own unit; not a number where it was not measured."""
    columns, units = _FIGURES[metric]
    value, low, high = (*(float(row[column]) / units for column in columns), math.nan, math.nan)[:3]
    return Figure(value, low, high)


def measure_of(row: Mapping[Any, Any]) -> Measure:
    """A candidate's row as methods see measures."""
    figures = {metric: figure_of(row, metric) for metric in _FIGURES}
    return Measure(
        key=str(row["key"]),
        figures={metric: figure for metric, figure in figures.items() if not math.isnan(figure.value)},
        frames=int(row["captured"]),
        repeats=int(row["runs"]),
        testbed_s=float(row["testbed_s"]),
    )


def _in_models_order(candidates: pd.DataFrame) -> pd.DataFrame:
    """One placement after the other, each along the model; codecs and knobs of one cut beside each other."""
    placements = list(dict.fromkeys(candidates["placement"]))
    ordered = candidates.assign(_rank=[placements.index(name) for name in candidates["placement"]])
    return ordered.sort_values(["_rank", "place"], kind="stable")


def _problem_rows(search: SearchFolder, candidates: pd.DataFrame) -> list[dict[str, Any]]:
    records = candidates.to_dict("records")
    problem = records[0]["problem"]
    cells = search.cells[search.cells["problem"] == problem]
    not_done = {each.cell: each.candidate for each in search.attempts if not each.repeated}
    rows = []
    for number, (record, name) in enumerate(zip(records, candidate_names(records), strict=True), start=1):
        own = _usual(cells[cells["key"] == record["key"]])
        left_out = list(not_done.values()).count(f"{problem}/{record['key']}")
        row = {column: record[column] for column in _OF_CANDIDATE}
        row |= {"number": number, "name": name, "not_done": left_out, "chain": "", "cloud_only": False}
        rows.append(row | dict.fromkeys(_COUNTS, 0) | (_figures(search, own) if len(own) else {}))
    return rows


def _usual(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of a candidate that had as many frames as usual; without any, those that had the most."""
    usual: pd.Series[bool] = cells["frames"] == (0 if (cells["frames"] == 0).any() else cells["frames"].max())
    return cells[usual]


def _figures(search: SearchFolder, cells: pd.DataFrame) -> dict[str, Any]:
    """What the cells of one candidate gave, all frames together."""
    runs = search.runs_of(cells)
    table = placement_table(Campaign("", runs, ()))
    if len(table) != 1:
        raise RunError(
            f"its cells are of different cuts: {', '.join(table['cut'])}",
            where=f"cell {cells['cell'].iloc[0]}",
            mend="tables/cells.csv and the manifests of its runs do not belong together",
        )
    row = table.iloc[0].to_dict()
    key = str(cells["key"].iloc[0])
    found = measure(key, [read_cell(cell_of(run.manifest), run.path, run.manifest) for run in runs])
    told: dict[str, Any] = {"cloud_only": _is_cloud_only(runs[0]), "testbed_s": found.testbed_s}
    for metric, (columns, units) in _FIGURES.items():
        figure = found.figures.get(metric, Figure(math.nan, math.nan, math.nan))
        told |= dict(zip(columns, (units * each for each in (figure.value, figure.low, figure.high)), strict=False))
    kept = ("chain", *_COUNTS, "latency_mean_ms", *parts_of(table))
    return {column: row[column] for column in kept} | told


def _is_cloud_only(run: FinishedRun) -> bool:
    """Whether only the experiment's last host computes: the whole model there, pictures on the way to it."""
    stages: Mapping[str, Sequence[str]] = run.manifest.get("stages", {})
    computing = [host for host in run.chain if any(stage.startswith("slice") for stage in stages.get(host, ()))]
    return computing == [run.manifest["spec"]["chain"][-1]]
