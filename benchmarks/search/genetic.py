"""The genetic method on simulated spaces, beside the best there is in each and beside as many random draws."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.network.tables import table
from benchmarks.search.space import OBJECTIVES, drawn
from benchmarks.slicer.bars import Verdict

from slicebed.split.search.registry import load
from slicebed.split.search.session import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVALUATIONS: Final = 300
RATIO: Final = 1.02
# The method was made with spaces of lower seeds.
_FIRST_SEED: Final = 6000
# Of a median of 50 frames or so.
_NOISE: Final = 0.03


@dataclass(frozen=True)
class Row:
    """One search.

    Attributes:
        seed: of the space, and of the method.
        objective: its name in `space.OBJECTIVES`.
        noise: relative standard deviation of a measure.
        points: in the space.
        evaluations: candidates measured.
        ratio: the true score of what was found over that of the best of all, which is 1 or less.
        by_chance: the same ratio for the best of as many candidates drawn at random.
        seconds: that the method itself took.
    """

    seed: int
    objective: str
    noise: float
    points: int
    evaluations: int
    ratio: float
    by_chance: float
    seconds: float


def searches(seeds: int, note: Callable[[str], None]) -> list[Row]:
    """Every objective with exact measures, and with noisy ones, on as many spaces."""
    method = load("genetic")
    rows = []
    for name, objective in OBJECTIVES.items():
        for noise in (0.0, _NOISE):
            for seed in range(_FIRST_SEED, _FIRST_SEED + seeds):
                note(f"genetic search for {name}, space {seed - _FIRST_SEED + 1} of {seeds}")
                space = drawn(seed, objective, noise)
                decision = drive("genetic", method, space.problem, space.measure)
                drawn_keys = random.Random(seed).sample(sorted(space.true), len(decision.asked))  # noqa: S311 - a simulation
                rows.append(
                    Row(
                        seed,
                        name,
                        noise,
                        len(space.true),
                        len(decision.asked),
                        space.worth(decision.choice.key) / space.best,
                        min(map(space.worth, drawn_keys)) / space.best,
                        decision.decision_s,
                    )
                )
    return rows


def summary(rows: Sequence[Row]) -> str:
    """A line for each objective and noise."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.objective, row.noise), []).append(row)
    head = ("objective", "noise", "spaces", "best found", "worst ratio", "median at random", "evaluations", "s each")
    lines = [
        (
            name,
            f"{noise:.0%}",
            str(len(group)),
            str(sum(row.ratio <= 1 + 1e-12 for row in group)),
            f"{max(row.ratio for row in group):.4f}",
            f"{statistics.median(row.by_chance for row in group):.3f}",
            f"{min(row.evaluations for row in group)} to {max(row.evaluations for row in group)}",
            f"{statistics.median(row.seconds for row in group):.2f}",
        )
        for (name, noise), group in groups.items()
    ]
    return table(head, lines)


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The bars of the genetic search, over the exact measures."""
    exact = [row for row in rows if row.noise == 0]
    ratio, most = max(row.ratio for row in exact), max(row.evaluations for row in exact)
    points = min(row.points for row in exact)
    return [
        Verdict(
            f"genetic, {points:,} points: to the optimum, worst of {len(exact)}",
            f"{ratio:.4f} x",
            f"at most {RATIO:g} x",
            "met" if ratio <= RATIO else "NOT met",
        ),
        Verdict(
            "genetic: evaluations, most of any",
            str(most),
            f"at most {EVALUATIONS}",
            "met" if most <= EVALUATIONS else "NOT met",
        ),
    ]
