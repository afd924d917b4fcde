"""Searches whose control process is killed at random moments and resumed, held against one that nobody disturbs."""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from benchmarks.network.tables import table
from benchmarks.search.damage import Damage, Kind, between, in_the_end, kept
from benchmarks.search.running import DEPLOYING, Moment, Running
from benchmarks.slicer.bars import of_count
from benchmarks.slicer.workers import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from benchmarks.slicer.bars import Verdict

    from slicebed.run.store import Campaign

SEARCHES: Final = tuple(Path(__file__).with_name(name) for name in ("kill.yml", "kill_reacting.yml"))
"""All of them on hosts of one lab."""
# A process brings tools and agents to the hosts for some 25 s before it asks anything of them.
_FROM_START_S, _FROM_HOSTS_S = (0.5, 45.0), (0.0, 30.0)
_PHASES: Final = MappingProxyType(
    {
        "model_placed": "conditions",
        "conditions_changed": "conditions",
        "links_measured": "conditions",
        "cell_started": "cell",
        "run_abandoned": "cell",
        "run_failed": "cell",
        "run_started": "cell",
        "run_complete": "between cells",
        "cell_done": "between cells",
        "profiled": "deciding",
        "decision": "deciding",
        "playbook": "gathering logs",
        "campaign_complete": "reporting",
    }
)


@dataclass(frozen=True)
class Kill:
    """One that was done.

    Attributes:
        search: which of the searches.
        after_s: how long the process had run.
        phase: what it was at, by the journal.
    """

    search: str
    after_s: float
    phase: str


@dataclass
class Killed:
    """What became of the searches.

    Attributes:
        kills: in their order.
        searches: that were begun, killed and resumed until they were whole.
        cells: that they measured.
        decisions: that they came to.
        profiles: files of them.
        tried_again: attempts at cells that failed, or found a link not as asked.
        damage: all that is wrong.
    """

    kills: list[Kill] = field(default_factory=list)
    searches: int = 0
    cells: int = 0
    decisions: int = 0
    profiles: int = 0
    tried_again: int = 0
    damage: list[Damage] = field(default_factory=list)


def commands(inventory: Path) -> dict[str, list[str]]:
    """Every search's command by its name, as `kills` takes it; of a lab that is up."""
    slicebed = str(Path(sys.executable).with_name("slicebed"))
    return {path.stem: [slicebed, "search", str(path), "--inventory", str(inventory)] for path in SEARCHES}


def moments(seed: int) -> Iterator[Moment]:
    """Random ones that can be had again: in turn since the start of a process, and since it first used its hosts."""
    draw = random.Random(seed)  # noqa: S311 - as above
    while True:
        yield Moment(draw.uniform(*_FROM_START_S))
        yield Moment(draw.uniform(*_FROM_HOSTS_S), at_hosts=True)


def kills(
    count: int, of: Mapping[str, Sequence[str]], when: Iterator[Moment], folder: Path, tell: Callable[[str], None]
) -> Killed:
    """Do each search undisturbed once, then again and again under kills, until there were so many.

    Args:
        count: kills, shared out among the searches.
        of: every search's command by its name, without ``--results`` and ``--resume``.
        when: the moments of the kills.
        folder: of the results; these get one of their own in it.
        tell: told what goes on.

    Raises:
        BenchmarkError: a search failed or did not end; it says where its log is.
    """
    folder /= datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    killing = _Killing(when, tell)
    for number, (name, command) in enumerate(of.items()):
        share = (count + number) // len(of)
        if share:
            killing.search(name, command, folder, share)
    return killing.found


@dataclass
class _Killing:
    """Kills, and counts what becomes of it.

    Attributes:
        when: the moments that are left.
        tell: told what goes on.
        found: so far.
    """

    when: Iterator[Moment]
    tell: Callable[[str], None]
    found: Killed = field(default_factory=Killed)

    def search(self, name: str, command: Sequence[str], folder: Path, share: int) -> None:
        """Do one of the searches undisturbed, and then until it was killed so often."""
        self.tell(f"{name}: undisturbed")
        undisturbed = Running(command, folder / f"{name}-undisturbed")
        undisturbed.go_on(None)
        # What is wrong with this one is not the kills' doing, and must be known as well.
        self._damaged(undisturbed, in_the_end(undisturbed.whole, undisturbed.whole))
        target = len(self.found.kills) + share
        while len(self.found.kills) < target:
            before = len(self.found.kills)
            running = Running(command, folder / f"{name}-killed-{self.found.searches + 1}")
            while not self._go_on(name, running, kill=len(self.found.kills) < target):
                pass
            self._damaged(running, in_the_end(running.whole, undisturbed.whole))
            self._count(running)
            if len(self.found.kills) == before:
                raise BenchmarkError(f"the search ended before it could be killed; see {running.log}")

    def _go_on(self, name: str, running: Running, *, kill: bool) -> bool:
        """One process, killed or not, and what it did to what was there before; whether there is nothing to resume."""
        campaign = running.campaign
        before = None if campaign is None else kept(campaign)
        after_s = running.go_on(next(self.when) if kill else None)
        campaign = running.campaign
        if campaign is not None and before is not None:
            self._damaged(running, between(before, campaign))
        if after_s is None:
            return True
        phase = "deploying" if campaign is None else phase_of(campaign, 0 if before is None else before.events)
        self.found.kills.append(Kill(name, after_s, phase))
        self.tell(f"{name}: kill {len(self.found.kills)} after {after_s:.1f} s, {phase}")
        # It may have been killed behind its journal's last line.
        return campaign is not None and campaign.is_complete

    def _damaged(self, running: Running, damage: Iterable[Damage]) -> None:
        self.found.damage += [replace(each, what=f"{running.results.name}: {each.what}") for each in damage]

    def _count(self, running: Running) -> None:
        last = kept(running.whole)
        events = Counter(event["event"] for event in running.whole.events())
        self.found.searches += 1
        self.found.cells += len(last.cells)
        self.found.profiles += len(last.profiles)
        self.found.decisions += events["decision"]
        self.found.tried_again += events["cell_failed"] + events["cell_invalid"]


def phase_of(campaign: Campaign, before: int) -> str:
    """What a process was at when it was killed, by the last event that it wrote.

    Args:
        campaign: its own.
        before: how many events earlier processes wrote.
    """
    events, plan = campaign.events(), campaign.plan
    own = events[before:]
    if all(event["event"] in DEPLOYING for event in own):
        return "deploying"
    name = str(own[-1]["event"])
    decisions = sum(event["event"] == "decision" for event in events)
    if name == "decision" and decisions >= len(plan["problems"]) * len(plan["methods"]):
        return "gathering logs"
    if name == "links_measured" and (campaign.folder / "profiles").is_dir():
        # Where a problem is not profiled yet, nothing else comes behind its condition.
        condition = own[-1]["configuration"]
        profiled = {str(event["problem"]) for event in events if event["event"] == "profiled"}
        if not any(problem.endswith(f"-{condition}") for problem in profiled):
            return "profiling"
    return _PHASES.get(name, name)


def verdicts(found: Killed) -> list[Verdict]:
    """Against the bar: nothing lost, nothing repeated, the same tables, and decisions that agree with their cells."""
    number = Counter(each.kind for each in found.damage)
    of = {
        Kind.LOST: found.cells,
        Kind.REPEATED: found.cells,
        Kind.TABLES: found.cells + found.decisions,
        Kind.DECISIONS: found.decisions,
        Kind.PROFILES: found.profiles,
    }
    return [of_count(f"{kind}, {len(found.kills)} kills", number[kind], of[kind]) for kind in Kind]


def summary(found: Killed) -> str:
    """Where the kills fell, and all that is wrong."""
    names = list(dict.fromkeys(kill.search for kill in found.kills))
    phases = Counter((kill.phase, kill.search) for kill in found.kills)
    rows = [
        [phase, *(str(phases[phase, name]) for name in names), _seconds(found, phase)]
        for phase in dict.fromkeys(kill.phase for kill in found.kills)
    ]
    said = (
        f"{found.searches} searches, {found.cells} cells, {found.decisions} decisions, {found.profiles} profiles; "
        f"{found.tried_again} attempts at cells failed and were made again"
    )
    wrong = [f"{each.kind}: {each.what}" for each in found.damage]
    return "\n".join([table(["killed while", *names, "after, s"], rows), "", said, *wrong])


def _seconds(found: Killed, phase: str) -> str:
    return ", ".join(f"{kill.after_s:.1f}" for kill in found.kills if kill.phase == phase)
