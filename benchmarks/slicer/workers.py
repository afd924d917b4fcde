"""Processes of the benchmark: each measures one thing alone, with nothing of another in its memory or its time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]


class BenchmarkError(Exception):
    """The benchmark cannot go on: one of its processes died."""


class Worker:
    """A module of the benchmark in a process of its own, which answers lines of JSON; it ends with the with block."""

    def __init__(self, module: str, *arguments: object) -> None:
        """Start it.

        Args:
            module: of `benchmarks.slicer`.
            arguments: of its command line.
        """
        self._argv = [sys.executable, "-m", f"benchmarks.slicer.{module}", *map(str, arguments)]
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def stop(self) -> None:
        """End it from another thread; whoever waits for its answer gets a `BenchmarkError`."""
        self._process.kill()

    def ask(self, line: object) -> dict[str, Any]:
        """Send a line and wait for the answer.

        Raises:
            BenchmarkError: it died.
        """
        if self._process.stdin is not None:
            # One that died says so by not answering.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()
        found = self._answer()
        if found is None:
            raise self._died()
        return found

    def answers(self) -> Iterator[dict[str, Any]]:
        """What it says until it ends by itself.

        Raises:
            BenchmarkError: it ended with an error.
        """
        while (found := self._answer()) is not None:
            yield found
        if self._process.wait():
            raise self._died()

    def _answer(self) -> dict[str, Any] | None:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            return None
        found: dict[str, Any] = json.loads(line)
        return found

    def _died(self) -> BenchmarkError:
        self._said.seek(0)
        last = [line.strip() for line in self._said if line.strip()][-1:]
        return BenchmarkError(f"{' '.join(self._argv[2:])} died: {''.join(last) or 'without a word'}")

    def __enter__(self) -> Self:
        """For a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def one(module: str, *arguments: object) -> dict[str, Any]:
    """The one line that a worker says.

    Raises:
        BenchmarkError: it ended with an error, or said nothing.
    """
    with Worker(module, *arguments) as worker:
        found = list(worker.answers())
    if len(found) != 1:
        raise BenchmarkError(f"{module} said {len(found)} lines")
    return found[0]


def environment() -> dict[str, str]:
    """Without TensorFlow's talk of the GPU that it did not find."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
