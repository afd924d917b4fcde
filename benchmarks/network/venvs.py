"""Throwaway virtual environments with the other tools, at pinned releases."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.network.room import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Venv:
    """A virtual environment that holds one of the other tools."""

    directory: Path
    release: str

    @property
    def bin(self) -> Path:
        """Where its commands are."""
        return self.directory / "bin"


def install(tools: Sequence[str], folder: Path) -> dict[str, Venv]:
    """Install each tool into an environment of its own, all at once.

    Args:
        tools: names of packages that have a ``requirements-NAME.txt`` beside this file.
        folder: where to; the caller removes it.

    Raises:
        BenchmarkError: pip could not install one; its last words are in the message.
    """
    # The project's own constraints are about other packages.
    environment = {name: value for name, value in os.environ.items() if "CONSTRAINT" not in name}
    started: dict[str, subprocess.Popen[str]] = {}
    try:
        for tool in tools:
            subprocess.run([sys.executable, "-m", "venv", str(folder / tool)], check=True)
            requirements = _HERE / f"requirements-{tool}.txt"
            started[tool] = subprocess.Popen(
                [folder / tool / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "-r", requirements],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        for tool, process in started.items():
            said = process.communicate()[1].strip()
            if process.returncode:
                raise BenchmarkError(f"pip could not install {tool}: {said.splitlines()[-1] if said else 'no reason'}")
    finally:
        for process in started.values():
            if process.poll() is None:
                process.kill()
                process.wait()
    return {tool: Venv(folder / tool, _release(tool)) for tool in tools}


def _release(tool: str) -> str:
    for line in (_HERE / f"requirements-{tool}.txt").read_text("utf-8").splitlines():
        name, _, release = line.partition("==")
        if name == tool:
            return release
    raise BenchmarkError(f"requirements-{tool}.txt does not pin {tool}")
