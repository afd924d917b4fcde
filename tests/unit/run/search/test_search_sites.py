"""A crew that is stopped, and a site's worker: conditions change rarely, agents that are gone are started again."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import grpc
import pytest
from searches import make_spaces

from slicebed.errors import ProvisionError, RunError, VerdictError
from slicebed.run.progress import Progress
from slicebed.run.search.crew import IN_A_ROW, Crew, SiteLostError, Trouble
from slicebed.run.search.space import Cell
from slicebed.run.search.worker import SiteWorker
from slicebed.run.stage import Stage
from slicebed.run.store import create_campaign


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


def test_a_mistake_of_the_program_itself_ends_the_search():
    class Broken(Waiting):
        def measure(self, cell, stopped):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Crew([Broken(), Waiting()], None).work([Cell("p", "a", 1), Cell("p", "b", 1)])


class Heard:
    """Keeps what it is told."""

    def __init__(self):
        self.whole, self.troubles = [], []

    def done(self, cell, manifest):
        self.whole.append(cell.key)

    def trouble(self, cell, kind, site, error, *, given_up):
        self.troubles.append((cell.key, kind, site, given_up))


class Site:
    """A worker on which some cells fail; one that is slow ends nothing until enough has failed elsewhere."""

    def __init__(self, site, fails, heard=None, wait_for=0):
        self.site, self.fails, self.heard, self.wait_for = site, fails, heard, wait_for

    def measure(self, cell, stopped):
        while len(self.heard.troubles if self.heard else ()) < self.wait_for and not stopped.wait(0.001):
            pass
        if self.fails(cell):
            raise RunError(f"no samples on {self.site}")
        return {}

    def mend(self):
        pass


CELLS = [Cell("p", f"k{number}", 1) for number in range(12)]


def test_a_site_on_which_everything_fails_is_left_out_and_costs_no_cell():
    heard = Heard()
    crew = Crew([Site("bad", lambda _: True), Site("good", lambda _: False, heard, IN_A_ROW)], heard)
    crew.work(CELLS)
    assert crew.sites == ("good",)
    assert sorted(heard.whole) == sorted(cell.key for cell in CELLS)
    kinds = [(kind, site) for _, kind, site, _ in heard.troubles]
    assert kinds == [(Trouble.FAILED, "bad")] * (IN_A_ROW - 1) + [(Trouble.GIVEN_BACK, "bad")]
    assert len({key for key, *_ in heard.troubles}) == IN_A_ROW


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
    with pytest.raises(RunError, match=f"{IN_A_ROW} attempts failed one after the other"):
        Crew([Site(site, lambda _: True) for site in ("a", "b")], heard).work(CELLS)
    assert [kind for _, kind, *_ in heard.troubles].count(Trouble.GIVEN_BACK) == 1


class Control:
    """An agent's, which answers or is gone."""

    def __init__(self, agents, host):
        self.agents, self.host = agents, host

    def Describe(self, request, timeout):  # noqa: N802 - as the service has it
        if self.host in self.agents.gone:
            raise grpc.RpcError


@dataclass
class AgentsOfThree:
    """Stands for the agents of three hosts."""

    chain: tuple = ("client", "edge", "cloud")
    gone: set = field(default_factory=set)
    revived: list = field(default_factory=list)
    dead: bool = False

    @property
    def connections(self):
        return {host: SimpleNamespace(control=Control(self, host)) for host in self.chain}

    def revive(self, host):
        if self.dead:
            raise ProvisionError("no route", where=f"host {host}")
        self.gone.discard(host)
        self.revived.append(host)


@dataclass
class SimulatedBench:
    """Stands for reached hosts: notes which conditions were set and which runs were asked for."""

    stage: Stage
    agents: AgentsOfThree = field(default_factory=AgentsOfThree)
    conditions: list = field(default_factory=list)
    runs: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    @property
    def connections(self):
        return self.agents.connections

    def place(self, experiment, opened, model, runs):
        self.conditions.append(f"placed for {len(runs)}")
        return Subject(experiment)

    def set_conditions(self, experiment, configuration, parts):
        self.conditions.append((configuration.name, experiment.testbed.host("edge").cpu_quota))
        return "links"

    def run(self, subject, run, links, about):
        self.runs.append((run.run_id, about))
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return {"run": run.run_id}


@dataclass
class Subject:
    experiment: object


@pytest.fixture
def worker(tmp_path):
    _, (space,) = make_spaces(tmp_path, "search: {knobs: {edge.quota: [0.5, 1]}}")
    campaign = create_campaign(tmp_path / "results", "small", {})
    stage = Stage(None, tmp_path / "hosts.yml", campaign, Progress(), campaign.folder)
    return SiteWorker("lab", SimulatedBench(stage), {space.id: space})


def cell(point, quota):
    return Cell("net-testbed", f"split:{point}/edge.quota={quota}", 1)


def test_conditions_are_set_when_the_next_cell_wants_others(worker):
    stopped = threading.Event()
    for each in (cell("op1", 1), cell("op2", 1), cell("op3", 0.5), cell("op1", 0.5)):
        worker.measure(each, stopped)
    assert worker.bench.conditions == ["placed for 18", ("testbed", 1), ("testbed", 0.5)]
    about = worker.bench.runs[2][1]
    assert about["cell"] == "net-testbed/split:op3/edge.quota=0.5/r1"
    assert (about["knobs"], about["codec"], about["site"]) == ({"edge.quota": 0.5}, "tensorproto", "lab")


def test_after_a_link_that_was_not_as_asked_conditions_are_set_anew(worker):
    stopped = threading.Event()
    worker.bench.errors += [VerdictError("slow"), None, RunError("broke")]
    with pytest.raises(VerdictError):
        worker.measure(cell("op1", 1), stopped)
    worker.measure(cell("op1", 1), stopped)
    assert worker.bench.conditions[1:] == [("testbed", 1)] * 2
    with pytest.raises(RunError):
        worker.measure(cell("op2", 1), stopped)


def test_agents_that_are_gone_are_started_again_a_few_times(worker):
    agents = worker.bench.agents
    worker.mend()
    assert agents.revived == []
    agents.gone = {"edge", "cloud"}
    worker.mend()
    assert agents.revived == ["edge", "cloud"]
    for _ in range(8):
        agents.gone = {"edge"}
        worker.mend()
    agents.gone = {"edge"}
    with pytest.raises(SiteLostError, match="started 10 times again"):
        worker.mend()


def test_a_site_whose_host_is_not_reached_is_lost(worker):
    worker.bench.agents.gone, worker.bench.agents.dead = {"edge"}, True
    with pytest.raises(SiteLostError, match="host edge: no route"):
        worker.mend()


def test_what_an_agent_died_of_meanwhile_is_done_again(worker):
    agents, tried = worker.bench.agents, []

    def profiled():
        tried.append(len(agents.revived))
        if len(tried) == 1:
            agents.gone = {"edge"}
            raise RunError("the agent does not answer")
        return "a profile"

    assert worker.lasting(profiled) == "a profile"
    assert tried == [0, 1]


def test_what_fails_while_all_agents_answer_is_not_done_again(worker):
    tried = []

    def refused():
        tried.append(None)
        raise RunError("no such tensor")

    with pytest.raises(RunError, match="no such tensor"):
        worker.lasting(refused)
    assert len(tried) == 1
