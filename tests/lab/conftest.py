"""The embedded lab of this machine: raised for one test and looked for afterwards, or deployed once for many."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import small_disk
from lab_machine import THREE, look
from measured import is_last_attempt, is_of_a_figure, refused_on_a_busy_machine, stands_still
from own_namespace import own_namespace
from slicebed_command import slicebed

from slicebed import lab
from slicebed.spec.testbed import load_testbed

HERE = Path(__file__).parent
# Those that use one deployed lab, in this order: what a first deploy made, what runs on it, and what it leaves.
DEPLOYED = ("test_main_job", "test_search", "test_search_limits", "test_stream", "test_stream_faults", "test_teardown")
# Room for the models' files and the samples of all tests.
EDGE_DISK_MIB = 64


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("flaky") is None:
            item.add_marker(refused_on_a_busy_machine)
    # Last, for it stays up until the end, and nobody else may raise a lab then.
    items.sort(key=lambda item: DEPLOYED.index(item.path.stem) + 1 if item.path.stem in DEPLOYED else 0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Skip a test whose figure was missed to the end, on a machine that can be shown to be too busy for it."""
    report = (yield).get_result()
    if not report.failed or call.when != "call" or not item.path.is_relative_to(HERE) or not is_last_attempt(item):
        return
    if is_of_a_figure(item, call.excinfo.value) and (why := stands_still()):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] + 1, f"{why}; {call.excinfo.exconly().splitlines()[0]}")


@pytest.fixture(scope="session")
def nobody_elses_lab():
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")


@pytest.fixture(scope="session")
def testbed(nobody_elses_lab):
    """The lab of three, deployed, one for all tests: raising it and its agents takes longer than most of them.

    The agent of edge has a disk of its own, which a test may fill.
    """
    slicebed("image", "build", timeout=1200)
    slicebed("lab", "up")
    try:
        with small_disk("edge", EDGE_DISK_MIB):
            slicebed("deploy")
            yield
    finally:
        slicebed("lab", "down")


@pytest.fixture
def machine(nobody_elses_lab):
    before = look()
    yield before
    lab.down()
    assert look() == before


@pytest.fixture
def three(machine, tmp_path):
    return lab.up(load_testbed(THREE), root=tmp_path)


@pytest.fixture
def far(monkeypatch):
    """A namespace of the test's own, joined to another; runs a command in the other."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    with own_namespace() as far:
        yield far
