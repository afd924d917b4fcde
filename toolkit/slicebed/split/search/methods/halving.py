"""Successive halving (K. Jamieson and A. Talwalkar, AISTATS 2016) on paired frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import best_of, ranked
from slicebed.split.search.options import Kind, count, read

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Measure, Problem


def halving(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """All candidates on few frames, the better ones on more, the last on as many as the experiment says.

    The candidates of a round see the same pictures, so that what differs is not the pictures' doing.

    Options: ``frames`` of the first round (8); ``eta``, by which candidates are divided and frames multiplied (2);
    ``last``, how many candidates are few enough for the last round (3).
    """
    options = read(problem, {"frames": Kind.COUNT, "eta": Kind.COUNT, "last": Kind.COUNT})
    frames, eta, last = count(options, "frames", 8), count(options, "eta", 2), count(options, "last", 3)
    keys = _spread([candidate.key for candidate in problem.candidates], problem.budget)
    rounds, begun = 0, len(keys)
    while len(keys) > last:
        measures = yield Ask(keys, frames, paired=True)
        best_of(measures, problem.objective)  # or an error, if nothing could be measured
        order = [measure.key for _, measure in ranked(measures, problem.objective)]
        keys = tuple(order[: min(math.ceil(len(order) / eta), len(keys) - 1)])
        frames *= eta
        rounds += 1
    measures = yield Ask(keys, paired=True)
    best = best_of(measures, problem.objective)
    return Choice(
        best.key, f"the best of {len(measures)} that were left of {begun} after {rounds} rounds on fewer frames"
    )


def _spread(keys: Sequence[str], budget: int | None) -> tuple[str, ...]:
    """As many as the budget allows, evenly spread, for candidates beside each other are alike."""
    if budget is None or budget >= len(keys):
        return tuple(keys)
    return tuple(keys[(2 * at + 1) * len(keys) // (2 * budget)] for at in range(budget))
