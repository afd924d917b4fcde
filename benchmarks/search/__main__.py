"""``make bench-search``: everything in one run, tables on the terminal, raw figures in a file when asked."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.network.report import plain
from benchmarks.network.tables import paragraph
from benchmarks.search import again, found, genetic, kill
from benchmarks.search.room import lab_of
from benchmarks.shared.terminal import exit_code, note, say
from benchmarks.slicer.report import verdict_table
from benchmarks.slicer.workers import BenchmarkError

from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.bars import Verdict

PARTS: Final = ("genetic", "predict", "kill")
_SEED: Final = 20201123


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        spaces: simulated, of each objective, exact and noisy.
        models: that are cut in the lab.
        conditions: of the experiment's file.
        kills: of the control process.
    """

    spaces: int = 120
    models: tuple[str, ...] = ("InceptionV3", "ResNet50V2", "NASNetLarge", "pnasnet5_large", "MobileNetV2")
    conditions: tuple[str, ...] = ("low", "mid", "high")
    kills: int = 20


_QUICK: Final = Size(spaces=10, models=("NASNetLarge",), conditions=("high",), kills=3)

_PREDICT_NOTE: Final = """
Runs: what predict asked for. Regret: latency of the frames at its choice over that at the best cut there is, which is
the lowest of as many runs as there are cuts. Anew: the same of both cuts in five more runs of each. Error: of its last
predictions of the cuts that it did not measure, their median. Times are the testbed's, profiles included. Beyond
frames: what a cut of strongman's took besides the frames' own time.
"""
_GENETIC_NOTE: Final = """
Ratio: what the choice truly gives over the best of all points, found by looking at each. With noise, a method is told
figures that are off by so much (standard deviation). At random: the best of as many points drawn without any method.
"""


def predict(size: Size, results: Path) -> list[found.Found]:
    """Search every model under every condition by both methods; goes on where an earlier one was ended."""
    rows: list[found.Found] = []
    for model in size.models:
        with lab_of(found.EXPERIMENT) as inventory:
            campaign = found.search(inventory, results / f"predict-{model}", [model], size.conditions)
            for each in found.found_in(campaign):
                anew = again.regret_anew(each, inventory, results / f"again-{model}-{each.condition}")
                rows.append(replace(each, anew=anew))
        note(found.summary(rows[-len(size.conditions) :]))
    return rows


def run(parts: Sequence[str], size: Size, results: Path, out: Path | None) -> None:
    """Measure the parts, and print each."""
    begin = time.monotonic()
    raw: dict[str, Any] = {}
    verdicts: list[Verdict] = []
    if "genetic" in parts:
        rows = genetic.searches(size.spaces, note)
        raw["genetic"] = rows
        verdicts += genetic.verdicts(rows)
        say("Genetic search on simulated spaces", heading=True)
        say(genetic.summary(rows))
        say(paragraph(_GENETIC_NOTE))
    if "predict" in parts:
        rows_found = predict(size, results)
        raw["predict"] = rows_found
        verdicts += found.verdicts(rows_found)
        say("Predict beside strongman, who measures every cut", heading=True)
        say(found.summary(rows_found))
        say(paragraph(_PREDICT_NOTE))
    if "kill" in parts:
        with lab_of(kill.SEARCHES[0]) as inventory:
            killed = kill.kills(size.kills, kill.commands(inventory), kill.moments(_SEED), results / "kill", note)
        raw["kill"] = killed
        verdicts += kill.verdicts(killed)
        say("Searches killed and resumed", heading=True)
        say(kill.summary(killed))
    say("Bars", heading=True)
    say(verdict_table(verdicts))
    say(f"{time.monotonic() - begin:.0f} s in all")
    if out is not None:
        out.write_text(json.dumps(plain(parts=list(parts), bars=verdicts, **raw), indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-search", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every raw figure to FILE as JSON")
    parser.add_argument("--quick", action="store_true", help="few spaces: shows that it works")
    parser.add_argument("--results", type=Path, default=Path("results/bench-search"), help="of the searches in the lab")
    parser.add_argument("--model", action="append", help="of predict: only this one; may be given several times")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    size = _QUICK if options.quick else Size()
    if options.model:
        size = replace(size, models=tuple(options.model))
    return exit_code(
        "bench-search",
        lambda: run(options.only or PARTS, size, options.results, options.out),
        (OneLineError, BenchmarkError),
        stopped="stopped",
    )


if __name__ == "__main__":
    sys.exit(main())
