"""The command line of this very environment, run as a user runs it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from slicebed.lab.login import ssh_arguments

REPOSITORY = Path(__file__).parents[2]
SLICEBED = Path(sys.executable).parent / "slicebed"


def slicebed(*arguments, check=True, timeout=600):
    done = subprocess.run(
        [SLICEBED, *map(str, arguments)], capture_output=True, text=True, cwd=REPOSITORY, timeout=timeout, check=False
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def on(host, *command):
    """What a command says on a lab host; as `slicebed lab ssh`, without starting it."""
    line = ssh_arguments(host, shlex.join(command))
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout


def by_hand(playbook, *options):
    inventory = REPOSITORY / "inventory" / "lab" / "hosts.yml"
    return subprocess.run(
        [SLICEBED.with_name("ansible-playbook"), "-i", inventory, f"playbooks/{playbook}", *options],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        check=False,
    )
