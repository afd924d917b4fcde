"""The inventory that Ansible reads."""

from __future__ import annotations

from lab_testbeds import chain
from ruamel.yaml import YAML

from slicebed.lab.inventory import find_root, inventory_text, remove_inventory, write_inventory
from slicebed.lab.layout import WireKind, plan_lab


def test_every_host_has_what_ansible_and_the_roles_need(tmp_path):
    plan = plan_lab(chain(tmp_path, ["client", "edge", "cloud"], cores=[0, 1]), WireKind.VDE)
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
    assert edge["slicebed_cores"] == [0, 1]
    assert edge["slicebed_memory_bytes"] is None
    assert edge["slicebed_cpu_frequency_khz"] == 0
    assert edge["slicebed_links"][1] == {
        "peer": "cloud",
        "interface": "to-cloud",
        "address": "10.218.0.5",
        "peer_address": "10.218.0.6",
        "wire": "vde",
    }


def test_hosts_are_listed_in_tier_order_whatever_their_names(tmp_path):
    plan = plan_lab(chain(tmp_path, ["z", "m", "a"]), WireKind.NETEM)
    hosts = YAML(typ="safe").load(inventory_text(plan))["all"]["children"]["testbed"]["hosts"]
    assert list(hosts) == ["z", "m", "a"]


def test_the_same_inventory_is_not_written_again(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b"]), WireKind.VDE)
    path = tmp_path / "inventory/lab/hosts.yml"
    assert write_inventory(plan, path)
    assert not write_inventory(plan, path)
    assert write_inventory(plan_lab(chain(tmp_path, ["a", "b"], cores=[1]), WireKind.VDE), path)


def test_somebody_elses_inventory_stays(tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text("all: {}\n")
    remove_inventory(path)
    assert path.exists()
    write_inventory(plan_lab(chain(tmp_path, ["a", "b"]), WireKind.VDE), path)
    remove_inventory(path)
    assert not path.exists()


def test_the_root_is_found_upward_from_the_testbed(tmp_path):
    (tmp_path / "playbooks").mkdir()
    below = tmp_path / "inventory/testbeds"
    below.mkdir(parents=True)
    assert find_root(below) == tmp_path
