"""The lock and the state file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from lab_testbeds import chain

from slicebed.errors import ConflictError
from slicebed.lab import paths, state
from slicebed.lab.layout import WireKind, plan_lab
from slicebed.lab.state import LabState, Phase, lab_lock, read_state, remove_lock, write_state


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    root = tmp_path / "slicebed"
    monkeypatch.setattr(paths, "STATE_ROOT", root)
    monkeypatch.setattr(paths, "LAB_DIR", root / "lab")
    monkeypatch.setattr(paths, "STATE_FILE", root / "lab/state.json")
    monkeypatch.setattr(paths, "LOCK_FILE", root / "lab.lock")
    monkeypatch.setattr(state, "LOCK_PATIENCE_S", 0.1)


def test_a_state_is_read_as_it_was_written(tmp_path):
    plan = plan_lab(chain(tmp_path, ["a", "b", "c"], cores=[0, 1]), WireKind.TAP)
    wanted = LabState("0" * 32, Phase.STARTING, plan, tmp_path / "hosts.yml", (Path("/run/netns"),))
    assert read_state() is None
    write_state(wanted)
    assert read_state() == wanted
    assert paths.LAB_DIR.stat().st_mode & 0o777 == 0o700


def test_a_state_that_cannot_be_read_is_no_state():
    paths.LAB_DIR.mkdir(parents=True)
    paths.STATE_FILE.write_text('{"lab_id": ')
    assert read_state() is None


def test_the_lock_is_held_by_one():
    with lab_lock(), pytest.raises(ConflictError, match="another slicebed lab command is running"), lab_lock():
        pass
    with lab_lock():
        pass


def test_a_lock_file_that_was_removed_locks_nobody_out():
    with lab_lock():
        old = os.open(paths.LOCK_FILE, os.O_RDWR)
        remove_lock()
    fcntl.flock(old, fcntl.LOCK_EX)
    with lab_lock():
        assert paths.LOCK_FILE.exists()
    os.close(old)


def test_removing_the_lock_leaves_nothing():
    with lab_lock():
        remove_lock()
    assert not paths.STATE_ROOT.exists()
