"""What a deployment and its runs leave on the hosts once it is taken back, through the command line."""

from __future__ import annotations

import json

from faults import take_small_disk
from slicebed_command import on, slicebed
from streams import NEEDS_A_LAB

pytestmark = NEEDS_A_LAB

HOSTS = ("client", "edge", "cloud")


def test_teardown_leaves_nothing_on_the_hosts_and_deploy_works_again(testbed):
    # Nobody can remove the folder under a disk.
    take_small_disk("edge")
    slicebed("teardown")
    for host in HOSTS:
        assert on(host, "podman", "ps", "--all", "--quiet") == ""
        assert on(host, "sh", "-c", "ls -d /opt/slicebed /var/lib/slicebed/agent 2>/dev/null || true") == ""
    wires = json.loads(slicebed("lab", "status", "--json").stdout)["links"]
    assert all(way["delay_us"] == 0 for link in wires for way in (link["forward"], link["backward"]))
    assert sum(json.loads(slicebed("teardown", "--json").stdout)["changed"].values()) == 0
    slicebed("deploy")
