"""The folder of a search as it was left: its tables, the runs behind its cells, and cells that are not done."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError, SpecError
from slicebed.results.campaign import Campaign, FinishedRun, read_campaign
from slicebed.run import store
from slicebed.run.search.crew import Trouble
from slicebed.run.search.retable import retable

if TYPE_CHECKING:
    from collections.abc import Mapping
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
_STOPPED = "stopped_by_budget"
_SEARCH = "search"
_MEND = "move it elsewhere: slicebed report makes it again from the runs"
_TROUBLE = {Trouble.FAILED.value: "failed", Trouble.INVALID.value: "invalid"}


@dataclass(frozen=True)
class Attempt:
    """A cell that was begun and whose figures are no results.

    Attributes:
        cell: its id.
        run: its name.
        status: "failed"; "invalid" where a link was not as asked; "cut off" where its process ended, or still runs.
        error: why.
        repeated: whether the cell was done since.
    """

    cell: str
    run: str
    status: str
    error: str
    repeated: bool

    @property
    def candidate(self) -> str:
        """Problem and key of its candidate, as ids of cells begin."""
        return self.cell.rpartition("/r")[0]


@dataclass(frozen=True)
class SearchFolder:
    """A search and everything that it measured so far.

    Attributes:
        campaign: the runs.
        cells: of ``tables/cells.csv``, those whose run is there; column ``key`` is the candidate's, ``frames`` how many
            it was to capture, 0 being as many as usual.
        candidates: of ``tables/candidates.csv``, or what is known of them from cells where no session has ended.
        decisions: of ``tables/decisions.csv``, ``stopped_by_budget`` being a truth value; empty where no session has
            ended.
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
    """Whether a campaign's folder is a search's.

    Raises:
        RunError: its campaign.json cannot be read, or a search's tables are there and it says nothing of a search.
    """
    path = folder / "campaign.json"
    try:
        plan = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"the campaign cannot be read: {error}", where=str(path)) from None
    if isinstance(plan, dict) and plan.get("kind") == _SEARCH:
        return True
    if not isinstance(plan, dict) or (folder / "tables" / "cells.csv").is_file():
        raise RunError("it does not say what kind of campaign this is", where=str(path), mend="restore the file")
    return False


def read_search(folder: Path) -> SearchFolder:
    """Read a search's folder.

    Raises:
        SpecError: no such folder, or it is no search's, or nothing of it is measured yet.
        RunError: a table or a manifest cannot be read, or tables are gone that cannot be made again.
    """
    campaign = read_campaign(folder)
    if not is_search(folder):
        raise SpecError("not the folder of a search", where=str(folder), mend="name a folder that slicebed search made")
    tables = folder / "tables"
    if not campaign.finished and not (tables / "cells.csv").is_file():
        raise SpecError("no cell is measured yet", where=str(folder), mend="go on with slicebed search --resume")
    _require_tables(folder)
    told = _table(tables / "cells.csv", CELLS)
    there = told["run"].isin([run.path.name for run in campaign.finished])
    cells = _with_candidates(told[there].reset_index(drop=True), campaign)
    return SearchFolder(
        campaign=campaign,
        cells=cells,
        candidates=_candidates(_table(tables / "candidates.csv", CANDIDATES), cells),
        decisions=_decisions(tables / "decisions.csv", store.Campaign(folder).plan),
        attempts=_attempts(folder, campaign),
        notes=_notes(told, told[~there], campaign),
    )


def _require_tables(folder: Path) -> None:
    """Make the tables again where one is gone; what a search in progress has, it wrote before its first cell."""
    tables = [folder / "tables" / f"{name}.csv" for name in ("cells", "candidates", "decisions")]
    if all(path.is_file() for path in tables) or retable(store.Campaign(folder)) or tables[0].is_file():
        return
    raise RunError(
        "its tables are gone, and nothing else in it lists its candidates",
        where=str(folder),
        mend="restore tables/, or go on with slicebed search --resume where it was interrupted",
    )


def _decisions(path: Path, plan: Mapping[str, Any]) -> pd.DataFrame:
    """The sessions; of those of before it was written down, whether the budget stopped them is taken at its worst."""
    table = _table(path, DECISIONS)
    budget = plan.get("budget")
    spent = table["candidates_measured"] >= (math.inf if budget is None else budget)
    told = table[_STOPPED] if _STOPPED in table else pd.Series("", index=table.index)
    return table.assign(**{_STOPPED: (told == "1") | ((told == "") & spent)})


def _table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """A table with the columns that are needed; without rows where the file is not there yet."""
    if not path.is_file():
        return pd.DataFrame(columns=list(needed))
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [column for column in needed if column not in table.columns]
        if missing:
            raise RunError(f"the table lacks {', '.join(missing)}", where=str(path), mend=_MEND)
        for column in _NUMBERS.intersection(needed):
            table[column] = pd.to_numeric(table[column].where(table[column] != "")).astype(float)
    except (OSError, ValueError) as error:
        raise RunError(f"the table cannot be read: {error}", where=str(path), mend=_MEND) from None
    return table


def _with_candidates(cells: pd.DataFrame, campaign: Campaign) -> pd.DataFrame:
    """Cells with the key of their candidate and their frames, as their manifests have them."""
    manifests = {run.path.name: run.manifest for run in campaign.finished}
    told = [manifests[run] for run in cells["run"]]
    try:
        keys, frames = [str(each["key"]) for each in told], [int(each["cell_frames"]) for each in told]
    except KeyError as missing:
        raise RunError(f"a run's manifest lacks {missing}, so that it is no cell", where=campaign.name) from None
    return cells.assign(key=keys, frames=frames)


def _candidates(candidates: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The candidates, and those that have cells while no session has ended that could have written them."""
    both = pd.concat([candidates, cells[[column for column in cells if column in CANDIDATES]]], ignore_index=True)
    return both.drop_duplicates(["problem", "key"]).reset_index(drop=True)


def _attempts(folder: Path, campaign: Campaign) -> tuple[Attempt, ...]:
    """What the journal says of cells that failed or were invalid, and runs that ended, or go on, without a word."""
    done = {run.path.name for run in campaign.finished}
    found = [
        Attempt(
            cell=str(event.get("cell", "")),
            run=str(event.get("run", "")),
            status=_TROUBLE[event["event"]],
            error=str(event.get("error", "")),
            repeated=event.get("run") in done,
        )
        for event in store.Campaign(folder).events()
        if event.get("event") in _TROUBLE
    ]
    cut_off = [each.run for each in campaign.unfinished if each.status == "partial"]
    return (*found, *(Attempt("", run, "cut off", "", repeated=run in done) for run in cut_off))


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
