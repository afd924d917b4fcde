"""Runs the tools that Slicebed stands on (podman, mmdebstrap, pip) and turns their failures into one line."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from slicebed.errors import MissingRequirementError, ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def require_tool(name: str, package: str) -> None:
    """Make sure that a command is there.

    Raises:
        MissingRequirementError: naming the Debian package that brings it.
    """
    if shutil.which(name) is None:
        raise MissingRequirementError(f"no command {name}", mend=f"install it: apt-get install {package}")


def run_tool(argv: Sequence[str], *, log: Path | None = None) -> str:
    """Run a command to its end and give its standard output.

    Args:
        argv: the command; never a shell string.
        log: where everything it printed is kept, for the reader of an error.

    Raises:
        ProvisionError: it ended with another code than 0; the line holds the last thing it said.
    """
    # Nobody is to be asked anything; and Ansible refuses a standard input that another process made non-blocking.
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ProvisionError(
            f"exit code {done.returncode}: {said[-1] if said else 'it said nothing'}",
            where=" ".join(argv[:3]),
            mend=f"see {log}" if log is not None else None,
        )
    return done.stdout
