"""TCP settings in this machine's own kernel, in a network namespace of the test's own."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from pathlib import Path

import pytest
from network_wishes import MEGABIT, apply, rate, restore
from own_namespace import ADDRESSES, told

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.wish import LinkWish, NetworkWish, TcpWish

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root"),
]
EDGE = LinkWish("edge", ip_address(ADDRESSES[4][1]), rate(20 * MEGABIT))
NAMES = ("tcp_slow_start_after_idle", "tcp_rmem", "tcp_wmem", "tcp_congestion_control")
WISH = NetworkWish((EDGE,), tcp=TcpWish(receive_bytes=50_000_000, send_bytes=60_000_000))


def setting(name):
    return Path("/proc/sys/net/ipv4", name)


def settings():
    return {name: setting(name).read_bytes() for name in NAMES}


def test_settings_and_links_are_applied_and_put_back_together(far):
    before = settings(), told()
    saved = Network().save(WISH)
    apply(WISH)
    assert setting("tcp_slow_start_after_idle").read_text() == "0\n"
    assert setting("tcp_rmem").read_text().split()[2] == "50000000"
    assert setting("tcp_wmem").read_text().split()[2] == "60000000"
    assert setting("tcp_congestion_control").read_text().strip() != "bbr"
    # What is saved goes through a file.
    restore(json.loads(json.dumps(saved)))
    assert (settings(), told()) == before


def test_somebody_elses_edit_is_seen_and_mended(far):
    apply(WISH)
    setting("tcp_slow_start_after_idle").write_text("1\n")
    setting("tcp_rmem").write_text("4096 131072 6291456\n")
    assert [str(change) for change in Network().plan(WISH).changes] == [
        "tcp: net.ipv4.tcp_slow_start_after_idle 1 -> 0",
        "tcp: net.ipv4.tcp_rmem 4096 131072 6291456 -> 4096 131072 50000000",
    ]
    apply(WISH)


def test_a_wish_that_no_longer_speaks_of_them_leaves_them_to_the_record(far):
    before = settings()
    network = Network()
    saved = network.save(WISH)
    apply(WISH)
    without = NetworkWish((EDGE,))
    assert not network.plan(without).steps
    stale = {name: value for name, value in saved.items() if name not in network.names(without)}
    network.apply(network.plan_restore(stale))
    assert settings() == before
    assert not network.plan(without).steps


def test_a_link_that_is_refused_leaves_the_settings_as_they_were(far):
    before = settings(), told()
    network = Network()
    plan = network.plan(WISH)
    # The interface goes between plan and apply.
    far("ip", "link", "del", "far")
    with pytest.raises(HostError, match="near"):
        network.apply(plan)
    assert settings() == before[0]


def test_a_host_without_links_has_its_settings_as_well(far):
    saved = Network().save(NetworkWish(tcp=TcpWish()))
    apply(NetworkWish(tcp=TcpWish()))
    assert setting("tcp_slow_start_after_idle").read_text() == "0\n"
    restore(saved)
    assert setting("tcp_slow_start_after_idle").read_text() == "1\n"
