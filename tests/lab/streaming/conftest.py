"""One lab for all tests of running pipelines: raising it and its agents takes longer than any of them."""

from __future__ import annotations

import pytest
from faults import small_disk
from slicebed_command import slicebed
from streams import RATE_PER_S, popen, status, wait_for

from slicebed import lab

# Room for the model's file and the samples of all tests.
EDGE_DISK_MIB = 48


@pytest.fixture(scope="package")
def testbed():
    """The lab of three, deployed; the agent of edge has a disk of its own, which a test may fill."""
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")
    slicebed("image", "build", timeout=1200)
    slicebed("lab", "up")
    try:
        with small_disk("edge", EDGE_DISK_MIB):
            slicebed("deploy")
            yield
    finally:
        slicebed("lab", "down")


@pytest.fixture
def start(testbed):
    """Start a command that goes on; it is ended when the test is."""
    begun = []

    def begin(*arguments):
        begun.append(popen(*arguments))
        return begun[-1]

    yield begin
    for running in begun:
        running.kill()
        running.communicate()


@pytest.fixture
def stream(start, tmp_path):
    """Start a stream and wait until frames come through."""

    def begin(*arguments):
        running = start("stream", "--no-deploy", "--results", tmp_path / "results", *arguments)
        wait_for(running, lambda: (status() or {}).get("completed", 0) >= RATE_PER_S, "frames", 120)
        return running

    return begin
