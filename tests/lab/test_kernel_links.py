"""Link conditions in the machine's own kernel: real netlink messages in a namespace of the test's own."""

from __future__ import annotations

import os
from ipaddress import IPv4Address

import pytest
from pyroute2 import NetNS, netns

from slicebed_agent.errors import HostError
from slicebed_agent.host import kernel_links
from slicebed_agent.host.links import Condition, Wish, plan, plan_absent

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]

EDGE, CLOUD = IPv4Address("10.250.0.2"), IPv4Address("10.250.0.3")
MEGABIT = 1_000_000


@pytest.fixture
def kernel():
    name = f"slicebed-test-{os.getpid()}"
    with NetNS(name) as namespace:
        namespace.link("add", ifname="near", kind="veth", peer={"ifname": "far"})
        for end in ("near", "far"):
            namespace.link("set", index=namespace.link_lookup(ifname=end)[0], state="up")
        yield namespace
    netns.remove(name)


def put(kernel, peers):
    wishes = [Wish("near", address, condition) for address, condition in peers.items()]
    steps = plan(wishes, kernel_links.read(kernel, ["near"]))
    kernel_links.apply(kernel, steps)
    return steps


def test_conditions_are_held_changed_in_place_and_taken_off(kernel):
    before = kernel_links.read(kernel, ["near"])
    peers = {EDGE: Condition(rate_bit_per_s=50 * MEGABIT), CLOUD: Condition(rate_bit_per_s=MEGABIT)}
    assert put(kernel, peers)
    held = kernel_links.read(kernel, ["near"])["near"]
    assert held.ours
    assert dict(held.peers.values()) == peers
    assert put(kernel, peers) == ()
    assert len(put(kernel, {**peers, EDGE: Condition(rate_bit_per_s=20 * MEGABIT)})) == 1
    kernel_links.apply(kernel, plan_absent(kernel_links.read(kernel, ["near"])))
    assert kernel_links.read(kernel, ["near"]) == before


def test_delay_is_held_or_refused_by_name_with_nothing_left_half_done(kernel):
    before = kernel_links.read(kernel, ["near"])
    peers = {EDGE: Condition(delay_us=21_000, jitter_us=5_800), CLOUD: Condition(delay_us=250_000)}
    try:
        put(kernel, peers)
    except HostError as error:
        assert "no sch_netem" in str(error)  # noqa: PT017 - which of the two happens is the kernel's to say
        assert kernel_links.read(kernel, ["near"]) == before
        return
    assert dict(kernel_links.read(kernel, ["near"])["near"].peers.values()) == peers
    assert put(kernel, peers) == ()
    assert len(put(kernel, {**peers, CLOUD: Condition(delay_us=1_000_000)})) == 1
