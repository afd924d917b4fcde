"""What the network part refuses before anything changes: the way in, contradictions, what the kernel or routes say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from network_wishes import apply
from own_namespace import ADDRESSES, NEAR, run, told

import slicebed_agent
from slicebed_agent.errors import HostError
from slicebed_agent.host.network.control import control_addresses, control_devices
from slicebed_agent.host.network.kernel import kernel_features
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.wish import LinkCondition, LinkWish, NetworkWish, ShapeAt

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]
EDGE = ip_address(ADDRESSES[4][1])
RATE = LinkCondition(rate_bit_per_s=1_000_000)
LINK = LinkWish("edge", EDGE, RATE, NEAR)


def test_the_way_in_is_refused_unless_asked_for(far, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", f"{EDGE} 51000 {ADDRESSES[4][0]} 22")
    assert control_addresses() == {EDGE}
    assert control_devices() == {NEAR}
    wish = NetworkWish((LinkWish("edge", EDGE, RATE),))
    for at in ShapeAt:
        with pytest.raises(HostError, match=r"link edge: 10.77.0.2 is where the SSH connection .* comes from"):
            Network().plan(NetworkWish((replace(wish.links[0], at=at),)))
    apply(replace(wish, shape_control_path=True))


def test_the_way_in_is_found_above_a_sudo_that_dropped_it(far):
    code = "from slicebed_agent.host.network.control import *; print(control_addresses(), control_devices())"
    environment = {"PYTHONPATH": str(Path(slicebed_agent.__file__).parents[1]), "PATH": os.environ["PATH"]}
    shell = ["sh", "-c", f"env -u SSH_CONNECTION {sys.executable} -c '{code}'; :"]
    for client, device in (("::ffff:10.77.0.2", NEAR), (f"fe80::9%{NEAR}", NEAR), ("10.77.0.1", "lo")):
        connection = {"SSH_CONNECTION": f"{client} 51000 10.77.0.1 22"}
        done = subprocess.run(shell, env=environment | connection, capture_output=True, text=True, check=True)
        assert client.removeprefix("::ffff:").partition("%")[0] in done.stdout
        assert f"'{device}'" in done.stdout


def test_wishes_that_contradict_the_host_are_refused(far):
    edge = LinkWish("edge", EDGE, RATE)
    refusals = {
        (
            edge,
            replace(edge, peer="cloud", condition=LinkCondition(rate_bit_per_s=8)),
        ): r"two conditions for packets to .* of edge .* of cloud",
        (replace(edge, interface="eth9"),): r"link edge: there is no interface eth9; there are: far|lo, near",
        (replace(edge, peer_address=ip_address("203.0.113.9")),): r"link edge: no route leads to 203.0.113.9",
        (replace(edge, peer_address=ip_address("10.77.0.1")),): r"link edge: 10.77.0.1 is an address of this very host",
    }
    for links, message in refusals.items():
        with pytest.raises(HostError, match=message):
            Network().plan(NetworkWish(links))
    for kind in ("ingress", "clsact"):
        run("tc", "qdisc", "add", "dev", NEAR, kind)
        with pytest.raises(HostError, match=f"near: has a {kind} qdisc .* tc qdisc del dev near {kind}"):
            Network().plan(NetworkWish((replace(edge, at=ShapeAt.RECEIVER),)))
        apply(NetworkWish((edge,)))
        apply(NetworkWish())
        run("tc", "qdisc", "del", "dev", NEAR, kind)


def test_an_interface_that_the_routes_do_not_take_is_refused(far):
    run("ip", "link", "add", "other", "type", "veth", "peer", "name", "unused")
    for device, address in (("other", "10.78.0.1/24"), ("unused", "10.79.0.1/24")):
        run("ip", "address", "add", address, "dev", device)
        run("ip", "link", "set", device, "up")
    before = told()
    wrong = replace(LINK, interface="other")
    said = r"link edge: packets to 10\.77\.0\.2 leave by near, not by other, .*; name near, leave the interface out, or"
    with pytest.raises(HostError, match=said):
        Network().plan(NetworkWish((wrong,)))
    right = LinkWish("cloud", ip_address("10.78.0.2"), RATE, "other")
    with pytest.raises(HostError, match="link edge"):
        Network().plan(NetworkWish((right, LINK, wrong)))
    assert told() == before
    # Where packets come from, this host's own routes do not say.
    apply(NetworkWish((right, LINK, replace(wrong, at=ShapeAt.RECEIVER))))
    run("ip", "route", "add", f"{EDGE}/32", "dev", "other")
    apply(NetworkWish((right, wrong)))


def test_a_tree_that_cannot_be_put_back_exactly_is_not_touched(far):
    run("tc", "qdisc", "add", "dev", NEAR, "root", "handle", "1:", "htb")
    run("tc", "class", "add", "dev", NEAR, "parent", "1:", "classid", "1:1", "htb", "rate", "1mbit")
    # The namespace of the trial has no such device.
    redirect = ("action", "mirred", "egress", "redirect", "dev", NEAR)
    run(
        "tc", "filter", "add", "dev", NEAR, "parent", "1:", "protocol", "ip", "u32", "match", "u32", "0", "0", *redirect
    )
    with pytest.raises(HostError, match=r"near: .*'htb' that cannot be put back exactly.*tc qdisc del dev near root"):
        Network().plan(NetworkWish((LINK,)))


@pytest.mark.skipif(os.geteuid() == 0 and kernel_features().can("netem"), reason="this kernel has netem")
def test_delay_without_netem_is_refused_by_plan(far):
    with pytest.raises(HostError, match=r"link to 10.77.0.2 on near: .*sch_netem.*ENOENT.*modprobe sch_netem"):
        Network().plan(NetworkWish((replace(LINK, condition=LinkCondition(delay_us=1)),)))
