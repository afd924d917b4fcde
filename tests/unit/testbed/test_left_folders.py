"""A check that was killed leaves its temporary folder on the host: the next act removes it, and no younger one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from slicebed.testbed.checkout import Checkout
from slicebed.testbed.playbook import Playbook, run_playbook

REPOSITORY = Path(__file__).parents[3]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - import_role: {name: host_tools, tasks_from: sweep}
"""


@pytest.mark.parametrize("check", [True, False])
def test_only_old_folders_of_checks_are_removed_and_the_second_time_nothing(tmp_path, check):
    temporary = tmp_path / "tmp"
    old, young, other = (temporary / name for name in ("slicebed-plan-old", "slicebed-plan-young", "another-old"))
    for folder in (old, young, other):
        (folder / "lib").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (time.time() - 3700,) * 2)
    (tmp_path / "play.yml").write_text(PLAY)
    host = f"ansible_connection: local, ansible_python_interpreter: {sys.executable}"
    (tmp_path / "hosts.yml").write_text(f"all: {{hosts: {{here: {{{host}}}}}}}")
    play = Playbook(
        str(tmp_path / "play.yml"),
        tmp_path / "hosts.yml",
        tmp_path / "artifacts",
        {"host_tools_temporary": str(temporary)},
        check=check,
    )
    assert run_playbook(Checkout(REPOSITORY), play, lambda _: None).changed == {"here": 1}
    assert sorted(temporary.iterdir()) == [other, young]
    assert run_playbook(Checkout(REPOSITORY), play, lambda _: None).total_changed == 0
