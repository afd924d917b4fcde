"""A site's worker: conditions change rarely, agents that are gone are started again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace

import grpc
import pytest
from searches import make_spaces

from slicebed.errors import MissingRequirementError, ProvisionError, RunError, VerdictError
from slicebed.run.progress import Progress
from slicebed.run.search.crew import SiteLostError
from slicebed.run.search.space import Cell
from slicebed.run.search.worker import SiteWorker, require_energy
from slicebed.run.stage import Stage
from slicebed.run.store import create_campaign


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
    stage = Stage(None, tmp_path / "hosts.yml", {}, campaign, Progress(), campaign.folder)
    return SiteWorker("lab", SimulatedBench(stage), {space.id: space})


def cell(point, quota):
    return Cell("net-testbed", f"split:{point}/edge.quota={quota}", 1)


def test_conditions_are_set_when_the_next_cell_wants_others(worker):
    stopped = threading.Event()
    for each in (cell("op1", 1), cell("op2", 1), cell("op3", 0.5), cell("op1", 0.5)):
        worker.measure(each, stopped)
    assert worker.bench.conditions == ["placed for 18", ("testbed", 1), ("testbed", 0.5)]
    noted = [event for event in worker.bench.stage.campaign.events() if "testbed_s" in event]
    assert [event["event"] for event in noted] == ["model_brought", "conditions_set", "conditions_set"]
    assert [event.get("knobs") for event in noted] == [None, {"edge.quota": 1}, {"edge.quota": 0.5}]
    assert all(event["testbed_s"] >= 0 for event in noted)
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


def test_where_energy_is_searched_for_every_host_of_a_run_must_measure_it(worker):
    spaces = worker.spaces.values()
    said = {"client": {"measures_energy": True}, "edge": {"cores": 2}, "cloud": {}}
    with pytest.raises(MissingRequirementError, match="host edge: no energy is measured there"):
        # No frame passes the cloud of this experiment.
        require_energy(SimpleNamespace(facts=said), spaces)
    require_energy(SimpleNamespace(facts=said | {"edge": {"measures_energy": True}}), spaces)
