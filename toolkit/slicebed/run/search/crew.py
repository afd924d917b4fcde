"""One worker for each site, all of them at one queue of cells; a cell that fails is tried again, then given up.

A cell that failed on one site is tried next on another, if there is one. Whether cells or the site are to blame tells
what the site does next: cells that failed before it finished another are in doubt themselves; where many others fail
one after the other, it is the site, which is left out.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor, wait
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from slicebed.errors import ProvisionError, RunError, VerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slicebed.run.search.space import Cell

T = TypeVar("T")
Error = RunError | ProvisionError | VerdictError

ATTEMPTS: Final = 3
"""So often a cell is tried before the search goes on without it; one that failed before --resume at least once more."""
AT_FIRST: Final = 4
"""So many cells that fail one after the other end the part of a site that has finished none: then it is not the cells.

What counts are different ones that are not in doubt."""
LATER: Final = 8
"""The same of a site that has finished one, of which it is known that it can."""
_TURN_S: Final = 0.5


class SiteLostError(ProvisionError):
    """The hosts of a site cannot be used any more."""


class Worker(Protocol):
    """Measures cells on the hosts of one site."""

    @property
    def site(self) -> str:
        """Its name."""
        ...

    def measure(self, cell: Cell, stopped: threading.Event) -> Mapping[str, Any]:
        """Do a cell's run; give its manifest.

        Raises:
            RunError: it failed; likewise ProvisionError.
            VerdictError: a link was not as asked.
            KeyboardInterrupt: it was stopped.
        """
        ...

    def mend(self) -> None:
        """Make sure that hosts and agents can be used.

        Raises:
            SiteLostError: they cannot.
        """
        ...


class Trouble(StrEnum):
    """What became of an attempt at a cell that is no result, by the journal's word for it."""

    FAILED = "cell_failed"
    INVALID = "cell_invalid"
    GIVEN_BACK = "cell_given_back"


class Heard(Protocol):
    """Is told what becomes of cells; by one worker at a time."""

    def done(self, cell: Cell, manifest: Mapping[str, Any]) -> None:
        """A cell is whole."""
        ...

    def trouble(self, cell: Cell, kind: Trouble, site: str, error: Exception, *, given_up: bool) -> None:
        """An attempt was no result."""
        ...


class Crew:
    """Workers that share the cells they are given."""

    def __init__(
        self, workers: Sequence[Worker], heard: Heard, failed: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """Take the workers, at least one, and who is told of their cells.

        Args:
            workers: one of each site.
            heard: is told.
            failed: attempts that failed before this process began, by the cell's id; such cells are in doubt.
        """
        self._workers = list(workers)
        self._heard = heard
        self._failed = failed
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._queue: deque[Cell] = deque()
        self._attempts: defaultdict[Cell, Counter[str]] = defaultdict(Counter)
        self._able: set[str] = set()
        self._doubted = set(failed)
        # By site: the first error of each cell that failed there since it finished one, and is not in doubt.
        self._failing: defaultdict[str, dict[str, Error]] = defaultdict(dict)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of those that are left."""
        return tuple(worker.site for worker in self._workers)

    def work(self, cells: Iterable[Cell]) -> None:
        """Measure these cells, those in doubt behind the others; returns when each is done or given up.

        Raises:
            RunError: too many cells failed one after the other on the last site; likewise ProvisionError.
            VerdictError: likewise, because links were not as asked.
            SiteLostError: no site is left.
            KeyboardInterrupt: Ctrl-C; the runs under way are kept as failed ones.
        """
        self._queue.extend(sorted(cells, key=lambda cell: cell.id in self._doubted))
        # What a site gives back, or leaves to others, may come when these have ended already.
        while self._queue:
            with ThreadPoolExecutor(len(self._workers), thread_name_prefix="site") as pool:
                try:
                    serving = [pool.submit(self._serve, worker) for worker in list(self._workers)]
                    # By turns: a Ctrl-C that comes just before a wait without an end would not be heard.
                    while wait(serving, _TURN_S).not_done:
                        pass
                except BaseException:
                    self._stopped.set()
                    raise
            # Those that were stopped only because another failed have no more to say than that.
            errors = [error for future in serving if (error := future.exception()) is not None]
            for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
                raise error

    def _serve(self, worker: Worker) -> None:
        while not self._stopped.is_set():
            with self._lock:
                cell = next((cell for cell in self._queue if self._may_take(worker, cell)), None)
                if cell is None:
                    return
                self._queue.remove(cell)
            try:
                if not self._attempt(worker, cell):
                    return
            except BaseException:
                self._stopped.set()
                raise

    def _may_take(self, worker: Worker, cell: Cell) -> bool:
        """Whether no other site has tried a cell less often; of every cell, that holds of one site at least."""
        attempts = self._attempts[cell]
        return attempts[worker.site] <= min(attempts[site] for site in self.sites)

    def on_a_site(self, act: Callable[[str], T], failed: Callable[[str, Error], None]) -> T:
        """Do something on one of the sites; as often as a cell is tried, and on another site each time if there is one.

        Not while cells are measured. A site that is lost meanwhile is left out, which is no attempt.

        Args:
            act: does it on the site of this name.
            failed: is told of every attempt that failed, and where.

        Raises:
            RunError, ProvisionError, VerdictError: of the last attempt.
            SiteLostError: no site is left.
        """
        attempts = 0
        while True:
            worker = self._workers[attempts % len(self._workers)]
            try:
                return act(worker.site)
            except (RunError, ProvisionError, VerdictError) as error:
                lost = _mended(worker, error)
                failed(worker.site, lost or error)
                attempts += lost is None
                if attempts == ATTEMPTS:
                    raise
            if lost is not None:
                self._workers.remove(worker)
                if not self._workers:
                    raise lost

    def _attempt(self, worker: Worker, cell: Cell) -> bool:
        """Try a cell; whether the site can go on."""
        try:
            manifest = worker.measure(cell, self._stopped)
        except (RunError, ProvisionError, VerdictError) as error:
            lost = _mended(worker, error)
            with self._lock:
                return self._leave_out(worker, cell, lost) if lost else self._again(worker, cell, error)
        with self._lock:
            self._able.add(worker.site)
            self._doubted |= self._failing.pop(worker.site, {}).keys()
            self._heard.done(cell, manifest)
        return True

    def _again(self, worker: Worker, cell: Cell, error: Error) -> bool:
        """Count an attempt that failed; whether the site can go on."""
        site = worker.site
        failing = self._failing[site]
        if cell.id not in self._doubted:
            failing.setdefault(cell.id, error)
        hopeless = len(failing) >= (LATER if site in self._able else AT_FIRST)
        if hopeless:
            first = next(iter(failing.values()))
            first.what = f"{len(failing)} cells failed one after the other; the first: {first.what}"
            if len(self._workers) > 1:
                return self._leave_out(worker, cell, first)
        self._attempts[cell][site] += 1
        before = min(self._failed.get(cell.id, 0), ATTEMPTS - 1)
        given_up = before + self._attempts[cell].total() >= ATTEMPTS
        kind = Trouble.INVALID if isinstance(error, VerdictError) else Trouble.FAILED
        self._heard.trouble(cell, kind, site, error, given_up=given_up)
        if hopeless:
            raise first
        if not given_up:
            self._queue.append(cell)
        return True

    def _leave_out(self, worker: Worker, cell: Cell, error: Error) -> bool:
        """Go on without a site, if there is another. Not the cell's fault: its attempt does not count."""
        self._heard.trouble(cell, Trouble.GIVEN_BACK, worker.site, error, given_up=False)
        self._queue.appendleft(cell)
        self._workers.remove(worker)
        if not self._workers:
            raise error
        return False


def _mended(worker: Worker, error: Error) -> SiteLostError | None:
    """Make sure that a site can be used after an error; why it cannot, if so."""
    if isinstance(error, SiteLostError):
        return error
    if isinstance(error, VerdictError):
        return None
    try:
        worker.mend()
    except SiteLostError as lost:
        return lost
    return None
