"""Workers at one queue of cells: they are stopped together, bad cells are given up, and bad sites are left out."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from slicebed.errors import ProvisionError, RunError, VerdictError
from slicebed.run.search.crew import AT_FIRST, ATTEMPTS, LATER, Crew, SiteLostError, Trouble
from slicebed.run.search.space import Cell


class Waiting:
    """A worker whose cell lasts until it is stopped."""

    site = "lab"

    def __init__(self):
        self.begun, self.stopped = threading.Event(), False

    def measure(self, cell, stopped):
        self.begun.set()
        assert stopped.wait(20)
        self.stopped = True
        raise KeyboardInterrupt

    def mend(self):
        raise AssertionError


@pytest.fixture
def heeds_control_c():
    """A shell's background job ignores it, and what it starts does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_control_c")
def test_control_c_stops_every_site_before_it_is_told():
    workers = [Waiting(), Waiting()]

    def interrupt():
        for worker in workers:
            worker.begun.wait(20)
        # By now the crew waits for both; before, Python's pool may not know yet of the thread that it starts.
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    caller = threading.Thread(target=interrupt)
    caller.start()
    with pytest.raises(KeyboardInterrupt):
        Crew(workers, None).work([Cell("p", "a", 1), Cell("p", "b", 1), Cell("p", "c", 1)])
    caller.join()
    assert all(worker.stopped for worker in workers)


@pytest.mark.parametrize("mistake", [ZeroDivisionError, OSError])
def test_what_is_neither_a_cells_nor_a_hosts_fault_ends_the_search(mistake):
    class Broken(Waiting):
        def measure(self, cell, stopped):
            raise mistake

    with pytest.raises(mistake):
        Crew([Broken(), Waiting()], None).work([Cell("p", "a", 1), Cell("p", "b", 1)])


class Heard:
    """Keeps what it is told."""

    def __init__(self):
        self.whole, self.troubles = [], []

    def done(self, cell, manifest):
        self.whole.append(cell.key)

    def trouble(self, cell, kind, site, error, *, given_up):
        self.troubles.append((cell.key, kind, site, given_up))

    @property
    def given_up(self):
        return {key for key, *_, given_up in self.troubles if given_up}


class Site:
    """A worker on which some cells fail; one that is slow ends nothing until enough has failed elsewhere."""

    def __init__(self, site, fails, heard=None, wait_for=0):
        self.site, self.fails, self.heard, self.wait_for = site, fails, heard, wait_for
        self.tried, self.lost = [], False

    def measure(self, cell, stopped):
        while len(self.heard.troubles if self.heard else ()) < self.wait_for and not stopped.wait(0.001):
            pass
        self.tried.append(cell.key)
        if self.fails(cell):
            raise RunError(f"no samples of {cell.key} on {self.site}")
        return {}

    def mend(self):
        if self.lost:
            raise SiteLostError("unreachable", where=f"host edge of {self.site}")


CELLS = [Cell("p", f"k{number}", 1) for number in range(20)]


def keys(cells):
    return {cell.key for cell in cells}


def work(heard, site, blocks, failed=()):
    """One site's work on these cells, block by block."""
    crew = Crew([site], heard, dict.fromkeys(failed, ATTEMPTS))
    for block in blocks:
        crew.work(block)


def worked(fails, blocks=(CELLS,), failed=()):
    """What is heard of it, and the site."""
    heard, site = Heard(), Site("lab", fails)
    work(heard, site, blocks, failed)
    return heard, site


@pytest.mark.parametrize(
    "bad",
    [CELLS[:3], CELLS[-3:], CELLS[8:11], CELLS[1::2], CELLS[-7:]],
    ids=["first", "last", "together", "every second", "many"],
)
def test_cells_that_can_never_run_are_given_up_and_the_others_done(bad):
    heard, site = worked(lambda cell: cell in bad)
    assert heard.given_up == keys(bad)
    assert sorted(heard.whole) == sorted(keys(CELLS) - keys(bad))
    assert len(site.tried) == len(CELLS) + (ATTEMPTS - 1) * len(bad)


@pytest.mark.parametrize("bad", [CELLS[:3], CELLS[1:8]], ids=["first", "together"])
def test_so_they_are_where_cells_come_one_at_a_time(bad):
    heard, _ = worked(lambda cell: cell in bad, blocks=[[cell] for cell in CELLS])
    assert heard.given_up == keys(bad)
    assert set(heard.whole) == keys(CELLS) - keys(bad)


@pytest.mark.parametrize(("at_a_time", "attempts"), [(20, AT_FIRST), (1, (AT_FIRST - 1) * ATTEMPTS + 1)])
def test_where_all_fail_from_the_beginning_the_search_soon_ends_with_the_first_error(at_a_time, attempts):
    heard, site = Heard(), Site("lab", lambda _: True)
    blocks = [CELLS[begin : begin + at_a_time] for begin in range(0, len(CELLS), at_a_time)]
    said = f"{AT_FIRST} cells failed one after the other; the first: no samples of k0 on lab"
    with pytest.raises(RunError, match=said):
        work(heard, site, blocks)
    assert len(site.tried) == attempts


def test_a_site_that_breaks_later_ends_the_search_a_little_later_and_costs_no_cell():
    heard = Heard()
    site = Site("lab", lambda cell: cell in CELLS[5:])
    with pytest.raises(RunError, match=f"{LATER} cells failed one after the other; the first: no samples of k5 on"):
        Crew([site], heard).work(CELLS)
    assert len(site.tried) == 5 + LATER
    assert heard.given_up == set()


def test_cells_that_failed_before_a_resume_come_last_and_do_not_speak_against_the_site():
    bad = CELLS[:10]
    heard, site = worked(lambda cell: cell in bad, failed=[cell.id for cell in bad])
    assert site.tried == [cell.key for cell in (*CELLS[10:], *bad)]
    assert heard.given_up == keys(bad)


def test_nor_do_they_where_nothing_else_is_left():
    heard, site = worked(lambda _: True, failed=[cell.id for cell in CELLS])
    assert heard.given_up == keys(CELLS)
    assert len(site.tried) == len(CELLS)


def test_a_cell_that_failed_once_before_a_resume_has_the_attempts_that_are_left():
    heard, site = Heard(), Site("lab", lambda _: True)
    Crew([site], heard, {CELLS[0].id: 1}).work(CELLS[:1])
    assert len(site.tried) == ATTEMPTS - 1
    assert heard.given_up == {"k0"}


def test_a_site_on_which_everything_fails_is_left_out_and_costs_no_cell():
    heard = Heard()
    crew = Crew([Site("bad", lambda _: True), Site("good", lambda _: False, heard, AT_FIRST)], heard)
    crew.work(CELLS)
    assert crew.sites == ("good",)
    assert sorted(heard.whole) == sorted(keys(CELLS))
    kinds = [(kind, site) for _, kind, site, _ in heard.troubles]
    assert kinds == [(Trouble.FAILED, "bad")] * (AT_FIRST - 1) + [(Trouble.GIVEN_BACK, "bad")]
    assert len({key for key, *_ in heard.troubles}) == AT_FIRST


def test_a_cell_that_failed_on_one_site_is_tried_on_the_others_first():
    heard = Heard()
    crew = Crew([Site(site, lambda cell: cell.key == "k5") for site in ("a", "b")], heard)
    crew.work(CELLS)
    assert len(heard.whole) == len(CELLS) - 1
    first, second, _ = (site for *_, site, _ in heard.troubles)
    assert first != second
    assert [given_up for *_, given_up in heard.troubles] == [False, False, True]


def test_where_everything_fails_on_the_last_site_too_the_search_ends():
    heard = Heard()
    with pytest.raises(RunError, match=f"{AT_FIRST} cells failed one after the other"):
        Crew([Site(site, lambda _: True) for site in ("a", "b")], heard).work(CELLS)
    assert [kind for _, kind, *_ in heard.troubles].count(Trouble.GIVEN_BACK) == 1


class Acting:
    """What is done on a site, and fails on some of them."""

    def __init__(self, **errors):
        self.errors, self.tried, self.told = errors, [], []

    def __call__(self, site):
        self.tried.append(site)
        if site in self.errors:
            raise self.errors[site]
        return f"done on {site}"

    def failed(self, site, error):
        self.told.append((site, str(error)))


def sites(*names, lost=()):
    found = [Site(name, lambda _: False) for name in names]
    for site in found:
        site.lost = site.site in lost
    return found


@pytest.mark.parametrize("error", [RunError("no answer"), ProvisionError("no route"), SiteLostError("no route")])
def test_what_is_done_on_one_site_is_done_on_the_next_when_that_is_lost(error):
    crew, act = Crew(sites("a", "b", lost="a"), Heard()), Acting(a=error)
    assert crew.on_a_site(act, act.failed) == "done on b"
    assert crew.sites == ("b",)
    assert [site for site, _ in act.told] == ["a"]
    crew.work(CELLS)


def test_it_ends_when_no_site_is_left():
    crew, act = Crew(sites("a", "b", lost="ab"), Heard()), Acting(a=RunError("gone"), b=RunError("gone"))
    with pytest.raises(SiteLostError, match="host edge of b: unreachable"):
        crew.on_a_site(act, act.failed)
    assert act.tried == ["a", "b"]


@pytest.mark.parametrize("error", [RunError("no memory"), VerdictError("slow")])
def test_it_is_tried_as_often_as_a_cell_and_on_another_site_each_time(error):
    crew, act = Crew(sites("a", "b"), Heard()), Acting(a=error)
    assert crew.on_a_site(act, act.failed) == "done on b"
    act = Acting(a=error, b=error)
    with pytest.raises(type(error), match=error.what):
        crew.on_a_site(act, act.failed)
    assert act.tried == ["a", "b", "a"]
    assert len(act.told) == ATTEMPTS
    assert crew.sites == ("a", "b")
