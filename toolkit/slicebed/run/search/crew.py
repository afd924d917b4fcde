"""One worker for each site, all of them at one queue of cells; a cell that fails is tried again, then given up.

A cell that failed on one site is tried next on another, if there is one; a site on which everything fails is left out.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor, wait
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from slicebed.errors import ProvisionError, RunError, VerdictError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slicebed.run.search.space import Cell

ATTEMPTS: Final = 3
"""So often a cell is tried before the search goes on without it."""
IN_A_ROW: Final = 6
"""So many attempts that fail one after the other on a site end its part in the search: then it is not the cells."""
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

    def __init__(self, workers: Sequence[Worker], heard: Heard) -> None:
        """Take the workers, at least one, and who is told of their cells."""
        self._workers = list(workers)
        self._heard = heard
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._queue: deque[Cell] = deque()
        self._attempts: defaultdict[Cell, Counter[str]] = defaultdict(Counter)
        self._in_a_row: Counter[str] = Counter()

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of those that are left."""
        return tuple(worker.site for worker in self._workers)

    def work(self, cells: Iterable[Cell]) -> None:
        """Measure these cells; returns when each is done or given up.

        Raises:
            RunError: too many attempts failed in a row on the last site.
            VerdictError: likewise, because links were not as asked.
            SiteLostError: no site is left.
            KeyboardInterrupt: Ctrl-C; the runs under way are kept as failed ones.
        """
        self._queue.extend(cells)
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

    def _attempt(self, worker: Worker, cell: Cell) -> bool:
        """Try a cell; whether the site can go on."""
        try:
            manifest = worker.measure(cell, self._stopped)
        except VerdictError as error:
            return self._again(cell, Trouble.INVALID, worker, error)
        except (RunError, ProvisionError) as error:
            return self._mended(worker, cell, error)
        with self._lock:
            self._in_a_row[worker.site] = 0
            self._heard.done(cell, manifest)
        return True

    def _mended(self, worker: Worker, cell: Cell, error: RunError | ProvisionError) -> bool:
        try:
            worker.mend()
        except SiteLostError as lost:
            with self._lock:
                self._leave_out(worker, cell, lost)
                if not self._workers:
                    raise
            return False
        return self._again(cell, Trouble.FAILED, worker, error)

    def _again(
        self, cell: Cell, kind: Trouble, worker: Worker, error: RunError | ProvisionError | VerdictError
    ) -> bool:
        """Count an attempt that failed; whether the site can go on."""
        site = worker.site
        with self._lock:
            self._in_a_row[site] += 1
            hopeless = self._in_a_row[site] >= IN_A_ROW
            if hopeless:
                error.what = f"{IN_A_ROW} attempts failed one after the other; the last: {error.what}"
            if hopeless and len(self._workers) > 1:
                self._leave_out(worker, cell, error)
                return False
            self._attempts[cell][site] += 1
            given_up = self._attempts[cell].total() >= ATTEMPTS
            self._heard.trouble(cell, kind, site, error, given_up=given_up)
            if hopeless:
                raise error
            if not given_up:
                self._queue.append(cell)
        return True

    def _leave_out(self, worker: Worker, cell: Cell, error: Exception) -> None:
        """Go on without a site. Not the cell's fault: its attempt does not count."""
        self._heard.trouble(cell, Trouble.GIVEN_BACK, worker.site, error, given_up=False)
        self._queue.appendleft(cell)
        self._workers.remove(worker)
