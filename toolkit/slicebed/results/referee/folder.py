"""The folder of a search as it was left: its tables, the runs behind its cells, and cells that are not done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError, SpecError
from slicebed.results.campaign import Campaign, FinishedRun, read_campaign

if TYPE_CHECKING:
    from pathlib import Path

# What is read of each table; it may have more columns.
CELLS = ("cell", "problem", "model", "condition", "placement", "cut", "place", "codec", "knobs", "run")
CANDIDATES = ("problem", "model", "condition", "key", "placement", "cut", "place", "codec", "knobs",
              "predicted_latency_ms", "predicted_low_ms", "predicted_high_ms", "predicted_drop_rate")  # fmt: skip
DECISIONS = ("problem", "model", "condition", "method", "objective", "chosen", "cut", "why", "runs",
             "candidates_measured", "testbed_s", "decision_s", "regret_predicted", "prediction_error")  # fmt: skip
# Everything else is text, also where it looks like a number or like a missing value.
_NUMBERS = frozenset({
    "place", "predicted_latency_ms", "predicted_low_ms", "predicted_high_ms", "predicted_drop_rate", "runs",
    "candidates_measured", "testbed_s", "decision_s", "regret_predicted", "prediction_error",
})  # fmt: skip
_SEARCH = "search"
_FAILED, _PARTIAL = ".failed-", ".partial"


@dataclass(frozen=True)
class Attempt:
    """A cell that was begun and whose figures are no results.

    Attributes:
        run: its name.
        cell: its id; empty where it was cut off before it could say.
        problem: of the cell; empty as `cell`.
        status: as its manifest says, or "cut off" without one.
        error: why.
        repeated: whether the same run was done since.
    """

    run: str
    cell: str
    problem: str
    status: str
    error: str
    repeated: bool


@dataclass(frozen=True)
class SearchFolder:
    """A search and everything that it measured so far.

    Attributes:
        campaign: the runs.
        cells: of ``tables/cells.csv``, those whose run is there; column ``key`` is the candidate's.
        candidates: of ``tables/candidates.csv``, or what is known of them from cells where no session has ended.
        decisions: of ``tables/decisions.csv``; empty where no session has ended.
        attempts: cells that are not done, or were not at first.
        notes: what a reader must know of the folder itself, a sentence each.
    """

    campaign: Campaign
    cells: pd.DataFrame
    candidates: pd.DataFrame
    decisions: pd.DataFrame
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...]

    def runs_of(self, cells: pd.DataFrame) -> tuple[FinishedRun, ...]:
        """The runs behind some of the cells, in their order."""
        by_name = {run.path.name: run for run in self.campaign.finished}
        return tuple(by_name[name] for name in cells["run"])


def is_search(folder: Path) -> bool:
    """Whether a campaign's folder is a search's; one that cannot be told is none."""
    return _plan(folder).get("kind") == _SEARCH


def read_search(folder: Path) -> SearchFolder:
    """Read a search's folder.

    Raises:
        SpecError: no such folder, or it is no search's, or nothing of it is measured yet.
        RunError: a table or a manifest cannot be read.
    """
    campaign = read_campaign(folder)
    if not is_search(folder):
        raise SpecError("not the folder of a search", where=str(folder), mend="name a folder that slicebed search made")
    tables = folder / "tables"
    if not (tables / "cells.csv").is_file():
        raise SpecError("no cell is measured yet", where=str(folder), mend="go on with slicebed search --resume")
    told = _with_keys(_table(tables / "cells.csv", CELLS))
    there = told["run"].isin([run.path.name for run in campaign.finished])
    cells = told[there].reset_index(drop=True)
    return SearchFolder(
        campaign=campaign,
        cells=cells,
        candidates=_candidates(_table(tables / "candidates.csv", CANDIDATES), cells),
        decisions=_table(tables / "decisions.csv", DECISIONS),
        attempts=_attempts(folder, {run.path.name for run in campaign.finished}),
        notes=_notes(told, told[~there], campaign),
    )


def _plan(folder: Path) -> dict[str, Any]:
    try:
        plan = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def _table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """A table with the columns that are needed; without rows where the file is not there yet."""
    if not path.is_file():
        return pd.DataFrame(columns=list(needed))
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [column for column in needed if column not in table.columns]
        if missing:
            raise RunError(f"the table lacks {', '.join(missing)}", where=str(path))
        for column in _NUMBERS.intersection(needed):
            table[column] = pd.to_numeric(table[column].where(table[column] != "")).astype(float)
    except (OSError, ValueError) as error:
        raise RunError(f"the table cannot be read: {error}", where=str(path)) from None
    return table


def _with_keys(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells with the key of their candidate, which stands in their id between problem and repeat."""
    keys = [
        str(cell).removeprefix(f"{problem}/").rpartition("/r")[0]
        for cell, problem in zip(cells["cell"], cells["problem"], strict=True)
    ]
    return cells.assign(key=keys)


def _candidates(candidates: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The candidates, and those that have cells while no session has ended that could have written them."""
    both = pd.concat([candidates, cells[[column for column in cells if column in CANDIDATES]]], ignore_index=True)
    return both.drop_duplicates(["problem", "key"]).reset_index(drop=True)


def _attempts(folder: Path, done: set[str]) -> tuple[Attempt, ...]:
    found = []
    for path in sorted(each for each in folder.iterdir() if each.is_dir()):
        run, failed, _ = path.name.partition(_FAILED)
        run = run.removesuffix(_PARTIAL)
        if not failed and run == path.name:
            continue
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # It was cut off before it could say more, or is under way.
            manifest = {}
        found.append(
            Attempt(
                run=run,
                cell=str(manifest.get("cell", "")),
                problem=str(manifest.get("problem", "")),
                status=str(manifest.get("status", "cut off")),
                error=str(manifest.get("error") or ""),
                repeated=run in done,
            )
        )
    return tuple(found)


def _notes(told: pd.DataFrame, lost: pd.DataFrame, campaign: Campaign) -> tuple[str, ...]:
    notes = []
    if len(lost):
        named = ", ".join(lost["cell"])
        notes.append(f"{len(lost)} cell(s) of tables/cells.csv have no finished run and are left out: {named}.")
    known = set(told["run"])
    beside = [run.path.name for run in campaign.finished if run.path.name not in known]
    if beside:
        named = ", ".join(beside)
        notes.append(f"{len(beside)} finished run(s) are not in tables/cells.csv and are left out: {named}.")
    return tuple(notes)
