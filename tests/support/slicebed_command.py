"""The command line of this very environment, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
    return subprocess.run(
        [SLICEBED, "lab", "ssh", host, "--", *command], capture_output=True, text=True, cwd=REPOSITORY, check=True
    ).stdout
