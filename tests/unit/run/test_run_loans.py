"""Limits on loan, from the control machine: put back behind a search, and by whoever comes after one that died."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from conditions_drawer import Drawer

from slicebed.errors import ProvisionError, RunError
from slicebed.run import loans, stage
from slicebed.run.loans import put_back_limits
from slicebed.run.progress import Progress
from slicebed.run.stage import Stage
from slicebed.run.store import create_campaign
from slicebed.spec.testbed import load_testbed
from slicebed.testbed.inventory import read_inventory
from slicebed_agent.errors import HostError
from slicebed_agent.host import verbs
from slicebed_agent.host.conditions import Conditions
from slicebed_agent.host.deadman import DeadMan
from slicebed_agent.host.state import State

OWN = {"host": "edge", "workload": {"memory_bytes": 1000}}
SEARCHED = {"host": "edge", "cpu": {"governor": "performance"}, "workload": {"memory_bytes": 5}}
DIED = "small-20260101T000000Z"
INVENTORY = """
testbed:
  hosts:
    edge: {ansible_host: 10.0.0.2}
    "off": {ansible_host: 10.0.0.3}
"""
TESTBED = """
name: limited
hosts:
  edge: {role: edge, memory: 32 MiB}
"""


class Edge(Progress):
    """A host whose parts are dictionaries, with a real record and real verbs; it notes its limits at every word."""

    def __init__(self, folder):
        self.folder, self.said = folder, []
        names = {"cpu": "cpu", "workload": "cgroup", "network": "eth0"}
        self.parts = {name: Drawer(name, device) for name, device in names.items()}

    @property
    def limits(self):
        return {**self.parts["cpu"].machine, **self.parts["workload"].machine}

    def state(self):
        return State(self.folder / "conditions")

    def conditions(self, _=None):
        return Conditions(self.parts, self.state(), DeadMan(self.folder / "run"))

    def call(self, verb, request, _timeout_s):
        try:
            return json.loads(json.dumps(verbs.handlers()[verb](json.loads(json.dumps(request)))))
        except HostError as error:
            raise ProvisionError(error.what, where=error.where) from error

    def say(self, text):
        self.said.append((text, self.limits))


class NotedStage(Stage):
    """Its playbooks are only told of."""

    def play(self, name, tags=None, **_):
        self.progress.say(f"{name} {tags}")


@pytest.fixture
def edge(tmp_path, monkeypatch):
    edge = Edge(tmp_path)
    monkeypatch.setattr(verbs, "State", edge.state)
    monkeypatch.setattr(verbs, "_conditions", edge.conditions)

    @contextmanager
    def reach(host):
        if host.name != "edge":
            raise ProvisionError("no SSH connection", where=f"host {host.name}")
        yield edge

    @contextmanager
    def reach_all(hosts):
        yield dict.fromkeys(hosts, edge)

    # SSH is tried in the lab.
    monkeypatch.setattr(loans, "open_channel", reach)
    monkeypatch.setattr(stage, "open_channels", reach_all)
    return edge


@pytest.fixture
def hosts(tmp_path):
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    return read_inventory(tmp_path / "hosts.yml")


@pytest.fixture
def campaign(tmp_path):
    return create_campaign(tmp_path / "results", "after", {})


@pytest.fixture
def played(tmp_path, edge, hosts, campaign):
    inventory = tmp_path / "hosts.yml"
    return NotedStage(None, inventory, {"edge": hosts["edge"]}, campaign, edge, campaign.folder)


@pytest.fixture
def limited(tmp_path):
    (tmp_path / "testbed.yml").write_text(TESTBED)
    return load_testbed(tmp_path / "testbed.yml")


def noted(campaign, event):
    return [{**line, "at": None} for line in campaign.events() if line["event"] == event]


def died_on(edge):
    """A user's own limits, then those of a search that was killed."""
    edge.conditions().apply(OWN)
    edge.conditions().apply(SEARCHED, on_loan_to=DIED)


@pytest.mark.parametrize("deploy", [True, False])
def test_who_comes_after_a_search_that_died_begins_with_the_limits_of_before(edge, played, campaign, deploy):
    died_on(edge)
    played.make_ready(deploy=deploy)
    assert edge.limits == {"memory_bytes": 1000}
    told = (f"host edge: limits that {DIED} left are put back", {"memory_bytes": 1000})
    assert told in edge.said
    # Agents are not started with limits of others.
    assert ("deploy.yml None", {"memory_bytes": 1000}) in edge.said or not deploy
    (line,) = noted(campaign, "limits_put_back")
    assert (line["host"], line["on_loan_to"]) == ("edge", DIED)


def test_limits_that_somebody_applied_stay_without_a_word(edge, played, campaign):
    edge.conditions().apply(OWN)
    played.make_ready(deploy=False)
    assert edge.limits == {"memory_bytes": 1000}
    assert edge.said == []
    assert not noted(campaign, "limits_put_back")


def test_a_search_starts_agents_under_its_limits_and_puts_back_what_was_there_before_it(edge, played, limited):
    died_on(edge)
    with played.limits_on_loan():
        played.make_ready(limited, deploy=True)
    assert [(text, limits) for text, limits in edge.said if ".yml" in text] == [
        ("condition.yml host_tools", {"governor": "performance", "memory_bytes": 5}),
        ("deploy.yml None", {"memory_bytes": 32 << 20}),
    ]
    assert edge.limits == {"memory_bytes": 1000}


def test_limits_that_are_left_do_not_hide_what_ended_a_search(edge, played, limited, campaign):
    def search():
        with played.limits_on_loan():
            played.make_ready(limited, deploy=True)
            edge.parts["workload"].refuses = 1000
            raise RunError("an agent died")

    edge.conditions().apply(OWN)
    with pytest.raises(RunError, match="an agent died"):
        search()
    assert edge.said[-1][0].startswith("limits are left: ")
    assert [line["host"] for line in noted(campaign, "limits_left")] == ["edge"]
    # The host still knows of them.
    edge.parts["workload"].refuses = None
    put_back_limits(played.hosts, campaign)
    assert edge.limits == {"memory_bytes": 1000}


def test_a_host_that_is_not_reached_does_not_keep_the_others(edge, hosts, campaign):
    died_on(edge)
    with pytest.raises(ProvisionError, match="host off: no SSH connection"):
        put_back_limits(hosts, campaign)
    assert edge.limits == {"memory_bytes": 1000}
    (line,) = noted(campaign, "limits_left")
    assert line["host"] == "off"
