"""The inventory that Ansible reads."""

from __future__ import annotations

from dataclasses import replace

from lab_testbeds import chain
from ruamel.yaml import YAML

from slicebed.lab.inventory import find_root, inventory_text, remove_inventory, write_inventory
from slicebed.lab.layout import WireKind, plan_lab
from slicebed.lab.wires import WireSetting, wire_setting
from slicebed.spec.testbed import DataPlane
from slicebed_agent.host.wish import LinkCondition, WorkloadWish, parse_wish


def test_every_host_has_what_ansible_and_the_roles_need(tmp_path):
    plan = plan_lab(chain(tmp_path, ["client", "edge", "cloud"], cores=[0, 1]), WireKind.TAP)
    groups = YAML(typ="safe").load(inventory_text(plan))["all"]["children"]
    assert list(groups) == ["testbed", "role_role_client", "role_role_edge", "role_role_cloud"]
    assert list(groups["role_role_edge"]["hosts"]) == ["edge"]
    edge = groups["testbed"]["hosts"]["edge"]
    assert edge["ansible_host"] == "10.219.0.3"
    assert edge["ansible_user"] == "root"
    assert edge["ansible_python_interpreter"] == "/usr/bin/python3"
    assert "StrictHostKeyChecking=yes" in edge["ansible_ssh_common_args"]
    assert edge["slicebed_lab"] is True
    assert (edge["slicebed_tier"], edge["slicebed_role"]) == (1, "role-edge")
    assert edge["slicebed_links"][1] == {
        "peer": "cloud",
        "interface": "to-cloud",
        "address": "10.218.0.5",
        "peer_address": "10.218.0.6",
        "wire": "tap",
    }


def test_conditions_are_told_as_the_command_tells_them(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"], cores=[0, 1], delay="5 ms", rate="1 Mbit/s"), WireKind.TAP)
    testbed = YAML(typ="safe").load(inventory_text(plan))["all"]["children"]["testbed"]
    wish = parse_wish(testbed["hosts"]["a"]["slicebed_wish"])
    assert wish.workload == WorkloadWish(cores=(0, 1))
    assert wish.cpu is None
    assert [(link.peer, link.interface, link.condition) for link in wish.network.links] == [
        ("b", "to-b", LinkCondition(rate_bit_per_s=1_000_000))
    ]
    (wire,) = testbed["vars"]["slicebed_wires"]
    assert (wire["a"], wire["b"]) == ("a", "b")
    assert wire_setting(wire["forward"]) == wire_setting(wire["backward"]) == WireSetting(delay_us=5_000)


def test_agents_are_told_to_speak_in_plain_where_the_file_asks_for_it(tmp_path):
    testbed = chain(tmp_path, ["a", "b"])
    asked = replace(testbed, lab=replace(testbed.lab, data_plane=DataPlane.PLAINTEXT))
    groups = YAML(typ="safe").load(inventory_text(plan_lab(asked, WireKind.TAP)))["all"]["children"]
    assert groups["testbed"]["vars"]["slicebed_data_plane"] == "plaintext"


def test_hosts_with_netem_are_told_the_delay_themselves(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"], delay="5 ms"), WireKind.NETEM)
    testbed = YAML(typ="safe").load(inventory_text(plan))["all"]["children"]["testbed"]
    assert testbed["vars"] == {"slicebed_wires": [], "slicebed_data_plane": "tls"}
    (link,) = parse_wish(testbed["hosts"]["b"]["slicebed_wish"]).network.links
    assert (link.peer, link.condition.delay_us) == ("a", 5_000)


def test_what_compensates_is_written_uncompensated(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"], delay="5 ms", compensate=True), WireKind.TAP)
    assert plan.wire_wishes[0]["forward"]["delay_us"] == 5_000


def test_hosts_are_listed_in_tier_order_whatever_their_names(tmp_path):
    plan = plan_lab(chain(tmp_path, ["z", "m", "a"]), WireKind.NETEM)
    hosts = YAML(typ="safe").load(inventory_text(plan))["all"]["children"]["testbed"]["hosts"]
    assert list(hosts) == ["z", "m", "a"]


def test_the_same_inventory_is_not_written_again(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"]), WireKind.TAP)
    path = tmp_path / "inventory/lab/hosts.yml"
    assert write_inventory(plan, path)
    assert not write_inventory(plan, path)
    assert write_inventory(plan_lab(chain(tmp_path, ["a", "b"], cores=[1]), WireKind.TAP), path)


def test_somebody_elses_inventory_stays(tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text("all: {}\n")
    remove_inventory(path)
    assert path.exists()
    write_inventory(plan_lab(chain(tmp_path, ["a", "b"]), WireKind.TAP), path)
    remove_inventory(path)
    assert not path.exists()


def test_the_root_is_found_upward_from_the_testbed(tmp_path):
    (tmp_path / "playbooks").mkdir()
    below = tmp_path / "inventory/testbeds"
    below.mkdir(parents=True)
    assert find_root(below) == tmp_path
