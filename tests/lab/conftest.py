"""The embedded lab of this machine, raised for one test and looked for afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_machine import THREE, look
from measured import refused_on_a_busy_machine
from own_namespace import own_namespace

from slicebed import lab
from slicebed.spec.testbed import load_testbed

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("flaky") is None:
            item.add_marker(refused_on_a_busy_machine)


@pytest.fixture(scope="session")
def nobody_elses_lab():
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")


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
