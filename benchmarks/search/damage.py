"""What killing a search's process may have damaged, as the folders of its campaign say; nothing is run here.

Two searches never measure the same times. So what does not depend on times must be as in an undisturbed search, and of
the rest what holds whatever was measured: decisions agree with their cells, and every cell was asked for.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from slicebed.run.store import Campaign

# Methods whose asks are known before anything is measured.
_BLIND: Final = frozenset({"strongman", "comm-slim"})
# Methods that ask for one candidate at a time, whatever there is to search.
_ONE_BY_ONE: Final = frozenset({"predict"})
# Of a cell and of a candidate, what does not depend on how fast the machine just was.
_CELL: Final = (
    "cell", "problem", "model", "condition", "placement", "cut", "place", "codec", "knobs", "repeat", "run", "captured",
    "status",
)  # fmt: skip
_CANDIDATE: Final = (
    "problem", "model", "condition", "key", "placement", "cut", "place", "codec", "knobs", "bytes_per_frame",
)  # fmt: skip


class Kind(StrEnum):
    """Of what there must be none, as the table of bars names it."""

    LOST = "finished cells lost or changed"
    REPEATED = "finished cells begun again"
    TABLES = "cells, seeds, candidates or decisions other than undisturbed"
    DECISIONS = "decisions that their cells do not bear out"
    PROFILES = "profiles lost, changed or made again"


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it must be.

    Attributes:
        kind: by which it is counted.
        what: it is, in words.
    """

    kind: Kind
    what: str


@dataclass(frozen=True)
class Kept:
    """What a process left behind, which the next one must not touch.

    Attributes:
        cells: what each finished one's files hash to, by run.
        profiles: the same of each file of the hosts' profiles.
        events: whole lines of the journal.
    """

    cells: Mapping[str, str]
    profiles: Mapping[str, str]
    events: int


def kept(campaign: Campaign) -> Kept:
    """What is there now; a cell that is whole but for its folder's name is finished, too."""
    cells = {}
    for path in campaign.folder.glob("*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["status"] == "complete":
            cells[manifest["run"]] = _digest(path.parent, path.parent.rglob("*"))
    folder = campaign.folder / "profiles"
    profiles = {path.name: _digest(folder, [path]) for path in folder.glob("*.json")}
    return Kept(cells, profiles, len(campaign.events()))


def between(before: Kept, campaign: Campaign) -> Iterator[Damage]:
    """What processes since then did to what had been there."""
    now = kept(campaign)
    for run, digest in before.cells.items():
        if now.cells.get(run) != digest:
            yield Damage(Kind.LOST, f"{run} is {'changed' if run in now.cells else 'gone'}")
    for name, digest in before.profiles.items():
        if now.profiles.get(name) != digest:
            yield Damage(Kind.PROFILES, f"{name} is {'changed' if name in now.profiles else 'gone'}")
    finished, again = set(before.cells), set()
    for event in campaign.events()[before.events :]:
        if event["event"] in {"cell_started", "run_started"} and event["run"] in finished:
            again.add(event["run"])
        elif event["event"] == "run_complete":
            finished.add(event["run"])
    yield from (Damage(Kind.REPEATED, f"{run} was begun again") for run in sorted(again))


def in_the_end(campaign: Campaign, undisturbed: Campaign) -> Iterator[Damage]:
    """What is wrong with a whole campaign beside one of the same plan that nobody disturbed."""
    found, expected = _Search(campaign), _Search(undisturbed)
    yield from _cells(found, expected)
    yield from _candidates(found, expected)
    yield from _decisions(found, expected)
    for decision in found.decided:
        yield from _borne_out(found, decision)
    yield from _asked(found)
    yield from _profiles(found, expected)


class _Search:
    """A whole campaign, read."""

    def __init__(self, campaign: Campaign) -> None:
        self.folder, self.events, plan = campaign.folder, campaign.events(), campaign.plan
        self.cells, self.candidates, self.decisions = (
            list(_rows(campaign.folder / f"tables/{name}.csv")) for name in ("cells", "candidates", "decisions")
        )
        there = [row for row in self.cells if campaign.is_done(row["run"])]
        self.manifests = {row["cell"]: campaign.manifest(row["run"]) for row in there}
        self.decided = [event for event in self.events if event["event"] == "decision"]
        self.seed = int(plan["spec"]["source"]["seed"])
        repeats = plan["spec"]["search"]["repeats"]
        fixed = repeats["until"] is None or repeats["at_most"] == repeats["at_least"]
        self.blind = _BLIND & set(plan["methods"]) if fixed else frozenset()
        self.all_blind = self.blind == set(plan["methods"])

    def seed_of(self, cell: str) -> int:
        """That its frames were drawn from."""
        return int(self.manifests[cell]["spec"]["source"]["seed"])


def _cells(found: _Search, expected: _Search) -> Iterator[Damage]:
    known = {row["cell"]: row for row in expected.cells}
    for row in found.cells:
        cell, seed = row["cell"], found.seed + int(row["repeat"]) - 1
        if cell not in found.manifests:
            yield Damage(Kind.LOST, f"{row['run']} is in the table, and not in the folder")
        elif found.seed_of(cell) != seed:
            yield Damage(Kind.TABLES, f"cell {cell} has the seed {found.seed_of(cell)} instead of {seed}")
        for name in _CELL if cell in known else ():
            if row[name] != known[cell][name]:
                yield Damage(Kind.TABLES, f"cell {cell}: {name} is {row[name]} instead of {known[cell][name]}")
    counted = Counter(row["cell"] for row in found.cells)
    yield from (Damage(Kind.TABLES, f"cell {cell} is there {n} times") for cell, n in counted.items() if n > 1)
    if found.all_blind:
        yield from _unequal("cell", counted, known)


def _candidates(found: _Search, expected: _Search) -> Iterator[Damage]:
    # Where cells depend on times, so does which candidates have any.
    columns = (*_CANDIDATE, "measured") if found.all_blind else _CANDIDATE
    now, then = (
        Counter(" | ".join(row[name] for name in columns) for row in each.candidates) for each in (found, expected)
    )
    yield from _unequal("candidate", now, then)


def _decisions(found: _Search, expected: _Search) -> Iterator[Damage]:
    rows, known = (
        Counter(f"{row['method']} on {row['problem']}" for row in each.decisions) for each in (found, expected)
    )
    yield from _unequal("decision of", rows, known)
    yield from (Damage(Kind.TABLES, f"{name} has {n} decisions") for name, n in rows.items() if n > 1)
    asked = {_session(event): set(event["cells"]) for event in expected.decided}
    for event in found.decided:
        if event["method"] in found.blind:
            named = f"cell of {event['method']}"
            yield from _unequal(named, event["cells"], asked.get(_session(event), ()))


def _borne_out(found: _Search, decision: Mapping[str, Any]) -> Iterator[Damage]:
    """Whether a decision, its row, and the cells that it names agree."""
    name = f"{decision['method']} on {decision['problem']}"
    cells, table = decision["cells"], Counter(row["cell"] for row in found.cells)
    for cell, count in Counter(cells).items():
        if count > 1 or table[cell] != 1:
            yield Damage(Kind.DECISIONS, f"{name}: {cell} is named {count} times, and measured {table[cell]} times")
    keys = {found.manifests[cell]["key"] for cell in cells if cell in found.manifests}
    if decision["chosen"] not in keys:
        yield Damage(Kind.DECISIONS, f"{name}: it chose {decision['chosen']}, of which it names no cell")
    if sum(_session(decision) == _session(each) for each in found.decided) > 1:
        yield Damage(Kind.DECISIONS, f"{name}: it was decided more than once")
    said = (decision["chosen"], str(len(cells)), str(len(keys)))
    for row in found.decisions:
        tabled = (row["chosen"], row["runs"], row["candidates_measured"])
        if _session(row) == _session(decision) and tabled != said:
            yield Damage(Kind.DECISIONS, f"{name}: the table says {', '.join(tabled)}, its cells {', '.join(said)}")
    alone = set(cells).difference(*(each["cells"] for each in found.decided if _session(each) != _session(decision)))
    if decision["method"] in _ONE_BY_ONE:
        # Others may have had measured before what it asked for later.
        begun = {event["cell"]: at for at, event in enumerate(found.events) if event["event"] == "cell_started"}
        own = [cell for cell in cells if cell in alone and cell in begun]
        if own != sorted(own, key=begun.__getitem__):
            yield Damage(Kind.DECISIONS, f"{name}: its cells were not measured in the order in which it asks for them")


def _asked(found: _Search) -> Iterator[Damage]:
    """Every cell was asked for by a session that has ended: none asked for something else before a kill than behind."""
    named = {cell for event in found.decided for cell in event["cells"]}
    for cell in found.manifests:
        if cell not in named:
            yield Damage(Kind.DECISIONS, f"{cell} was measured, and no decision names it")


def _profiles(found: _Search, expected: _Search) -> Iterator[Damage]:
    now, then = ({path.name for path in each.folder.glob("profiles/*.json")} for each in (found, expected))
    for name in sorted(now ^ then):
        yield Damage(Kind.PROFILES, f"{name} is {'there besides' if name in now else 'not there'}")
    made = Counter(event["problem"] for event in found.events if event["event"] == "profiled")
    yield from (Damage(Kind.PROFILES, f"{name} was profiled {n} times") for name, n in made.items() if n > 1)


def _unequal(what: str, now: Iterable[str], then: Iterable[str]) -> Iterator[Damage]:
    """Names that are in one of both alone."""
    present, past = set(now), set(then)
    yield from (Damage(Kind.TABLES, f"{what} {name} is missing") for name in sorted(past - present))
    yield from (Damage(Kind.TABLES, f"{what} {name} is there besides") for name in sorted(present - past))


def _session(of: Mapping[str, Any]) -> tuple[str, str]:
    return of["problem"], of["method"]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _digest(folder: Path, paths: Iterable[Path]) -> str:
    """Of files with their names."""
    found = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        found.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()
