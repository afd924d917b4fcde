"""Which device carries which link, where links name their interface themselves and the routes have to agree."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.demand import demands
from slicebed_agent.host.network.tree import Device
from slicebed_agent.host.wish import LinkCondition, LinkWish, NetworkWish, ShapeAt

DEVICES = {name: Device(name, index) for index, name in enumerate(("eth0", "eth1", "bond0", "br0"), start=1)}
MASTERS = {"eth0": "bond0", "bond0": "br0"}
RATE = LinkCondition(rate_bit_per_s=1000)


def link(address, interface, at=ShapeAt.SENDER):
    return LinkWish(f"p{address}".replace(":", "-"), ip_address(address), RATE, interface, at)


def sorted_by_device(links, leaves_by, asked=None):
    """The devices that hold links back, where packets to every address leave by one interface."""

    def route(address):
        if asked is not None:
            asked.append(str(address))
        return DEVICES[leaves_by].index, False

    return set(demands(NetworkWish(tuple(links)), DEVICES, route, frozenset(), MASTERS.get))


def test_an_interface_that_packets_do_not_leave_by_is_refused():
    said = r"packets to 10\.0\.0\.2 leave by eth1, not by eth0, .*; name eth1, .* by eth0"
    with pytest.raises(HostError, match=said):
        sorted_by_device([link("10.0.0.2", "eth0")], "eth1")


@pytest.mark.parametrize("above", ["bond0", "br0"])
def test_a_port_of_the_bridge_or_bond_that_packets_leave_by_holds_them_back(above):
    assert sorted_by_device([link("10.0.0.2", "eth0")], above) == {"eth0"}
    with pytest.raises(HostError, match=f"leave by {above}, not by eth1"):
        sorted_by_device([link("10.0.0.2", "eth1")], above)


def test_a_link_local_peer_is_behind_the_interface_that_is_named():
    assert sorted_by_device([link("fe80::2", "eth0")], "eth1") == {"eth0"}


def test_packets_from_a_peer_may_come_in_by_another_interface():
    assert sorted_by_device([link("10.0.0.2", "eth0", ShapeAt.RECEIVER)], "eth1") == {"sbi-1"}


def test_peers_of_one_network_cost_one_look_at_the_routes():
    asked: list[str] = []
    links = [link(f"10.0.{third}.{last}", "eth0") for third in (0, 1) for last in range(1, 255)]
    links += [link(f"fd00::{last:x}", "eth0") for last in range(1, 255)]
    sorted_by_device(links, "eth0", asked)
    assert asked == ["10.0.0.1", "10.0.1.1", "fd00::1"]


def test_the_first_peer_of_each_direction_is_looked_at():
    links = [link("10.0.0.2", "eth0", ShapeAt.RECEIVER), link("10.0.0.3", "eth0")]
    with pytest.raises(HostError, match=r"10\.0\.0\.3 leave by eth1"):
        sorted_by_device(links, "eth1")
