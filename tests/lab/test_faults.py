"""The faults that other tests use are what they say, and end when they should."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time

import pytest
from faults import carrier, clock_stepped, cut_link, full_disk, link_cut, small_disk
from slicebed_command import REPOSITORY, on

from slicebed import lab
from slicebed.spec.testbed import load_testbed

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.timeout(300),
]
TESTBED = """
name: faults_test
hosts: {near: {role: client}, far: {role: cloud}}
links: [{between: [near, far], one_way: 0 ms}]
lab: {management: 10.193.0.0/24, data: 10.192.0.0/16}
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """The address of the far end of a lab of two hosts."""
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")
    path = tmp_path_factory.mktemp("testbed") / "testbed.yml"
    path.write_text(TESTBED)
    lab.up(load_testbed(path), root=REPOSITORY)
    row = json.loads(on("far", "ip", "-json", "addr", "show", "dev", "to-near"))[0]
    yield next(each["local"] for each in row["addr_info"] if each["family"] == "inet")
    lab.down(root=REPOSITORY)


def answers(address):
    try:
        on("near", "ping", "-c", "2", "-i", "0.2", "-W", "1", address)
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_cut_link_loses_packets_and_keeps_its_carrier(far):
    assert answers(far)
    before = on("near", "tc", "qdisc", "show")
    with link_cut("far", "near"):
        assert not answers(far)
        assert carrier("near", "to-far")
    assert answers(far)
    assert on("near", "tc", "qdisc", "show") == before


def test_a_link_is_mended_after_its_time(far):
    begun = time.monotonic()
    thread = threading.Thread(target=cut_link, args=("near", "far", 2))
    thread.start()
    try:
        while answers(far):
            assert time.monotonic() < begun + 2
    finally:
        thread.join()
    assert answers(far)


def test_a_disk_is_full_to_the_last_byte_and_then_no_longer(far):
    write = ("sh", "-c", "head -c 8192 /dev/zero > /var/lib/slicebed/agent/more")
    with small_disk("far", 4):
        on("far", *write)
        on("far", "rm", "/var/lib/slicebed/agent/more")
        with full_disk("far"), pytest.raises(subprocess.CalledProcessError):
            on("far", *write)
        on("far", *write)
    assert on("far", "ls", "/var/lib/slicebed/agent") == ""


def test_a_disk_that_is_the_machines_is_never_filled(far):
    on("far", "mkdir", "-p", "/var/lib/slicebed/agent")
    with pytest.raises(AssertionError, match="no disk of its own"), full_disk("far"):
        pytest.fail("filled")


def test_the_clock_goes_on_and_back(far):
    def ahead():
        return time.time() - time.monotonic()

    before = ahead()
    with clock_stepped(1):
        assert ahead() == pytest.approx(before + 1, abs=0.05)
    assert ahead() == pytest.approx(before, abs=0.05)
