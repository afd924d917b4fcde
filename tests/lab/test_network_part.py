"""The network part in this machine's own kernel: real messages in a namespace of the test's own."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from measured import measured
from network_wishes import MEGABIT, apply, link, rate, restore
from own_namespace import ADDRESSES, FAR, NEAR, run, told
from packet_stream import arrived

import slicebed_agent
from slicebed_agent.errors import HostError
from slicebed_agent.host.change import Change
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.network.steps import Step, Verb
from slicebed_agent.host.network.tree import ROOT_HANDLE, LeafQdisc, StrangeLeaf
from slicebed_agent.host.wish import LinkCondition, LinkWish, NetworkWish, ShapeAt

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]
EDGE = ip_address(ADDRESSES[4][1])


def random_wish(dice):
    links = []
    for at in ShapeAt:
        for version in (4, 6):
            numbers = dice.sample(range(2, 900), dice.randint(0, 25))
            links += [
                link(n, rate(dice.randint(8, 10**10), dice.choice([None, 7, 2000])), version=version, at=at)
                for n in numbers
            ]
    return NetworkWish(tuple(links), uplink_bit_per_s=dice.choice([None, None, 10 * MEGABIT]))


def test_any_table_after_any_other_and_back_to_what_was(far):
    before = told()
    dice = random.Random(7)
    network = Network()
    saved = {}
    for _ in range(25):
        wish = random_wish(dice)
        saved = {**network.save(wish), **saved}
        apply(wish)
    # What is saved goes through a file.
    restore(json.loads(json.dumps(saved)))
    assert told() == before


def test_a_new_peer_costs_its_own_messages_and_a_change_one(far):
    wish = NetworkWish(tuple(link(n, rate(MEGABIT)) for n in range(2, 400)))
    apply(wish)
    more = NetworkWish((*wish.links, link(600, rate(2 * MEGABIT))))
    assert [type(step.thing).__name__ for step in apply(more).steps] == ["HtbClass", "PeerFilter"]
    changed = NetworkWish((*wish.links, link(600, rate(3 * MEGABIT))))
    plan = apply(changed)
    assert [str(change) for change in plan.changes] == [
        "link p600 (near, 10.77.2.88): rate_bit_per_s 2000000 -> 3000000"
    ]
    assert [step.verb for step in plan.steps] == [Verb.CHANGE]
    gone = apply(wish)
    assert gone.changes == (Change("network", "link 10.77.2.88 (near, 10.77.2.88)", "rate_bit_per_s", 3000000, None),)
    assert [step.verb for step in gone.steps] == [Verb.DELETE, Verb.DELETE]


def test_a_peer_without_a_condition_of_its_own_comes_and_goes_by_its_share_of_the_cap(far):
    alone = NetworkWish((link(2, rate(MEGABIT)),), uplink_bit_per_s=10 * MEGABIT)
    both = NetworkWish((*alone.links, link(3, LinkCondition())), uplink_bit_per_s=10 * MEGABIT)
    apply(alone)
    assert [str(change) for change in apply(both).changes] == [
        "link p3 (near, 10.77.0.3): uplink_bit_per_s - -> 10000000"
    ]
    assert [str(change) for change in apply(alone).changes] == [
        "link 10.77.0.3 (near, 10.77.0.3): uplink_bit_per_s 10000000 -> -"
    ]


FILTER = f"filter add dev {NEAR} parent 1: protocol ip prio 5"
FOREIGN = {
    "tbf": [f"qdisc add dev {NEAR} root handle 9: tbf rate 5mbit burst 9k limit 90k"],
    "pfifo": [f"qdisc add dev {NEAR} root pfifo limit 77"],
    "htb": [
        f"qdisc add dev {NEAR} root handle 1: htb default 30 r2q 20",
        f"class add dev {NEAR} parent 1: classid 1:1 htb rate 50mbit quantum 2000",
        *[
            f"class add dev {NEAR} parent 1:1 classid 1:{n} htb rate {n}mbit prio 1"
            for n in (10, 20, 30, 31, 32, 33, 34, 35)
        ],
        f"qdisc add dev {NEAR} parent 1:10 handle 10: pfifo limit 12",
        f"qdisc add dev {NEAR} parent 1:20 tbf rate 1mbit burst 9k limit 90k",
        *[f"{FILTER} u32 match ip dport {port} 0xffff flowid 1:10" for port in (22, 80)],
        f"filter add dev {NEAR} parent 1: protocol ipv6 prio 6 u32 match ip6 dst fd77::9/128 flowid 1:20",
        f"{FILTER} handle 2: u32 divisor 16",
        f"{FILTER} u32 ht 2:3: match ip src 10.0.0.3 flowid 1:30 action mirred egress redirect dev lo",
        f"{FILTER} u32 ht 800:: link 2: hashkey mask 0x0000000f at 12 match ip src 10.0.0.0/8",
    ],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_somebody_elses_tree_comes_back_as_it_was(far, name):
    run("tc", "-batch", "-", text="\n".join(FOREIGN[name]))
    before = told()
    network = Network()
    wish = NetworkWish((link(5, rate(MEGABIT)), link(6, rate(MEGABIT), at=ShapeAt.RECEIVER)))
    saved = json.loads(json.dumps(network.save(wish)))
    assert not network.plan_restore(saved).steps
    plan = apply(wish)
    assert plan.changes[0].what == "root_qdisc"
    assert plan.changes[0].now.startswith(name)
    assert told() != before
    restore(saved)
    assert told() == before
    # The first refusal brings it back as well.
    refused_in_the_middle(network.plan(wish))
    assert told() == before


def refused_in_the_middle(plan):
    """Apply with a leaf of a kind that no kernel has, halfway."""
    wrong = Step(Verb.DELETE, NEAR, LeafQdisc(0x77770000, ROOT_HANDLE | 0x7777, StrangeLeaf("nothing")))
    middle = len(plan.steps) * 2 // 3
    with pytest.raises(HostError) as caught:
        Network().apply(replace(plan, steps=(*plan.steps[:middle], wrong, *plan.steps[middle:])))
    assert str(caught.value).startswith("near: refused to delete nothing leaf 7777: under 5b1d:7777 on near: ")
    assert "undone" in str(caught.value)


def test_a_refusal_takes_back_what_this_apply_did(far):
    nothing = told()
    dice = random.Random(3)
    for _ in range(6):
        refused_in_the_middle(Network().plan(random_wish(dice)))
        assert told() == nothing
    first = random_wish(dice)
    apply(first)
    for _ in range(6):
        refused_in_the_middle(Network().plan(random_wish(dice)))
        assert not Network().plan(first).steps


def test_a_refusal_says_step_device_and_what_the_kernel_said(far):
    plan = Network().plan(NetworkWish((link(5, rate(MEGABIT)),)))
    run("tc", "qdisc", "add", "dev", NEAR, "root", "handle", "5:", "pfifo")
    with pytest.raises(HostError, match=r"near: refused to add root htb 5b1d: on near: EEXIST File exists"):
        Network().apply(plan)


APPLY = """
import sys
from ipaddress import ip_address
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.wish import LinkCondition, LinkWish, NetworkWish, ShapeAt
first, last, at = int(sys.argv[1]), int(sys.argv[2]), ShapeAt(sys.argv[3])
links = (LinkWish(f"p{n}", ip_address("10.77.0.0") + n, LinkCondition(rate_bit_per_s=n * 1000), None, at)
         for n in range(first, last))
network = Network()
plan = network.plan(NetworkWish(tuple(links)))
print("planned", flush=True)
network.apply(plan)
"""


@pytest.mark.parametrize("at", ShapeAt)
def test_killed_in_the_middle_restore_and_the_next_apply_work(far, at):
    dice = random.Random(5)
    run("tc", *FOREIGN["tbf"][0].split())
    before = told()
    network = Network()
    wish = NetworkWish(tuple(link(n, rate(n * 1000), at=at) for n in range(100, 1300)))
    saved = network.save(wish)
    environment = {**os.environ, "PYTHONPATH": str(Path(slicebed_agent.__file__).parents[1])}
    unfinished = 0
    for attempt in range(8):
        bounds = (str(attempt * 50 + 2), str(attempt * 50 + 1500), at.value)
        command = [sys.executable, "-c", APPLY, *bounds]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            child.stdout.readline()
            time.sleep(dice.uniform(0, 0.15))
            child.send_signal(signal.SIGKILL)
        unfinished += child.returncode == -signal.SIGKILL
        if attempt % 2:
            apply(wish)
        restore(saved)
        assert told() == before
    assert unfinished


@measured
def test_no_packet_is_lost_while_links_change(far):
    others = [link(n, rate(MEGABIT)) for n in range(100, 300)]
    wishes = [NetworkWish((LinkWish("edge", EDGE, rate(n * MEGABIT)), *others)) for n in (500, 600)]
    apply(wishes[0])
    network, applied = Network(), 0

    def act():
        nonlocal applied
        # Every second apply finds the link as it is.
        plan = network.plan(wishes[applied % 4 // 2])
        assert len(plan.steps) == (applied % 2 == 0 and applied > 0)
        network.apply(plan)
        applied += 1

    assert arrived(20_000, str(EDGE), act, receiver=far.enter) == 20_000
    assert applied > 20


def test_what_somebody_else_edited_is_repaired(far):
    before = told()
    wish = NetworkWish((LinkWish("edge", EDGE, rate(MEGABIT)), link(9, rate(MEGABIT, 20)), link(7, rate(8), version=6)))
    network = Network()
    saved = network.save(wish)
    apply(wish)
    edits = {
        "class change dev near parent 5b1d:1 classid 5b1d:10 htb rate 7mbit": "rate_bit_per_s",
        "qdisc del dev near parent 5b1d:11": "queue_packets",
        "filter del dev near parent 5b1d: prio 9": "rate_bit_per_s",
        "filter add dev near parent 5b1d: prio 7 protocol ip u32 match u32 0 0 flowid 5b1d:10": "kernel_state",
        "class add dev near parent 5b1d:10 classid 5b1d:99 htb rate 1mbit": "kernel_state",
        "qdisc del dev near root": "root_qdisc",
        "qdisc replace dev near root pfifo": "root_qdisc",
    }
    for edit, what in edits.items():
        run("tc", *edit.split())
        assert apply(wish).changes[0].what == what, edit
    restore(saved)
    assert told() == before


def test_an_interface_that_went_away_took_its_conditions_along(far):
    wish = NetworkWish((link(9, rate(MEGABIT), at=ShapeAt.RECEIVER), link(9, rate(MEGABIT))))
    network = Network()
    saved = network.save(wish)
    apply(wish)
    run("ip", "link", "del", NEAR)
    restore(saved)
    assert "ifb" not in run("ip", "-d", "link")
    assert FAR not in saved


def test_what_leads_incoming_packets_to_the_ifb_has_changes_of_its_own_and_nothing_is_called_edited(far):
    edge, other = (link(n, rate(MEGABIT), at=ShapeAt.RECEIVER) for n in (2, 9))
    network = Network()
    saved = network.save(NetworkWish((edge,)))
    ifb = f"sbi-{socket.if_nametoindex(NEAR)}"
    redirect = Change("network", NEAR, "inbound_redirect", None, ifb)
    limit = Change("network", f"link p9 ({NEAR}, 10.77.0.9) inbound", "rate_bit_per_s", None, MEGABIT)
    planned = apply(NetworkWish((edge,))).changes
    assert redirect in planned
    assert [change for change in planned if change.what == "kernel_state"] == []
    # Another peer's filter comes and goes with its link, which says so.
    assert apply(NetworkWish((edge, other))).changes == (limit,)
    assert [change.what for change in apply(NetworkWish((edge,))).changes] == ["rate_bit_per_s"]
    back = network.plan_restore(saved).changes
    assert replace(redirect, now=ifb, wanted=None) in back
    assert [change for change in back if change.what == "kernel_state"] == []


INGRESS_EDITS = {
    "qdisc del dev near ingress": (NEAR, "inbound_redirect"),
    "filter del dev near ingress": ("link p2 (near, 10.77.0.2) inbound", "inbound_redirect"),
    "filter add dev near ingress prio 3 protocol ip u32 match u32 0 0 action mirred egress redirect dev lo": (
        NEAR,
        "kernel_state",
    ),
}


@pytest.mark.parametrize("edit", INGRESS_EDITS)
def test_what_somebody_edited_at_the_ingress_is_told_as_what_it_is(far, edit):
    wish = NetworkWish((link(2, rate(MEGABIT), at=ShapeAt.RECEIVER),))
    apply(wish)
    run("tc", *edit.split())
    assert [(change.where, change.what) for change in apply(wish).changes] == [INGRESS_EDITS[edit]]


def test_a_saved_root_that_somebody_damaged_is_named(far):
    for damage in (3, [1, 2], {}, {"root": 5}, {"root": {"kind": "tbf", "handle": 1, "objects": [1]}}):
        with pytest.raises(HostError, match="near: the saved original is not as Slicebed writes it; move the file"):
            Network().plan_restore({NEAR: damage})
