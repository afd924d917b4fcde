"""``make bench-slicer``: everything in one run, tables on the terminal, raw figures in a file when asked."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.network.report import plain
from benchmarks.network.tables import paragraph
from benchmarks.shared.terminal import exit_code, note, say
from benchmarks.slicer import report
from benchmarks.slicer.candidates import report as candidates_report
from benchmarks.slicer.candidates.compare import compare as compare_candidates
from benchmarks.slicer.chosen import boundaries, thirds
from benchmarks.slicer.cutting import compare
from benchmarks.slicer.equality import kept
from benchmarks.slicer.manifest import manifest
from benchmarks.slicer.workers import ROOT, BenchmarkError, Worker, one

from slicebed.split.model import open_source
from slicebed.split.slices import slice_folder, write_cut
from slicebed_agent.errors import OneLineError
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.bars import Verdict
    from benchmarks.slicer.equality import Checked

PARTS: Final = ("cuts", "equality", "change", "chain", "memory", "candidates")
# These take long; the others are the bars.
_WHEN_ASKED: Final = ("equality", "candidates")
_LARGE: Final = ("inception_resnet_v2", "nasnet_large", "pnasnet5_large")
_SMALLER: Final = ("cnn14", "mobilenet_v2", "resnet50_v2", "inception_v3", "vgg16")
_SAMPLE: Final = 40


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        cut: whose file is cut, and how often by each way.
        equality, change, chain, memory, candidates: the models of each part.
        changes: of cut, by model.
        chain_rounds: at most so many rounds of the whole and each chain.
        drawn: cuts of each model besides the thirds.
        longest_s: no chain begins another round after so long, the cuts none after twice that.
        seed: of everything that is drawn.
    """

    cut: tuple[str, int] = ("nasnet_large", 15)
    equality: tuple[str, ...] = _SMALLER + _LARGE
    change: tuple[str, ...] = ("mobilenet_v2", "resnet50_v2", "inception_resnet_v2")
    chain: tuple[str, ...] = _SMALLER[1:] + _LARGE
    memory: tuple[str, ...] = _SMALLER + _LARGE
    candidates: tuple[str, ...] = _SMALLER + _LARGE
    changes: int = 9
    chain_rounds: int = 30
    drawn: int = 1
    longest_s: float = 60.0
    seed: int = 20201123

    def models(self, parts: Sequence[str]) -> tuple[str, ...]:
        """All models that these parts need."""
        of = {part: getattr(self, part) for part in PARTS[1:]} | {"cuts": self.cut[:1]}
        return tuple(dict.fromkeys(model for part in parts for model in of[part]))


_QUICK: Final = Size(
    cut=("mobilenet_v2", 4),
    equality=("cnn14", "mobilenet_v2"),
    change=("mobilenet_v2",),
    chain=("mobilenet_v2",),
    memory=("cnn14", "mobilenet_v2"),
    candidates=("cnn14",),
    changes=3,
    chain_rounds=8,
)


class Bench:
    """One run."""

    def __init__(self, size: Size, kept_folder: Path, paths: dict[str, Path]) -> None:
        self._size, self._kept, self._paths = size, kept_folder, paths
        self.verdicts: list[Verdict] = []
        self.raw: dict[str, Any] = {}

    def run(self, part: str) -> None:
        """Measure a part, and print it."""
        {
            "cuts": self._cuts,
            "equality": self._equality,
            "change": self._change,
            "chain": self._chain,
            "memory": self._memory,
            "candidates": self._candidates,
        }[part]()

    def _cuts(self) -> None:
        model, rounds = self._size.cut
        path = self._paths[model]
        found = compare(path, rounds, self._size.longest_s * 2, note)
        self._keep("cuts", found, report.cuts_verdicts(model, found))
        megabytes, ran = path.stat().st_size / 1e6, len(found[next(iter(found))].seconds)
        say(f"Cuts of {model}, file ({megabytes:.0f} MB) to list ({ran} rounds)", heading=True)
        say(report.cuts_table(found))
        say(paragraph(_CUTS_NOTE))

    def _equality(self) -> None:
        found: list[Checked] = []
        for model in self._size.equality:
            count = _SAMPLE if model in _LARGE else 0
            with Worker("equality", model, count, self._size.seed, self._kept) as worker:
                for step in worker.answers():
                    note(f"equality of {model}, cut {step['done']} of {step['of']}")
            checked = kept(self._kept, model)
            if checked is None:
                raise BenchmarkError(f"the cuts of {model} were checked, and nothing was kept in {self._kept}")
            found.append(checked)
        self._keep("equality", found, report.equality_verdicts(found))
        say("Every cut's two slices against the whole model", heading=True)
        say(report.equality_table(found))
        took, dates = sum(each.seconds for each in found), sorted(each.finished for each in found)
        say(paragraph(f"{_EQUALITY_NOTE} All took {took:.0f} s, run between {dates[0]} and {dates[-1]}."))

    def _change(self) -> None:
        found: dict[str, list[dict[str, Any]]] = {}
        for model in self._size.change:
            found[model] = []
            with Worker("changing", model, self._size.changes, self._size.seed) as worker:
                for change in worker.answers():
                    found[model].append(change)
                    note(f"change of cut, {model}, {len(found[model])} of {self._size.changes}")
        self._keep("change", found, report.change_verdicts(found))
        say("Changing the cut while another thread runs frames through the old one", heading=True)
        say(report.change_table(found))
        say(paragraph(_CHANGE_NOTE))

    def _chain(self) -> None:
        found = {}
        for model in self._size.chain:
            note(f"three slices against the whole, {model}")
            numbers = (self._size.chain_rounds, self._size.longest_s, self._size.drawn, self._size.seed)
            found[model] = one("chaining", model, *numbers)
        self._keep("chain", found, report.chain_verdicts(found))
        say("Three slices one after another, and the whole model, in one process", heading=True)
        say(report.chain_table(found))
        say(paragraph(_CHAIN_NOTE))

    def _memory(self) -> None:
        found = {}
        for model in self._size.memory:
            note(f"memory of published slices, {model}")
            opened = open_source(ModelSource(model))
            cut = thirds(opened.split_points())
            with tempfile.TemporaryDirectory(prefix="slicebed-bench-") as name:
                write_cut(opened, cut, Path(name) / "slices")
                numbers = range(1, 1 + len(list(pairwise(boundaries(opened.graph, cut)))))
                found[model] = [one("memory", slice_folder(Path(name) / "slices", number)) for number in numbers]
        self._keep("memory", found, report.memory_verdicts(found))
        say("A process that loads one published slice and runs it ten times, MB", heading=True)
        say(report.memory_table(found))

    def _candidates(self) -> None:
        size = self._size
        found = {}
        say("Ways of running slices: memory in MB, differences, times", heading=True)
        for model in size.candidates:
            found[model] = compare_candidates(model, size.chain_rounds, size.longest_s, size.seed, note)
            say(f"{model}\n")
            say(candidates_report.memory_table(found[model]))
            say(candidates_report.time_table(found[model]))
        self._keep("candidates", found, [])
        say(paragraph(_CANDIDATES_MEMORY_NOTE))
        say(paragraph(_CANDIDATES_TIME_NOTE))
        say("\n".join(candidates_report.stopped_lines(found)) or "No candidate was stopped.")

    def _keep(self, part: str, found: Any, verdicts: list[Verdict]) -> None:
        self.raw[part] = found
        self.verdicts += verdicts


def run(size: Size, parts: Sequence[str], kept_folder: Path, out: Path | None) -> None:
    """Freeze what is not frozen yet, measure, print."""
    begin = time.monotonic()
    frozen = {}
    for model in size.models(parts):
        note(f"freezing {model}, or finding it frozen")
        frozen[model] = one("frozen", model)
    told = manifest(frozen)
    say("\n".join(f"{key:12}{value}" for key, value in told["lines"].items()))
    bench = Bench(size, kept_folder, {model: Path(found["path"]) for model, found in frozen.items()})
    for part in parts:
        bench.run(part)
    if bench.verdicts:
        say("Bars", heading=True)
        say(report.verdict_table(bench.verdicts))
    load = os.getloadavg()[0]
    say(f"{time.monotonic() - begin:.0f} s in all; load average now {load:.1f}")
    if out is not None:
        told |= {"parts": list(parts), "size": size, "load_at_the_end": load, "seconds": time.monotonic() - begin}
        raw = plain(manifest=told, bars=bench.verdicts, **bench.raw)
        out.write_text(json.dumps(raw, indent=1) + "\n", "utf-8")


_CUTS_NOTE: Final = """
The file is in the page cache. Held processes have imported what they need and have done it once; the started ones pay
for Python's start and their imports (TensorFlow's too) each time. protobuf finds no cuts. Couper's walk takes no
heed of what does not depend on the input, so that its count differs where the file computes on weights. Ratios: median
of the rounds' ratios, 95 % bootstrap.
"""
_EQUALITY_NOTE: Final = """
Worst: largest difference from the whole, in relation to its largest output. All cuts of one tensor, and 20 of those of
two or three; of the three large models a sample of 40, filled with cuts of several tensors where there are fewer.
"""
_CHANGE_NOTE: Final = """
Each change goes to another cut in three slices, prepared while frames run through the old one. Switch: from the
order until it is in force, and from the old cut's last frame to the new one's first. First frame: how much longer than
the median of the four behind it.
"""

_CHAIN_NOTE: Final = """
Thirds: of the work, where the model has such cuts (NASNet and PNASNet have only 8 of one tensor, at both ends). Drawn:
by the seed. The file of --out names the cuts.
"""

_CANDIDATES_MEMORY_NOTE: Final = """
A process for each row. Resident after loading, then with the whole and three cuts prepared; of that its own alone; what
a cut more (three slices) adds to that, median of three; the most at any time. Differences in relation to the largest
output: of three slices from the candidate's whole (worst of three cuts), of its whole from Keras.
"""
_CANDIDATES_TIME_NOTE: Final = """
Load: with imports. Slice: the slowest to prepare of all cuts; then all three of the first cut, the slower of the two
later cuts, the whole. A frame: of the whole. Three : whole at the first cut, thirds of the work. Cuts are at layers'
outputs where nothing is fused across. Times of different rows were not interleaved.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-slicer", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every raw figure to FILE as JSON")
    parser.add_argument("--quick", action="store_true", help="small models and few rounds: shows that it works")
    parser.add_argument("--equality", action="store_true", help="every cut too; finished models are not run again")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    folder = ROOT / "build" / "bench-slicer"
    parser.add_argument("--kept", type=Path, default=folder, metavar="DIR", help="of models whose equality is checked")
    parser.add_argument(
        "--longest", type=float, metavar="S", help="begin no further round of an experiment after S seconds (60)"
    )
    options = parser.parse_args(arguments)
    parts = options.only or [
        part for part in PARTS if part not in _WHEN_ASKED or (part == "equality" and options.equality)
    ]
    size = _QUICK if options.quick else Size()
    size = size if options.longest is None else replace(size, longest_s=options.longest)
    return exit_code(
        "bench-slicer",
        lambda: run(size, parts, options.kept / "equality", options.out),
        (BenchmarkError, OneLineError),
        stopped="stopped",
    )


if __name__ == "__main__":
    sys.exit(main())
