"""A search whose control process is killed at random moments and resumed: no finished cell is lost or repeated."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.slicer.bars import of_count
from benchmarks.slicer.workers import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.slicer.bars import Verdict

SEARCH: Final = Path(__file__).with_name("kill.yml")
# From the start of a process, which deploys for about 15 s and then measures: a kill falls anywhere into it.
_SOONEST_S, _LATEST_S = 1.0, 45.0
_TIMEOUT_S: Final = 900.0
# Of a cell, what does not depend on how fast the machine just was.
_SAME: Final = ("cell", "problem", "model", "condition", "placement", "cut", "codec", "repeat", "captured", "status")


@dataclass
class Killed:
    """What became of the searches.

    Attributes:
        after_s: how long each killed process had run.
        searches: that were begun, killed and resumed until they were whole.
        cells: that they measured.
        lost: cells that were finished before a kill and gone, or changed, after it.
        repeated: cells that were begun again although they were finished.
        different: searches whose table of cells is not the undisturbed one's.
    """

    after_s: list[float] = field(default_factory=list)
    searches: int = 0
    cells: int = 0
    lost: int = 0
    repeated: int = 0
    different: int = 0


def kills(count: int, seed: int, folder: Path, inventory: Path, tell: Callable[[str], None]) -> Killed:
    """Search undisturbed once, then again and again under kills, until there were so many.

    Args:
        count: kills.
        seed: of their moments.
        folder: of the results.
        inventory: of a lab that is up.
        tell: told of every kill.

    Raises:
        BenchmarkError: a search failed by itself.
    """
    moments = random.Random(seed)  # noqa: S311 - moments that can be had again
    undisturbed = folder / "undisturbed"
    _search(undisturbed, inventory)
    expected = _same_of(_campaign(undisturbed))
    found = Killed()
    while len(found.after_s) < count:
        results = folder / f"killed-{found.searches + 1}"
        finished: dict[str, str] = {}
        whole = False
        while not whole:
            after_s = moments.uniform(_SOONEST_S, _LATEST_S) if len(found.after_s) < count else None
            whole = _search(
                results, inventory, resume=bool(list(results.glob("*/campaign.json"))), kill_after_s=after_s
            )
            if not whole and after_s is not None:
                found.after_s.append(after_s)
                tell(f"killed after {after_s:.1f} s ({len(found.after_s)} of {count})")
            if list(results.glob("*/campaign.json")):
                now = dict(_finished(_campaign(results)))
                found.lost += sum(now.get(run) != sha for run, sha in finished.items())
                finished = now
        found.searches += 1
        found.cells += len(finished)
        found.repeated += _repeated(_campaign(results))
        found.different += _same_of(_campaign(results)) != expected
    return found


def verdicts(found: Killed) -> list[Verdict]:
    """Against the bar: nothing lost, nothing repeated, the same tables."""
    kills = f"{len(found.after_s)} kills"
    return [
        of_count(f"finished cells lost, {kills}", found.lost, found.cells),
        of_count(f"finished cells repeated, {kills}", found.repeated, found.cells),
        of_count("tables other than the undisturbed one's", found.different, found.searches),
    ]


def summary(found: Killed) -> str:
    """A line."""
    moments = ", ".join(f"{each:.1f}" for each in found.after_s)
    return f"{found.searches} searches, {found.cells} cells; killed after {moments} s"


def _search(results: Path, inventory: Path, *, resume: bool = False, kill_after_s: float | None = None) -> bool:
    """Whether the search came to its end."""
    command = [str(Path(sys.executable).with_name("slicebed")), "search", str(SEARCH)]
    command += ["--inventory", str(inventory), "--results", str(results), *(["--resume"] if resume else [])]
    results.mkdir(parents=True, exist_ok=True)
    with (results / "log.txt").open("a") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            code = process.wait(_TIMEOUT_S if kill_after_s is None else kill_after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            if kill_after_s is None:
                raise BenchmarkError(
                    f"the search did not end within {_TIMEOUT_S:.0f} s; see {results}/log.txt"
                ) from None
            return False
    if code != 0:
        raise BenchmarkError(f"the search ended with {code}; see {results}/log.txt")
    return True


def _campaign(results: Path) -> Path:
    (only,) = (path.parent for path in results.glob("*/campaign.json"))
    return only


def _finished(campaign: Path) -> Iterator[tuple[str, str]]:
    """Every whole run, with what its manifest hashes to."""
    for path in campaign.glob("*/manifest.json"):
        if "." not in path.parent.name:
            yield path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest()


def _repeated(campaign: Path) -> int:
    """Runs that were begun after they were complete, by the journal."""
    complete: set[str] = set()
    again = 0
    for line in (campaign / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "run_complete":
            complete.add(event["run"])
        again += event["event"] == "run_started" and event["run"] in complete
    return again


def _same_of(campaign: Path) -> set[tuple[str, ...]]:
    with (campaign / "tables/cells.csv").open(newline="") as file:
        return {tuple(row[name] for name in _SAME) for row in csv.DictReader(file)}
