"""Predicts every candidate from one profile of each host, verifies the most promising, and says how wrong it may be."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import INFEASIBLE, best_of, error, excess, interval, score
from slicebed.split.search.options import Kind, count, read
from slicebed.split.search.registry import with_profiles
from slicebed.stats import Z

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from slicebed.spec.objective import Objective
    from slicebed.split.search.contracts import Figure, Foretold, Measure, Problem


@with_profiles
def predict(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """The best predicted first, then whichever is expected to gain most, until none is expected to gain enough.

    What is expected is the mean of the improvement over the best measured, under a normal distribution with the
    predicted interval (D. R. Jones, M. Schonlau and W. J. Welch, 1998): none where the predicted low end is no better.
    Predictions are made anew after every measure.

    Options: ``tolerance``, the gain that is not worth a run (2 %); ``least`` candidates measured (one in twenty,
    rounded up, and at least two, but no more than ``most``) and ``most`` (5).

    Raises:
        SpecError: there are no profiles to predict from, or the objective's metric is not predicted.
    """
    options = read(problem, {"tolerance": Kind.SHARE, "least": Kind.COUNT, "most": Kind.COUNT})
    # What one that is predicted as good as the best, and off by 5 %, gains in the mean.
    tolerance = options.get("tolerance", 0.02)
    most = min(count(options, "most", 5), problem.budget or len(problem.candidates), len(problem.candidates))
    # Among many, several are predicted alike, and a run is a small share of what measuring all would take.
    least = count(options, "least", max(2, math.ceil(len(problem.candidates) / 20)))
    state = _State(problem)
    while len(state.tried) < len(problem.candidates):
        key, gain = state.next()
        if len(state.tried) >= min(least, most) and gain <= tolerance:
            break
        if len(state.tried) >= most:
            return state.choice(stopped_at=most)
        state.learn(key, (yield Ask((key,))))
    return state.choice()


@dataclass
class _State:
    """What is known and predicted so far."""

    problem: Problem
    measures: list[Measure] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.problem.foretell is None:
            raise SpecError("it needs profiles of the hosts to predict from", mend="let the hosts be profiled first")
        self._foretell: Callable[[Sequence[Measure]], Mapping[str, Foretold]] = self.problem.foretell
        self._predict()

    def next(self) -> tuple[str, float]:
        """The candidate to measure next, and the share of the best measured that it is expected to gain."""
        left = [key for key in self._scores if key not in self.tried]
        if not self.measures:
            return min(left, key=lambda key: (self._scores[key].value, key)), math.inf
        objective = self.problem.objective
        best = best_of(self.measures, objective)
        gains = {key: expected_gain(objective, self._foretold[key].figures, best.figures) for key in left}
        key = min(left, key=lambda key: (-gains[key], self._scores[key].value, key))
        reached = score(objective, best.figures)
        return key, excess(objective, reached, reached - gains[key])

    def learn(self, key: str, measures: Sequence[Measure]) -> None:
        """Take in what was measured, hold it against what was predicted before, and predict anew."""
        self.tried.add(key)
        for measure in measures:
            found = score(self.problem.objective, measure.figures)
            off = error(self.problem.objective, self._scores[key].value, found)
            if off is not None and math.isfinite(off):
                self.errors.append(off)
            self.measures.append(measure)
        self._predict()

    def choice(self, stopped_at: int | None = None) -> Choice:
        """The best measured; how much better another may still be, by the predicted low ends.

        That is not known where the best measured breaks a limit, or is no share where another may reach 0.

        Args:
            stopped_at: how many may be measured, where that ended the search while another was promising.
        """
        objective = self.problem.objective
        best = best_of(self.measures, objective)
        left = [span for key, span in self._scores.items() if key not in self.tried]
        lows = [span.value if math.isnan(span.low) else span.low for span in left]
        reached = score(objective, best.figures)
        found = excess(objective, reached, min(lows, default=math.inf))
        regret = found if reached < INFEASIBLE and math.isfinite(found) else None
        off = statistics.median(self.errors) if self.errors else None
        said = "" if off is None else f", predictions off by {off:.1%} in the median"
        said += "" if stopped_at is None else f"; stopped at the most that may be measured, {stopped_at}"
        bound = (
            "how much better another may be is not known"
            if regret is None
            else f"by the low end of its own 95 % interval, no other is better by more than {regret:.1%}"
        )
        return Choice(
            best.key,
            f"the best of {len(self.measures)} verified of {len(self._scores)} predicted{said}; {bound}",
            regret=regret,
            error=off,
        )

    def _predict(self) -> None:
        self._foretold = self._foretell(tuple(self.measures))
        missing = [c.key for c in self.problem.candidates if c.key not in self._foretold]
        if missing:
            raise SpecError(f"nothing is predicted of {missing[0]}", mend="let all hosts be profiled")
        objective = self.problem.objective
        self._scores: dict[str, Figure] = {
            candidate.key: interval(objective, self._foretold[candidate.key].figures)
            for candidate in self.problem.candidates
        }


def expected_gain(objective: Objective, foretold: Mapping[str, Figure], best: Mapping[str, Figure]) -> float:
    """The mean improvement of the score over the best measured, 0 or more."""
    reached, span = score(objective, best), interval(objective, foretold)
    optimistic = span.value if math.isnan(span.low) else span.low
    if optimistic >= reached:
        return 0.0
    if reached >= INFEASIBLE:
        return reached - optimistic
    free = replace(objective, limits=MappingProxyType({}))
    span = interval(free, foretold)
    # An even chance where it is open whether the limits are kept.
    chance = 1.0 if score(objective, foretold) < INFEASIBLE else 0.5
    better = reached - span.value
    deviation = (span.high - span.low) / (2 * Z)
    if not deviation > 0:
        return chance * max(0.0, better)
    normal = statistics.NormalDist()
    z = better / deviation
    return chance * (better * normal.cdf(z) + deviation * normal.pdf(z))
