"""The sessions of a search: what the methods ask for is measured, condition by condition, and each decides."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from slicebed.errors import ProvisionError, RunError, SpecError, VerdictError
from slicebed.run.search.cells import Repeats, measure, ordered, read_cell
from slicebed.run.search.crew import Crew, SiteLostError, Trouble
from slicebed.run.search.listing import Listing, write_listings
from slicebed.run.search.record import Record
from slicebed.run.search.space import Cell
from slicebed.split.search.contracts import Problem
from slicebed.split.search.registry import needs_profiles
from slicebed.split.search.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed.errors import SlicebedError
    from slicebed.run.progress import Progress
    from slicebed.run.search.crew import Worker
    from slicebed.run.search.foresight import Foresight
    from slicebed.run.search.space import Space
    from slicebed.run.store import Campaign
    from slicebed.spec.objective import Objective
    from slicebed.split.search.contracts import Ask, Foretold, Measure, Method


# What is one method's matter on one problem; the others go on.
_OF_A_SESSION: Final = (RunError, SpecError, VerdictError, ProvisionError)


@dataclass(frozen=True)
class Settings:
    """How a search goes about it.

    Attributes:
        objective: what is minimised.
        budget: the most candidates that a method may measure; None: no limit.
        at_least, at_most, until: as of `cells.Repeats`.
        options: by method.
        seed: of what methods draw.
        randomised: whether cells are shuffled.
        order_seed: of that shuffle.
    """

    objective: Objective
    budget: int | None = None
    at_least: int = 1
    at_most: int = 1
    until: float | None = None
    options: Mapping[str, Mapping[str, float | str]] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    randomised: bool = True
    order_seed: int = 0

    def repeats(self, *, paired: bool) -> Repeats:
        """How often candidates are measured; of those that are compared pair by pair, all as often."""
        if paired:
            return Repeats(self.at_least, self.at_least, None, self.objective)
        return Repeats(self.at_least, self.at_most, self.until, self.objective)

    def problem(self, space: Space, method: str) -> Problem:
        """A space as a method of that name sees it without profiles."""
        return Problem(
            candidates=space.candidates,
            objective=self.objective,
            budget=self.budget,
            seed=self.seed,
            options=self.options.get(method, {}),
            rate_per_s=space.experiment.source.rate_per_s,
        )


@dataclass
class _Sitting:
    """A session under way.

    Attributes:
        space: its problem.
        method: its name.
        session: its method's.
        profiles_s: seconds of profiling that it uses.
        told: cells that it was told of, in their order.
        foretold: its last predictions.
    """

    space: Space
    method: str
    session: Session
    profiles_s: float
    foretold: dict[str, Foretold]
    told: dict[Cell, None] = field(default_factory=dict)


class Searching:
    """One search in its campaign's folder, new or gone on with."""

    def __init__(  # noqa: PLR0913, PLR0917 - a search has so many sides
        self,
        campaign: Campaign,
        spaces: Sequence[Space],
        methods: Mapping[str, Method],
        settings: Settings,
        progress: Progress,
        foresee: Callable[[str, Space], Foresight],
    ) -> None:
        """Take in what the campaign's folder has already.

        Args:
            campaign: keeps cells and journal.
            spaces: the problems, each with another id.
            methods: by name; each is tried on every problem.
            settings: how.
            progress: told what goes on.
            foresee: profiles the hosts of a site for a space; called for methods that need it.

        Raises:
            RunError: a finished cell, a decision or predictions of the folder cannot be read.
        """
        self._campaign, self._methods, self._settings = campaign, methods, settings
        self._progress, self._foresee = progress, foresee
        self._spaces = {space.id: space for space in spaces}
        listings = {space.id: Listing.of(space) for space in spaces}
        write_listings(campaign.folder, listings.values())
        self._record = Record(campaign.folder, listings, settings.objective)
        # Only those of this process: after a pause what was given up may be measured.
        self._lost: set[str] = set()
        # By problem, why the first cell that was given up was.
        self._why_lost: dict[str, str] = {}
        self._failed: list[SlicebedError] = []
        self._record.take_in()
        # So often cells failed that were not done since.
        self._failed_before: Counter[str] = Counter()
        self._take_in_events()
        self._record.write(self._decisions.values())
        self._begun_with = len(self._record.cells)
        self._left = 0

    def _take_in_events(self) -> None:
        events, noted = list(self._campaign.events()), set()
        # Of what somebody took away since, there is a new decision.
        self._decisions = self._record.decisions(events)
        for event in events:
            cell = str(event.get("cell"))
            if event["event"] in {Trouble.FAILED, Trouble.INVALID}:
                self._failed_before[cell] += 1
            elif event["event"] == "cell_done":
                noted.add(cell)
                del self._failed_before[cell]
        for cell_data in self._record.cells.values():
            if cell_data.cell.id not in noted:
                # The process before was killed when its folder had its name already.
                self._note_done(cell_data.cell, cell_data.manifest, found=True)

    def run(self, workers: Sequence[Worker]) -> None:
        """Search until every method has decided on every problem, or cannot.

        Raises:
            SlicebedError: as `Crew.work` says; and when all else is decided, why the first method that could not decide
                could not, as `Session` or the profiles say.
            KeyboardInterrupt: Ctrl-C.
        """
        candidates = sum(len(space.variants) for space in self._spaces.values())
        self._progress.search_begins(self._campaign.name, len(self._spaces), candidates, self._begun_with)
        self._crew = Crew(workers, self, self._failed_before)
        conditions = list(dict.fromkeys(space.condition for space in self._spaces.values()))
        if self._settings.randomised:
            # A repeatable shuffle is wanted here, not a secret one.
            random.Random(self._settings.order_seed).shuffle(conditions)  # noqa: S311
        for condition in conditions:
            self._search([space for space in self._spaces.values() if space.condition == condition])
        self._record.write(self._decisions.values())
        if self._failed:
            error = self._failed[0]
            rest = f"what the other methods decided: slicebed report {self._campaign.folder}"
            error.mend = f"{error.mend}; {rest}" if error.mend else rest
            raise error

    @property
    def sites(self) -> tuple[str, ...]:
        """Those that are left since it runs."""
        return self._crew.sites

    def _search(self, spaces: Sequence[Space]) -> None:
        """Bring every session of a condition to its end, all of them in step: so that they share their cells."""
        sittings = [
            sitting
            for space in spaces
            for name in self._methods
            if (space.id, name) not in self._decisions and (sitting := self._sit_down(space, name)) is not None
        ]
        while sittings:
            asks = [(sitting, ask) for sitting in sittings if (ask := sitting.session.ask) is not None]
            self._measure(asks)
            sittings = [sitting for sitting, ask in asks if self._go_on(sitting, ask)]

    def _go_on(self, sitting: _Sitting, ask: Ask) -> bool:
        """Tell a session what it asked for; whether it asks for more."""
        self._tell_turn(sitting.space, sitting.method)
        try:
            more = sitting.session.feed(self._tell(sitting, ask)) is not None
        except _OF_A_SESSION as error:
            if not sitting.told and (why := self._why_lost.get(sitting.space.id)):
                error.what = f"{error.what}; the first: {why}"
            self._cannot(sitting.space, sitting.method, error)
            return False
        if not more:
            self._decide(sitting)
        return more

    def _cannot(self, space: Space, method: str, error: SlicebedError) -> None:
        """Write down that a method cannot decide on a problem; --resume lets it try again."""
        self._campaign.note("session_failed", problem=space.id, method=method, error=str(error))
        self._progress.say(f"{space.id}, {method}: {error}")
        self._failed.append(error)

    def _sit_down(self, space: Space, name: str) -> _Sitting | None:
        """Begin a session; None where the method cannot."""
        try:
            return self._begin(space, name)
        except SiteLostError:
            raise
        except _OF_A_SESSION as error:
            self._cannot(space, name, error)
            return None

    def _begin(self, space: Space, name: str) -> _Sitting:
        method = self._methods[name]
        foresight = self._profiled(space) if needs_profiles(method) else None
        foretold: dict[str, Foretold] = {}

        def foretell(measures: Sequence[Measure]) -> Mapping[str, Foretold]:
            if foresight is not None:
                foretold.update(foresight.foretell(measures))
            return dict(foretold)

        problem = self._settings.problem(space, name)
        if foresight is not None:
            problem = replace(problem, candidates=foresight.candidates, foretell=foretell)
        self._tell_turn(space, name)
        session = Session(name, method, problem)
        return _Sitting(space, name, session, 0.0 if foresight is None else foresight.testbed_s, foretold)

    def _profiled(self, space: Space) -> Foresight:
        def failed(site: str, error: SlicebedError) -> None:
            self._campaign.note("profiling_failed", problem=space.id, site=site, error=str(error))

        return self._crew.on_a_site(lambda site: self._foresee(site, space), failed)

    def _measure(self, asks: Sequence[tuple[_Sitting, Ask]]) -> None:
        """Measure until every ask can be answered, one repeat of everything after the other."""
        while True:
            cells = {
                cell
                for sitting, ask in asks
                for key in ask.keys
                if (cell := self._next(sitting.space, ask, key)) is not None
            }
            if not cells:
                return
            settings = self._settings
            self._left = sum(max(1, settings.at_least - cell.repeat + 1) for cell in cells)
            self._tell_progress()
            block = ordered(cells, self._spaces, randomised=settings.randomised, seed=settings.order_seed)
            self._crew.work(block)

    def _next(self, space: Space, ask: Ask, key: str) -> Cell | None:
        """The cell that an ask still needs of a candidate."""
        frames = _frames(space, ask)
        found = self._record.of(space.id, key, frames)
        # The first that is missing: a run's folder may have been taken away.
        there = {data.cell.repeat for data in found}
        repeat = next(repeat for repeat in count(1) if repeat not in there)
        cell = Cell(space.id, key, repeat, frames)
        settled = self._settings.repeats(paired=ask.paired).settled(found)
        return cell if settled is None and cell.id not in self._lost else None

    def _tell(self, sitting: _Sitting, ask: Ask) -> list[Measure]:
        """The measures that answer an ask, of those candidates that could be measured."""
        measures = []
        for key in ask.keys:
            found = self._record.of(sitting.space.id, key, _frames(sitting.space, ask))
            cells = self._settings.repeats(paired=ask.paired).settled(found) or found
            sitting.told.update(dict.fromkeys(data.cell for data in cells))
            if cells:
                measures.append(measure(key, cells))
        return measures

    def _decide(self, sitting: _Sitting) -> None:
        decision = sitting.session.decision
        decided = self._record.decided(
            sitting.space.id, decision, tuple(sitting.told), sitting.profiles_s, sitting.foretold
        )
        self._campaign.note("decision", **decided)
        self._decisions[sitting.space.id, decision.method] = decided
        self._record.write(self._decisions.values())
        self._progress.say(f"{sitting.space.id}, {decision.method}: {decision.choice.key}, {decision.choice.why}")

    def done(self, cell: Cell, manifest: Mapping[str, Any]) -> None:
        """Take in a cell that is whole."""
        self._record.keep(read_cell(cell, self._campaign.folder / cell.run_id, manifest))
        self._note_done(cell, manifest)
        self._left -= 1
        self._tell_progress()

    def _note_done(self, cell: Cell, manifest: Mapping[str, Any], **facts: bool) -> None:
        self._campaign.note("cell_done", cell=cell.id, run=cell.run_id, site=manifest["site"], **facts)

    def trouble(self, cell: Cell, kind: Trouble, site: str, error: Exception, *, given_up: bool) -> None:
        """Write down an attempt that is no result."""
        self._campaign.note(kind.value, cell=cell.id, run=cell.run_id, site=site, error=str(error), given_up=given_up)
        if given_up:
            self._lost.add(cell.id)
            self._why_lost.setdefault(cell.problem, str(error))
            self._left -= 1
            self._tell_progress()

    def _tell_turn(self, space: Space, method: str) -> None:
        """Whoever waits is to know for whom: a method may take its time."""
        self._progress.say(f"{space.id}: {method} is deciding")

    def _tell_progress(self) -> None:
        took = [data.testbed_s for data in self._record.cells.values()]
        left_s = statistics.fmean(took) * self._left / max(1, len(self._crew.sites)) if took else None
        self._progress.cells(len(took), self._left, left_s)


def _frames(space: Space, ask: Ask) -> int:
    """What an ask says of frames; 0 where these are as many as usual."""
    return 0 if ask.frames >= space.frames else ask.frames
