"""What TCP gets through the network part's links, in this machine's own kernel."""

from __future__ import annotations

import json
import os
import time
from ipaddress import ip_address

import pytest
from measured import measured
from network_wishes import MEGABIT, apply, rate, restore
from own_namespace import ADDRESSES, run, told

from slicebed_agent.host.network.part import Network
from slicebed_agent.host.wish import LinkWish, NetworkWish, ShapeAt

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]
EDGE = ip_address(ADDRESSES[4][1])


@measured
def test_only_the_named_peer_is_limited_and_it_is(far):
    apply(NetworkWish((LinkWish("edge", EDGE, rate(20 * MEGABIT)),)))
    assert goodput(far, ADDRESSES[4][1]) == pytest.approx(0.956 * 20 * MEGABIT, rel=0.04)
    assert goodput(far, ADDRESSES[6][1]) > 200 * MEGABIT


@measured
def test_the_receiver_limits_what_comes_from_a_peer(far):
    before = told()
    network = Network()
    wish = NetworkWish((LinkWish("edge", EDGE, rate(20 * MEGABIT), at=ShapeAt.RECEIVER),))
    saved = network.save(wish)
    plan = apply(wish)
    told_changes = [str(change) for change in plan.changes]
    assert "link edge (near, 10.77.0.2) inbound: rate_bit_per_s - -> 20000000" in told_changes
    assert any(line.startswith("near: inbound_device - -> sbi-") for line in told_changes)
    assert goodput(far, ADDRESSES[4][1], "--reverse") == pytest.approx(0.956 * 20 * MEGABIT, rel=0.06)
    restore(saved)
    assert told() == before


@measured
def test_peers_share_the_cap_of_the_uplink(far):
    apply(NetworkWish((LinkWish("edge", EDGE, rate(90 * MEGABIT)),), uplink_bit_per_s=15 * MEGABIT))
    assert goodput(far, ADDRESSES[4][1]) == pytest.approx(0.956 * 15 * MEGABIT, rel=0.05)
    assert goodput(far, ADDRESSES[6][1]) > 200 * MEGABIT


def goodput(far, address, *arguments):
    """Received bit per second of one TCP stream from here (or to here)."""
    far("iperf3", "--server", "--one-off", "--daemon", "--bind", address)
    time.sleep(0.3)
    out = json.loads(run("iperf3", "--json", "--client", address, "--time", "3", "--omit", "1", *arguments))
    assert "sum_received" in out["end"], out.get("error", out)
    return out["end"]["sum_received"]["bits_per_second"]
