"""Run the programs the lab is made with: lists, a clean environment, and one-line errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from slicebed.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKER = "SLICEBED_LAB"
# Administrators' programs are not on every user's PATH, and sudo may keep the user's own.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(lab_id: str) -> dict[str, str]:
    """What every process of the lab starts with; the marker is how ``down`` finds those that state does not name."""
    return {"PATH": PATH, "LANG": "C.UTF-8", MARKER: lab_id}


def find_program(name: str) -> str | None:
    """The full path of a program, or None."""
    return shutil.which(name, path=PATH)


def run(arguments: Sequence[str], lab_id: str | None = None, *, stdin: str = "") -> str:
    """Run one program to its end and return what it printed.

    Raises:
        ProvisionError: it could not be started or ended with an error; the last line of its stderr is quoted.
    """
    env = environment(lab_id) if lab_id else {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(arguments, input=stdin, env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ProvisionError(f"cannot start {arguments[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise ProvisionError(
            f"{' '.join(arguments)} ended with {done.returncode}: {last_line(done.stderr or done.stdout)}"
        )
    return done.stdout


def succeeds(arguments: Sequence[str]) -> bool:
    """Whether a trial run of a program ends with 0; what it prints does not matter."""
    env = {**os.environ, "PATH": PATH}
    return (
        subprocess.run(arguments, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    )


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def ip_batch(commands: Sequence[str], lab_id: str | None = None, *, namespace: str | None = None) -> None:
    """Give many ``ip`` commands to one process, in a network namespace if one is named; the first error ends it."""
    where = ["-n", namespace] if namespace else []
    text = "".join(f"{command}\n" for command in commands)
    run(["ip", *where, "-batch", "-"], lab_id, stdin=text)
