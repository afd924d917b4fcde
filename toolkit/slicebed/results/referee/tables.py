"""The referee's tables of a search, together, and as files."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.results.referee.cuts import cuts_table
from slicebed.results.referee.folder import Attempt, SearchFolder, read_search
from slicebed.results.referee.front import LATENCY_AND_DROPS, front_table
from slicebed.results.referee.methods import methods_table
from slicebed.results.referee.normalised import normalised_table
from slicebed.results.referee.predicted import predicted_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Referee:
    """What the referee says of a search.

    Attributes:
        name: of the campaign.
        wire: which wires joined the hosts.
        frames_per_s: rate of the source.
        cuts: see `cuts.FIRST_COLUMNS` and `cuts.LAST_COLUMNS`.
        methods: see `methods.COLUMNS`.
        normalised: see `normalised.COLUMNS`.
        predicted: see `predicted.COLUMNS`.
        metrics: the two of the front.
        front: see `front.front_table`.
        attempts: cells that failed, were invalid, or were cut off.
        notes: what else a reader must know, a sentence each.
    """

    name: str
    wire: str
    frames_per_s: float
    cuts: pd.DataFrame
    methods: pd.DataFrame
    normalised: pd.DataFrame
    predicted: pd.DataFrame
    metrics: tuple[str, str]
    front: pd.DataFrame
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...]


def referee_of(folder: Path | str, metrics: tuple[str, str] = LATENCY_AND_DROPS) -> Referee:
    """Judge a search.

    Args:
        folder: of the search.
        metrics: of the Pareto front.

    Raises:
        SpecError: it is no search, nothing of it is measured yet, or the metrics are not two that were measured.
        RunError: a table, a manifest or samples cannot be read.
    """
    search = read_search(Path(folder))
    cuts = cuts_table(search)
    methods = methods_table(search, cuts)
    normalised = normalised_table(cuts, methods)
    return Referee(
        name=search.campaign.name,
        wire=search.campaign.wire,
        frames_per_s=search.campaign.frames_per_s,
        cuts=cuts,
        methods=methods,
        normalised=normalised,
        predicted=predicted_table(cuts),
        metrics=metrics,
        front=front_table(cuts, metrics),
        attempts=search.attempts,
        notes=_notes(search, cuts, normalised),
    )


def write_tables(referee: Referee, folder: Path) -> tuple[Path, ...]:
    """Write the tables under ``tables/`` of a search's folder and return their paths."""
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    named = {
        "referee_cuts": referee.cuts,
        "referee_methods": referee.methods,
        "normalised": referee.normalised,
        "predicted": referee.predicted,
        f"pareto_{'_'.join(referee.metrics)}": referee.front,
    }
    written = []
    for stem, table in named.items():
        written.append(tables / f"{stem}.csv")
        table.to_csv(written[-1], index=False, float_format="%.6g")
    return tuple(written)


def to_json(referee: Referee) -> dict[str, Any]:
    """The report as JSON-ready values.

    Returns:
        ``{"campaign", "kind": "search", "wire", "cuts", "methods", "normalised", "predicted", "pareto", "not_done",
        "notes"}``: rows have the fields of the CSV tables, null where a figure is not known; ``pareto`` has
        ``metrics`` and ``rows``.
    """
    return {
        "campaign": referee.name,
        "kind": "search",
        "wire": referee.wire,
        "cuts": _rows(referee.cuts),
        "methods": _rows(referee.methods),
        "normalised": _rows(referee.normalised),
        "predicted": _rows(referee.predicted),
        "pareto": {"metrics": list(referee.metrics), "rows": _rows(referee.front)},
        "not_done": [asdict(attempt) for attempt in referee.attempts],
        "notes": list(referee.notes),
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.astype(object).to_dict("records")]


def _plain(value: Any) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _notes(search: SearchFolder, cuts: pd.DataFrame, normalised: pd.DataFrame) -> tuple[str, ...]:
    """What the folder says of itself, and what this report cannot say and why."""
    notes = list(search.notes)
    if search.decisions.empty:
        notes.append("No session has ended yet: there is nothing to say of methods.")
    stopped = search.decisions[search.decisions["stopped_by_budget"]]
    notes += [
        f"{row['problem']}, {row['method']}: stopped by the budget after {row['candidates_measured']:.0f} candidates;"
        " by itself it would have measured more."
        for row in stopped.to_dict("records")
    ]
    left_out = {each.cell or each.run: each.status for each in search.attempts if not each.repeated}
    if left_out:
        named = ", ".join(f"{cell} ({status})" for cell, status in left_out.items())
        notes.append(f"{len(left_out)} cell(s) not done, in no figure: {named}.")
    short = len(search.cells) - int(cuts["runs"].sum())
    if short:
        notes.append(f"{short} cell(s) of fewer frames stand aside, where their candidate has others of more.")
    nothing = cuts[(cuts["runs"] > 0) & (cuts["completed"] == 0)]
    if len(nothing):
        named = ", ".join(f"{row['problem']} {row['name']}" for row in nothing.to_dict("records"))
        notes.append(f"{len(nothing)} candidate(s) completed no frame and have no latency: {named}.")
    for problem, rows in normalised.groupby("problem", sort=False):
        if (rows["cloud_name"] == "").all():
            notes.append(f"{problem}: nothing to normalise by: {rows['missing'].iloc[0]}.")
    return tuple(notes)
