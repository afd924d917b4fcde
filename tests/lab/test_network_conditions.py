"""Conditions of links from one apply to the next, in this machine's own kernel: what a refused one leaves."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from own_namespace import NEAR, own_namespace, run, told

from slicebed_agent.errors import HostError
from slicebed_agent.host.change import Change, PartPlan
from slicebed_agent.host.conditions import Conditions
from slicebed_agent.host.deadman import DeadMan
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.network.steps import Step, Verb
from slicebed_agent.host.network.tree import ROOT_HANDLE, LeafQdisc, StrangeLeaf
from slicebed_agent.host.state import State

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]
OTHER = "other"
NETWORKS = {NEAR: "10.77.0", OTHER: "10.78.0"}
FOREIGN = ("tbf rate 5mbit burst 9k limit 90k", "pfifo limit 77")
STRANGE_LEAF = Step(Verb.DELETE, NEAR, LeafQdisc(0x77770000, ROOT_HANDLE | 0x7777, StrangeLeaf("nothing")))


class Forgetful:
    """A workload part whose host takes a value without a word, and does not keep it."""

    name = "workload"

    def __init__(self):
        self.is_forgetful = True

    def plan(self, wish, apart=()):
        wanted = Change("workload", "cgroup", "memory_bytes", None, wish.memory_bytes)
        return PartPlan("workload", (wanted,), ("write",)) if self.is_forgetful else PartPlan("workload")

    def names(self, _wish):
        return ("group",)

    def save(self, _wish, also=()):
        return dict.fromkeys(("group", *also))

    def apply(self, plan):
        pass

    def plan_restore(self, _saved):
        return PartPlan("workload")


class RefusedTheSecondTime(Network):
    """The kernel takes the first pass and refuses the second, halfway."""

    def __init__(self):
        self.applied = -1

    def plan(self, wish, apart=()):
        found = super().plan(wish, apart)
        if self.applied != 1:
            return found
        edited = Change("network", NEAR, "kernel_state", "edited", "as planned")
        return replace(found, changes=(edited,), steps=(STRANGE_LEAF,))

    def apply(self, plan):
        if plan.steps and self.applied >= 0:
            self.applied += 1
        super().apply(plan)


@pytest.fixture
def _two_interfaces(monkeypatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    with own_namespace():
        run("ip", "link", "add", OTHER, "type", "veth", "peer", "name", "unused")
        run("ip", "address", "add", f"{NETWORKS[OTHER]}.1/24", "dev", OTHER)
        for device in (OTHER, "unused"):
            run("ip", "link", "set", device, "up")
        yield


def conditions(tmp_path, network=None):
    parts = {"network": network or Network(), "workload": Forgetful()}
    return Conditions(parts, State(tmp_path / "state"), DeadMan(tmp_path / "timer"))


def wish(links, **parts):
    network = [
        {
            "peer": f"p{number}",
            "peer_address": f"{NETWORKS[device]}.{number}",
            "interface": device,
            "condition": {"rate_bit_per_s": rate},
        }
        for (device, number), rate in links.items()
    ]
    return {"host": "edge", "network": {"links": network}, **parts}


EARLIER = wish({(NEAR, 2): 1_000_000, (NEAR, 3): 2_000_000})


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.usefixtures("_two_interfaces")
def test_what_the_host_did_not_take_leaves_the_links_of_the_apply_before(tmp_path, foreign):
    run(*f"tc qdisc add dev {OTHER} root {foreign}".split())
    untouched = told()
    here = conditions(tmp_path)
    here.apply(EARLIER)
    before = told()
    later = wish({(NEAR, 2): 5_000_000, (OTHER, 9): 1_000_000}, workload={"memory_bytes": 1000})
    with pytest.raises(HostError, match="did not take: cgroup: memory_bytes"):
        here.apply(later)
    assert told() == before
    assert here.drift().changes == ()
    here.restore()
    assert told() == untouched


@pytest.mark.usefixtures("_two_interfaces")
def test_a_second_pass_that_is_refused_leaves_the_links_of_the_apply_before(tmp_path):
    network = RefusedTheSecondTime()
    here = conditions(tmp_path, network)
    here.apply(EARLIER)
    before = told()
    network.applied = 0
    with pytest.raises(HostError, match="refused to delete nothing leaf"):
        here.apply(wish({(NEAR, 2): 5_000_000, (OTHER, 9): 1_000_000}))
    assert told() == before
    assert here.drift().changes == ()


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.usefixtures("_two_interfaces")
def test_a_first_apply_that_the_host_did_not_take_leaves_what_was_there(tmp_path, foreign):
    run(*f"tc qdisc add dev {OTHER} root {foreign}".split())
    untouched = told()
    with pytest.raises(HostError, match="did not take"):
        conditions(tmp_path).apply(wish({(OTHER, 9): 1_000_000}, workload={"memory_bytes": 1000}))
    assert told() == untouched


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.usefixtures("_two_interfaces")
def test_an_interface_that_the_next_wish_leaves_out_has_somebody_elses_root_again(tmp_path, foreign):
    run(*f"tc qdisc add dev {OTHER} root {foreign}".split())
    untouched, root = told(), run("tc", "qdisc", "show", "dev", OTHER)
    here = conditions(tmp_path)
    near = {(NEAR, 2): 1_000_000}
    here.apply(wish({**near, (OTHER, 9): 1_000_000}))
    assert run("tc", "qdisc", "show", "dev", OTHER) != root
    planned = here.plan(wish(near))
    roots = [(each.where, str(each.wanted).split()[0]) for each in planned.changes if each.what == "root_qdisc"]
    assert roots == [(OTHER, foreign.split()[0])]
    assert here.apply(wish(near)) == planned
    assert run("tc", "qdisc", "show", "dev", OTHER) == root
    assert here.apply(wish(near)).writes == 0
    assert here.drift().changes == ()
    here.apply(wish({}))
    assert told() == untouched
