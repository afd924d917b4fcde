"""``make bench-pipeline``: everything in one run, tables on the terminal, raw figures in a file when asked."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.network.report import plain
from benchmarks.network.tables import paragraph
from benchmarks.pipeline import codecs, encoded, link, report, shaped, streaming
from benchmarks.shared.terminal import exit_code, note, say
from benchmarks.slicer.manifest import manifest
from benchmarks.slicer.report import verdict_table
from benchmarks.slicer.workers import BenchmarkError, one

from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.bars import Verdict

PARTS: Final = ("link", "shaped", "encoded", "rate", "change", "soak")
# Takes long.
_WHEN_ASKED: Final = ("soak",)


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        link: rounds and what is in each.
        shaped: rounds of all sizes, warm and idle.
        encoded: frames of each boundary.
        rate: models, rounds, and frames of each round.
        change: models, and changes of each.
        soak: frames, and frames per second.
        seed: of everything that is drawn.
    """

    link: link.Size = link.Size()  # noqa: RUF009 - frozen
    shaped: int = 6
    encoded: int = 8
    rate: tuple[tuple[str, ...], int, int] = (("mobilenet_v2", "resnet50_v2"), 5, 150)
    change: tuple[tuple[str, ...], int] = (("cnn14", "mobilenet_v2"), 10)
    soak: tuple[int, float] = (100_000, 300.0)
    seed: int = 20201123


@dataclass(frozen=True)
class Trained:
    """Where EfficientNet-Lite0's weights and pictures for it are; without them, codecs are measured on cnn14 alone."""

    lite0: Path | None
    video: Path | None


_QUICK: Final = Size(
    link=link.Size(rounds=3, big=5, small=50),
    shaped=1,
    encoded=2,
    rate=(("mobilenet_v2",), 2, 60),
    change=(("cnn14", "mobilenet_v2"), 2),
    soak=(2_000, 200.0),
)


class Bench:
    """One run."""

    def __init__(self, size: Size, trained: Trained) -> None:
        self._size, self._trained = size, trained
        self.verdicts: list[Verdict] = []
        self.raw: dict[str, Any] = {}

    def run(self, part: str) -> None:
        """Measure a part, and print it."""
        {
            "link": self._link,
            "shaped": self._shaped,
            "encoded": self._encoded,
            "rate": self._rate,
            "change": self._change,
            "soak": self._soak,
        }[part]()

    def _link(self) -> None:
        found = link.compare(self._size.link)
        self._keep("link", found, report.link_verdicts(found))
        say("One array from a process to another over loopback", heading=True)
        say(link.table(found))

    def _shaped(self) -> None:
        found = shaped.transfers(self._size.shaped, note)
        self._keep("shaped", shaped.plain(found), report.shaped_verdicts(found))
        say("Arrays over a link of 50 Mbit/s, 42 ms there and back", heading=True)
        say(report.shaped_table(found))
        say(paragraph(_SHAPED_NOTE))

    def _encoded(self) -> None:
        found = encoded.crossings(self._size.encoded, self._trained.lite0, self._trained.video, note)
        self._keep("encoded", encoded.plain(found), report.encoded_verdicts(found))
        for model, lines in report.encoded_tables(found).items():
            say(f"What crosses in {model}, over 50 Mbit/s, 42 ms there and back", heading=True)
            say(lines)
        say(paragraph(_ENCODED_NOTE))

    def _rate(self) -> None:
        models, rounds, frames = self._size.rate
        found = {model: streaming.rates(model, rounds, frames, note) for model in models}
        self._keep("rate", found, report.rate_verdicts(found))
        say("Three slices in three agents, nothing shaped", heading=True)
        say(report.rate_table(found))
        say(paragraph(_RATE_NOTE))

    def _change(self) -> None:
        models, count = self._size.change
        found = {model: streaming.changes(model, count, self._size.seed, note) for model in models}
        self._keep("change", found, report.change_verdicts(found))
        say("Changing the cut while a camera captures 24 frames a second", heading=True)
        say(report.change_table(found))
        say(paragraph(_CHANGE_NOTE))

    def _soak(self) -> None:
        frames, rate = self._size.soak
        found = streaming.soak(frames, rate, note)
        self._keep("soak", found, report.soak_verdicts(found))
        say(f"{frames:,} small frames at {rate:g} a second", heading=True)
        say(report.soak_table(found))

    def _keep(self, part: str, found: Any, verdicts: list[Verdict]) -> None:
        self.raw[part] = found
        self.verdicts += verdicts


def run(size: Size, trained: Trained, parts: Sequence[str], out: Path | None) -> None:
    """Freeze what is not frozen yet, measure, print."""
    begin = time.monotonic()
    models = {
        "rate": size.rate[0],
        "change": size.change[0],
        "encoded": ("cnn14",),
        "soak": ("cnn14",),
    }
    frozen = {}
    for model in dict.fromkeys(name for part in parts for name in models.get(part, ())):
        note(f"freezing {model}, or finding it frozen")
        frozen[model] = one("frozen", model)
    told = manifest(frozen)
    say("\n".join(f"{key:12}{value}" for key, value in told["lines"].items()))
    bench = Bench(size, trained)
    for part in parts:
        bench.run(part)
    say("Bars", heading=True)
    say(verdict_table(bench.verdicts))
    load = os.getloadavg()[0]
    say(f"{time.monotonic() - begin:.0f} s in all; load average now {load:.1f}")
    if out is not None:
        told |= {"parts": list(parts), "size": size, "load_at_the_end": load, "seconds": time.monotonic() - begin}
        raw = plain(manifest=told, bars=bench.verdicts, **bench.raw)
        out.write_text(json.dumps(raw, indent=1) + "\n", "utf-8")


_SHAPED_NOTE: Final = """
Two hosts of the lab, raised and set by slicebed lab up and slicebed apply; then a bucket of 1 ms and one packet at a
time, so that the rate holds for short arrays too. From the first byte handed to the transport until the receiver holds
the array, by one clock. Ideal: bytes over the link's goodput (1,448 of 1,514 bytes of its rate) and one way's delay.
"""
_ENCODED_NOTE: Final = """
From the array at one end to the array at the other, encoding and decoding included, without one way's delay; raw : auto
is the median of the frames' ratios.
"""
_RATE_NOTE: Final = """
The camera is always ahead and the queues behind the links wait instead of dropping. Work: decoding and the slice, the
median of the run itself, in which the three share the machine's cores.
"""
_CHANGE_NOTE: Final = """
Each change goes to another cut in three slices, prepared by the agents that go on streaming. Cores: that the three keep
busy before the order. Gap: between two answers, less the camera's interval; the usual one is the longest of the two
seconds before the order.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-pipeline", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every raw figure to FILE as JSON")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works")
    parser.add_argument("--soak", action="store_true", help="100,000 frames too, about six minutes")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    codecs.add_options(parser)
    options = parser.parse_args(arguments)
    trained = Trained(options.lite0, options.video)
    parts = options.only or [part for part in PARTS if part not in _WHEN_ASKED or options.soak]
    return exit_code(
        "bench-pipeline",
        lambda: run(_QUICK if options.quick else Size(), trained, parts, options.out),
        (BenchmarkError, OneLineError),
        stopped="stopped",
    )


if __name__ == "__main__":
    sys.exit(main())
