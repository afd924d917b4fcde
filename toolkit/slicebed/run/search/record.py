"""A search's tables: cells as they end, candidates and decisions at the end of every session.

All of it is in manifests, the journal, the list of candidates and the files of `foretold/`, so that a resumed search
writes the same tables, and `retable` where they are gone.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from slicebed.errors import RunError
from slicebed.run.search.cells import cell_of, measure, read_cell
from slicebed.run.search.decided import check_decision, read_foretold, write_foretold
from slicebed.run.search.spent import beside_s
from slicebed.run.store import Campaign
from slicebed.split.search.objective import best_of, excess, score, shown, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed.run.search.cells import CellData
    from slicebed.run.search.listing import Listing
    from slicebed.run.search.space import Cell
    from slicebed.spec.objective import Objective
    from slicebed.split.search.contracts import Figure, Foretold, Measure
    from slicebed.split.search.session import Decision

CELLS = (
    "cell", "problem", "model", "condition", "placement", "cut", "place", "codec", "knobs", "repeat", "run",
    "captured", "completed", "dropped", "failed", "drop_rate", "latency_ms", "latency_low_ms", "latency_high_ms",
    "latency_p95_ms", "throughput_per_s", "bytes_per_frame", "energy_j", "compute_ms", "testbed_s", "site", "status",
)  # fmt: skip
"""Columns of ``tables/cells.csv``: one row per finished cell.

``cut`` joins split points by commas and is empty where the model is left whole; ``knobs`` and ``compute_ms`` (median of
what each host computed for a frame) are JSON objects; ``energy_j`` and ``bytes_per_frame`` are per completed frame.
"""
CANDIDATES = (
    "problem", "model", "condition", "key", "placement", "cut", "place", "codec", "knobs", "bytes_per_frame",
    "predicted_latency_ms", "predicted_low_ms", "predicted_high_ms", "predicted_drop_rate",
    "predicted_throughput_per_s", "measured",
)  # fmt: skip
"""Columns of ``tables/candidates.csv``: one row per candidate of each problem.

``bytes_per_frame`` is a JSON list, raw, of each boundary; predictions are those of the problem's last decision that had
any; ``measured`` is 1 where a cell of the candidate is finished.
"""
DECISIONS = (
    "problem", "model", "condition", "method", "objective", "chosen", "cut", "why", "runs", "candidates_measured",
    "testbed_s", "decision_s", "value", "best_known_value", "regret_measured", "regret_predicted", "prediction_error",
    "stopped_by_budget",
)  # fmt: skip
"""Columns of ``tables/decisions.csv``: one row per session.

``runs`` counts the cells that the method asked for, also those that another method had measured; ``testbed_s`` is the
time of these, of the profiles where they were used, and of what else the method needs (see `spent`); ``value`` is the
objective at the choice, ``best_known_value`` that of the best candidate that any method measured, ``regret_measured``
the share by which that is better; ``stopped_by_budget`` is 1 where the budget kept the method from something that it
asked for, and empty of a decision from before that was written down.
"""
_MS = 1000
_MEND: Final = "remove this run's folder, then --resume"


@dataclass
class Record:
    """The tables of one search.

    Attributes:
        folder: of the campaign.
        listings: of the problems, by id, in their order.
        objective: what is minimised.
        cells: finished ones.
    """

    folder: Path
    listings: Mapping[str, Listing]
    objective: Objective
    cells: dict[Cell, CellData] = field(default_factory=dict)
    _by_candidate: dict[tuple[str, str], dict[int, list[CellData]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def take_in(self) -> None:
        """Take in the finished cells that are in the folder already.

        Raises:
            RunError: one of them cannot be read, or is not what its folder's name says.
        """
        for path in sorted(self.folder.glob("*/manifest.json")):
            try:
                manifest = json.loads(path.read_text(encoding="utf-8"))
                if manifest["status"] != "complete":
                    continue
                cell = cell_of(manifest)
                named = {manifest["run"], cell.run_id}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"a run's manifest cannot be read: {type(error).__name__}: {error}", where=str(path), mend=_MEND
                ) from error
            if named != {path.parent.name} or not self._knows(cell.problem, cell.key):
                raise RunError(f"it is the manifest of run {manifest['run']}", where=str(path), mend=_MEND)
            try:
                data = read_cell(cell, path.parent, manifest)
                # All that the tables take of it is there, and a number where that is wanted.
                self._cell_row(data)
            except (RunError, ValueError, KeyError, TypeError, AttributeError) as error:
                what = error.what if isinstance(error, RunError) else f"a finished cell cannot be read: {error!r}"
                raise RunError(what, where=str(path.parent), mend=_MEND) from error
            self.add(data)

    def decisions(self, events: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
        """By problem and method what a journal says was decided, as far as all that it rests on is still there.

        Raises:
            RunError: a decision is not what `decided` gives.
        """
        found = {}
        for line, event in enumerate(events, start=1):
            if event["event"] == "decision":
                check_decision(event, f"{self.folder / 'journal.jsonl'}, line {line}")
                if self._bears_out(event):
                    found[event["problem"], event["method"]] = event
        return found

    def _bears_out(self, decided: Mapping[str, Any]) -> bool:
        foretold = decided["foretold"]
        return (
            self._knows(decided["problem"], decided["chosen"])
            and decided["chosen"] in {cell.key for cell in self.cells if cell.problem == decided["problem"]}
            and set(map(str, decided["cells"])) <= {cell.id for cell in self.cells}
            and (foretold is None or (self.folder / "foretold" / foretold).is_file())
        )

    def _knows(self, problem: str, key: str) -> bool:
        return problem in self.listings and key in self.listings[problem].candidates

    def add(self, data: CellData) -> None:
        """Take in a finished cell, which the next `write` tables."""
        cell = data.cell
        self.cells[cell] = data
        self._by_candidate[cell.problem, cell.key][cell.frames].append(data)

    def keep(self, data: CellData) -> None:
        """Take in a finished cell, and add it to its table at once."""
        self.add(data)
        path = self._tables / "cells.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, CELLS)
            if new:
                writer.writeheader()
            writer.writerow(self._cell_row(data))

    def of(self, problem: str, key: str, frames: int = 0) -> list[CellData]:
        """The finished cells of a candidate, first repeat first."""
        return sorted(self._by_candidate[problem, key].get(frames, ()), key=lambda data: data.cell.repeat)

    def decided(
        self,
        problem: str,
        decision: Decision,
        asked: Sequence[Cell],
        profiles_s: float,
        foretold: Mapping[str, Foretold],
    ) -> dict[str, Any]:
        """What the journal is to hold of a session that has ended; what it foretold is on disk already.

        Args:
            problem: its id.
            decision: how it ended.
            asked: finished cells that it asked for.
            profiles_s: seconds that the hosts were profiled for it.
            foretold: its last predictions.
        """
        name = None
        if foretold:
            name = f"{problem}-{decision.method}.json".replace("/", "_")
            folder = self.folder / "foretold"
            folder.mkdir(exist_ok=True)
            write_foretold(folder / name, foretold)
        choice = decision.choice
        beside = beside_s(Campaign(self.folder).events(), self.listings[problem], asked, foretold=bool(foretold))
        return {
            "problem": problem,
            "method": decision.method,
            "chosen": choice.key,
            "why": choice.why,
            "cells": [cell.id for cell in asked],
            "candidates_measured": len(decision.measures),
            "testbed_s": sum(self.cells[cell].testbed_s for cell in asked) + profiles_s + beside,
            "decision_s": decision.decision_s,
            "regret_predicted": choice.regret,
            "prediction_error": choice.error,
            "stopped_by_budget": decision.stopped_by_budget,
            "foretold": name,
        }

    def write(self, decisions: Iterable[Mapping[str, Any]]) -> None:
        """Write all tables anew, in an order that does not depend on which cell ended first.

        Args:
            decisions: as `decided` gave them.

        Raises:
            RunError: predictions of one of them cannot be read.
        """
        decisions = list(decisions)
        places = {(each.id, key): at for each in self.listings.values() for at, key in enumerate(each.candidates)}
        problems = list(self.listings)
        cells = sorted(
            self.cells.values(),
            key=lambda data: (
                problems.index(data.cell.problem),
                places[data.cell.problem, data.cell.key],
                data.cell.frames,
                data.cell.repeat,
            ),
        )
        self._write("cells", CELLS, [self._cell_row(data) for data in cells])
        self._write("candidates", CANDIDATES, self._candidate_rows(decisions))
        rows = [self._decision_row(each) for each in decisions]
        self._write("decisions", DECISIONS, sorted(rows, key=lambda row: problems.index(row["problem"])))

    @property
    def _tables(self) -> Path:
        folder = self.folder / "tables"
        folder.mkdir(exist_ok=True)
        return folder

    def _write(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        path = self._tables / f"{name}.csv"
        new = path.with_name(path.name + ".new")
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        new.replace(path)

    def _cell_row(self, data: CellData) -> dict[str, Any]:
        cell, listing = data.cell, self.listings[data.cell.problem]
        figures = measure(cell.key, [data]).figures
        latency = figures.get("latency")
        return {
            "cell": cell.id,
            **_named(listing, cell.key),
            "repeat": cell.repeat,
            "run": cell.run_id,
            **data.frames,
            "drop_rate": _of(figures, "drop_rate"),
            "latency_ms": _of(figures, "latency", _MS),
            "latency_low_ms": _number(None if latency is None else latency.low, _MS),
            "latency_high_ms": _number(None if latency is None else latency.high, _MS),
            "latency_p95_ms": _of(figures, "latency_p95", _MS),
            "throughput_per_s": _of(figures, "throughput"),
            "bytes_per_frame": _of(figures, "bytes"),
            "energy_j": _of(figures, "energy"),
            "compute_ms": json.dumps({host: round(seconds * _MS, 6) for host, seconds in data.compute_s.items()}),
            "testbed_s": _number(data.testbed_s),
            "site": data.manifest["site"],
            "status": "done",
        }

    def _candidate_rows(self, decisions: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
        measured = {(cell.problem, cell.key) for cell in self.cells}
        files = {each["problem"]: each["foretold"] for each in decisions if each["foretold"]}
        for listing in self.listings.values():
            name = files.get(listing.id)
            told = read_foretold(self.folder / "foretold" / name) if name else {}
            for candidate in listing.candidates.values():
                figures = told.get(candidate.key, {})
                latency = figures.get("latency", (None, None, None))
                yield {
                    **_named(listing, candidate.key),
                    "key": candidate.key,
                    "bytes_per_frame": json.dumps([boundary.bytes_per_frame for boundary in candidate.boundaries]),
                    "predicted_latency_ms": _number(latency[0], _MS),
                    "predicted_low_ms": _number(latency[1], _MS),
                    "predicted_high_ms": _number(latency[2], _MS),
                    "predicted_drop_rate": _number(figures.get("drop_rate", (None,))[0]),
                    "predicted_throughput_per_s": _number(figures.get("throughput", (None,))[0]),
                    "measured": int((listing.id, candidate.key) in measured),
                }

    def _decision_row(self, decided: Mapping[str, Any]) -> dict[str, Any]:
        listing, key = self.listings[decided["problem"]], decided["chosen"]
        known = self._known(listing, key)
        chosen, best = known[key], best_of(known.values(), self.objective)
        regret = excess(self.objective, score(self.objective, chosen.figures), score(self.objective, best.figures))
        return {
            "problem": listing.id,
            "model": listing.model,
            "condition": listing.condition,
            "method": decided["method"],
            "objective": shown(self.objective),
            "chosen": key,
            "cut": ",".join(listing.candidates[key].cut),
            "why": decided["why"],
            "runs": len(decided["cells"]),
            "candidates_measured": decided["candidates_measured"],
            "testbed_s": _number(decided["testbed_s"]),
            "decision_s": _number(decided["decision_s"]),
            "value": _number(value(self.objective, chosen.figures)),
            "best_known_value": _number(value(self.objective, best.figures)),
            "regret_measured": _number(regret),
            "regret_predicted": _number(decided["regret_predicted"]),
            "prediction_error": _number(decided["prediction_error"]),
            "stopped_by_budget": _number(decided.get("stopped_by_budget")),
        }

    def _known(self, listing: Listing, chosen: str) -> dict[str, Measure]:
        """What is known of the candidates of a problem: from cells of the usual length, as far as there are any.

        Of what was measured on fewer frames alone, only the chosen one is known.
        """
        found = {key: measure(key, cells) for key in listing.candidates if (cells := self.of(listing.id, key))}
        if chosen not in found:
            longest = max(self._by_candidate[listing.id, chosen])
            found[chosen] = measure(chosen, self.of(listing.id, chosen, longest))
        return found


def _named(listing: Listing, key: str) -> dict[str, Any]:
    candidate = listing.candidates[key]
    return {
        "problem": listing.id,
        "model": listing.model,
        "condition": listing.condition,
        "placement": candidate.placement,
        "cut": ",".join(candidate.cut),
        "place": candidate.place,
        "codec": candidate.codec,
        "knobs": json.dumps(dict(candidate.knobs)),
    }


def _of(figures: Mapping[str, Figure], metric: str, scale: float = 1) -> str:
    return _number(figures[metric].value if metric in figures else None, scale)


def _number(value: float | None, scale: float = 1) -> str:
    """As tables hold it: empty where it is not known."""
    return "" if value is None or math.isnan(value) else f"{value * scale:.9g}"
