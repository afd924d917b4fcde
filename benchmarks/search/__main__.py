"""``make bench-search``: everything in one run, tables on the terminal, raw figures in a file when asked."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.network.report import plain
from benchmarks.network.tables import paragraph
from benchmarks.search import genetic
from benchmarks.shared.terminal import exit_code, note, say
from benchmarks.slicer.report import verdict_table

from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.bars import Verdict

PARTS: Final = ("genetic",)
# Spaces of each objective, exact and noisy.
_SEEDS: Final = 120
_QUICK_SEEDS: Final = 10

_GENETIC_NOTE: Final = """
Ratio: what the choice truly gives over the best of all points, found by looking at each. With noise, a method is told
figures that are off by so much (standard deviation). At random: the best of as many points drawn without any method.
"""


def run(parts: Sequence[str], *, quick: bool, out: Path | None) -> None:
    """Measure the parts, and print each."""
    begin = time.monotonic()
    raw: dict[str, Any] = {}
    verdicts: list[Verdict] = []
    if "genetic" in parts:
        rows = genetic.searches(_QUICK_SEEDS if quick else _SEEDS, note)
        raw["genetic"] = rows
        verdicts += genetic.verdicts(rows)
        say("Genetic search on simulated spaces", heading=True)
        say(genetic.summary(rows))
        say(paragraph(_GENETIC_NOTE))
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
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    return exit_code(
        "bench-search",
        lambda: run(options.only or PARTS, quick=options.quick, out=options.out),
        (OneLineError,),
        stopped="stopped",
    )


if __name__ == "__main__":
    sys.exit(main())
