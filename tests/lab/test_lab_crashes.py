"""An `up` of the embedded lab that was killed or interrupted: nothing of it is left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab_machine import THREE, look, why_not

from slicebed import lab
from slicebed.lab import paths, processes
from slicebed.spec.testbed import load_testbed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.skipif(why_not() is not None, reason=f"no lab here: {why_not()}")]


def start_up(testbed: Path, root: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys; from pathlib import Path; from slicebed import lab; "
        "from slicebed.spec.testbed import load_testbed; "
        "lab.up(load_testbed(Path(sys.argv[1])), root=Path(sys.argv[2]))"
    )
    # A test run in the background ignores Ctrl-C, and so would its children.
    return subprocess.Popen(
        [sys.executable, "-c", program, str(testbed), str(root)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
    )


# What `up` has made by the moment it is killed; each is looked for until it is there.
MOMENTS = {
    "state written": paths.STATE_FILE.exists,
    "keys made": paths.KNOWN_HOSTS_FILE.exists,
    "first host prepared": (paths.HOSTS_DIR / "client/upper/root/.ssh/authorized_keys").exists,
    "first namespace": (paths.NETNS_DIR / "sb-client").exists,
    "last namespace": (paths.NETNS_DIR / "sb-cloud").exists,
    "first host started": (paths.HOSTS_DIR / "client/console.log").exists,
    "first wire started": (paths.WIRES_DIR / "0/console.log").exists,
    "first wire": (paths.WIRES_DIR / "0/control").exists,
    "last wire": (paths.WIRES_DIR / "1/control").exists,
}


@contextmanager
def killed_up(root: Path, ready):
    command = start_up(THREE, root)
    try:
        while not ready() and command.poll() is None:
            pass
    finally:
        command.kill()
        command.wait()
    yield


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left_of_an_up_that_was_killed(machine, tmp_path, moment):
    with killed_up(tmp_path, MOMENTS[moment]):
        lab.down()
    assert look() == machine
    assert not (tmp_path / paths.INVENTORY_FILE).exists()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_left_of_an_up_that_was_killed_at_a_random_moment(machine, tmp_path, seed):
    patience_ns = int(random.Random(seed).uniform(0, 0.4) * 1e9)

    def ready() -> bool:
        nonlocal patience_ns
        if not paths.STATE_FILE.exists():
            return False
        begun = time.monotonic_ns()
        while time.monotonic_ns() - begun < patience_ns:
            pass
        return True

    with killed_up(tmp_path, ready):
        lab.down()
    assert look() == machine


def test_a_namespace_made_while_its_maker_is_being_killed_goes_too(machine, tmp_path, monkeypatch):
    end_all = processes.end_all
    made: list[str] = []

    def end_all_late(namespaces):
        if not made:
            made.append("sb-cloud")
            subprocess.run(["ip", "netns", "add", *made], check=True)
        return end_all(namespaces)

    monkeypatch.setattr(processes, "end_all", end_all_late)
    with killed_up(tmp_path, MOMENTS["state written"]):
        lab.down()
    assert made
    assert look() == machine


def test_an_up_that_is_interrupted_cleans_up_itself(machine, tmp_path):
    command = start_up(THREE, tmp_path)
    while not MOMENTS["first wire"]() and command.poll() is None:
        pass
    command.send_signal(signal.SIGINT)
    assert command.wait(timeout=60) != 0
    assert look() == machine


def test_up_after_a_killed_up_cleans_the_remains(machine, tmp_path):
    with killed_up(tmp_path, MOMENTS["first wire"]):
        result = lab.up(load_testbed(THREE), root=tmp_path)
    assert result.changed
    assert lab.status().health is lab.Health.UP


def test_down_without_its_state_file_goes_by_what_it_finds(three, tmp_path, machine):
    paths.STATE_FILE.unlink()
    lab.down(root=tmp_path)
    assert look() == machine
