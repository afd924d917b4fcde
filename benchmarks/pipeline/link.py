"""What a link costs: arrays from one process to another over loopback, by plain TCP, unary gRPC, and Slicebed's link.

Each way has two processes of its own, so that no library of one burdens another. A round asks every way once, in turn.
The receiver holds a float32 array before it answers; the small message is sent only when the one before was answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

from benchmarks.network.stats import Estimate, median, ratio
from benchmarks.pipeline.link_ways import Size
from benchmarks.shared.terminal import note
from benchmarks.slicer.workers import BenchmarkError

__all__ = ["NAMES", "Figures", "Size", "compare", "table"]

_START_S: Final = 120.0
NAMES: Final = {
    "tcp": "plain TCP",
    "unary": "make_tensor_proto, a call each",
    "futures": "the same, four at a time",
    "stream": "the link's transport alone",
    "link": "Slicebed's link",
}


@dataclass(frozen=True)
class Figures:
    """Of one way: MB/s and ms of each round."""

    mb_per_s: tuple[float, ...]
    ping_ms: tuple[float, ...]


class _Way:
    """One way's two processes."""

    def __init__(self, way: str, size: Size, stack: contextlib.ExitStack) -> None:
        self.name = way
        self._stack = stack
        port = self._answer(self._start("serve", way))
        self._sender = self._start("send", way, str(port), json.dumps(asdict(size)))
        self._answer(self._sender)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pipeline.link_ways", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        self._stack.callback(_end, process)
        return process

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        line = _pipe(process.stdout).readline()
        if not line:
            raise BenchmarkError(f"a process of {NAMES[self.name]} ended with code {process.wait(_START_S)}")
        return json.loads(line)

    def round(self) -> tuple[float, float]:
        """MB/s and ms of one round."""
        asking = _pipe(self._sender.stdin)
        asking.write("\n")
        asking.flush()
        figures = self._answer(self._sender)
        return figures["mb_per_s"], figures["ping_ms"]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise BenchmarkError("a process without pipes")
    return pipe


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def compare(size: Size) -> dict[str, Figures]:
    """Every way in every round, the order turned by one each time; the first round is not counted.

    Raises:
        BenchmarkError: a process ended early.
    """
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in NAMES}
    with contextlib.ExitStack() as stack:
        ways = [_Way(way, size, stack) for way in NAMES]
        for number in range(size.rounds + 1):
            note(f"round {number} of {size.rounds}")
            turned = ways[number % len(ways) :] + ways[: number % len(ways)]
            for way in turned:
                figures = way.round()
                if number:
                    found[way.name].append(figures)
    return {way: Figures(*map(tuple, zip(*rows, strict=True))) for way, rows in found.items()}


def table(found: dict[str, Figures]) -> str:
    """Medians with their intervals, and how each way compares with plain TCP round by round."""
    rows = [f"{'':32}{'12.8 MB float32, MB/s':>26}{'of plain TCP':>22}{'4 kB there and back, ms':>30}"]
    for way, figures in found.items():
        share = ratio(figures.mb_per_s, found["tcp"].mb_per_s)
        rows.append(
            f"{NAMES[way]:32}{_told(median(figures.mb_per_s), 0):>26}{_told(share, 2):>22}"
            f"{_told(median(figures.ping_ms), 3):>30}"
        )
    over = [f"{_told(ratio(found['link'].mb_per_s, found[way].mb_per_s), 2)} x" for way in ("unary", "futures")]
    return "\n".join([*rows, "", f"Slicebed's link over unary gRPC: {over[0]}; over four calls at a time: {over[1]}"])


def _told(estimate: Estimate, digits: int) -> str:
    return f"{estimate.median:,.{digits}f} ({estimate.low:,.{digits}f}..{estimate.high:,.{digits}f})"
