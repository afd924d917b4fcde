"""Names and addresses of a lab."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from lab_testbeds import chain

from slicebed.errors import SpecError
from slicebed.lab.layout import INTERFACE_NAME_BYTES, WireKind, interface_name, plan_lab
from slicebed.spec.testbed import LabNetworks, load_testbed

SHIPPED = sorted((Path(__file__).parents[3] / "inventory/testbeds").glob("*.yml"))


def test_addresses_follow_the_tiers_and_every_link_has_its_own_subnet(tmp_path):
    plan = plan_lab(chain(tmp_path, ["client", "edge", "cloud"]), WireKind.TAP)
    assert plan.bridge_address == IPv4Interface("10.219.0.1/24")
    assert [str(host.management) for host in plan.hosts] == ["10.219.0.2/24", "10.219.0.3/24", "10.219.0.4/24"]
    ends = [(end.host, end.interface, str(end.address), str(end.peer_address)) for end in plan.host("edge").links]
    assert ends == [
        ("edge", "to-client", "10.218.0.2/30", "10.218.0.1"),
        ("edge", "to-cloud", "10.218.0.5/30", "10.218.0.6"),
    ]


def test_any_number_of_hosts(tmp_path):
    names = [f"host-{number}" for number in range(40)]
    plan = plan_lab(chain(tmp_path, names), WireKind.NETEM)
    assert len({host.management for host in plan.hosts}) == 40
    assert len({host.uplink for host in plan.hosts}) == 40
    addresses = [end.address for link in plan.links for end in link.ends]
    assert len(set(addresses)) == 78
    assert all(host.namespace == f"sb-{host.name}" for host in plan.hosts)


def test_a_long_name_is_cut_to_what_the_kernel_takes_and_stays_unique():
    names = [interface_name("to-", f"a-very-long-host-name-{number}") for number in range(200)]
    assert all(len(name) <= INTERFACE_NAME_BYTES for name in names)
    assert len(set(names)) == 200
    assert names[0] == interface_name("to-", "a-very-long-host-name-0")
    assert interface_name("to-", "edge") == "to-edge"


def test_a_management_network_too_small_for_the_hosts_is_refused(tmp_path):
    names = [f"h{number}" for number in range(15)]
    with pytest.raises(SpecError, match=r"10\.219\.0\.0/28 is too small for 15 hosts"):
        plan_lab(chain(tmp_path, names, management="10.219.0.0/28"), WireKind.TAP)
    assert len(plan_lab(chain(tmp_path, names[:13], management="10.219.0.0/28"), WireKind.TAP).hosts) == 13


def test_a_data_network_too_small_for_the_links_is_refused(tmp_path):
    wanted = chain(tmp_path, [f"h{number}" for number in range(6)])
    wanted = replace(wanted, lab=LabNetworks(IPv4Network("10.219.0.0/24"), IPv4Network("10.218.0.0/28")))
    with pytest.raises(SpecError, match="holds 4 links, 5 are wanted"):
        plan_lab(wanted, WireKind.TAP)


def test_networks_that_overlap_are_refused(tmp_path):
    with pytest.raises(SpecError, match="overlaps"):
        plan_lab(chain(tmp_path, ["a", "b"], management="10.218.3.0/24"), WireKind.TAP)


def test_a_testbed_without_lab_networks_is_refused(tmp_path):
    with pytest.raises(SpecError, match='no "lab" section'):
        plan_lab(chain(tmp_path, ["a", "b"], management=None), WireKind.TAP)


def test_roles_and_conditions_do_not_make_another_network_but_hosts_do(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"]), WireKind.TAP)
    assert plan.same_network(plan_lab(chain(tmp_path, ["a", "b"], cores=[0], delay="5 ms"), WireKind.TAP))
    assert not plan.same_network(plan_lab(chain(tmp_path, ["a", "c"]), WireKind.TAP))
    assert not plan.same_network(plan_lab(chain(tmp_path, ["b", "a"]), WireKind.TAP))


def test_an_unknown_host_or_link_names_those_there_are(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b", "c"]), WireKind.TAP)
    with pytest.raises(SpecError, match=r'unknown host "d".*a, b, c'):
        plan.host("d")
    with pytest.raises(SpecError, match=r"no link between a and c.*a-b, b-c"):
        plan.link("a", "c")
    assert plan.link("b", "a") is plan.links[0]


@pytest.mark.parametrize("kind", WireKind)
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_lab_of_every_shipped_testbed_whatever_hardware_it_asks(path, kind):
    plan = plan_lab(load_testbed(path), kind)
    assert list(plan.host_wishes) == [host.name for host in plan.hosts]
    assert len(plan.wire_wishes) == (len(plan.links) if kind is WireKind.TAP else 0)
