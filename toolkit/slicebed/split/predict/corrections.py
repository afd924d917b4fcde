"""What measures teach: how fast hosts and links are, by Bayes' rule, and how far the model itself is off.

Unknown are the factor of every host's times, the factor of every link's rate and what a frame takes on it besides, and
what every frame takes besides; each is normal (factors: their logarithms) around what profiles and links say, as far
off as `Doubt` has it. A measured candidate says something of its hosts' factors, by its compute times, and of all
unknowns on its way, by its latency. The latency is linearised where the belief stands, twice (Gauss-Newton), and the
belief is the posterior of the linear model: few measures move it little, what no measure speaks of stays as doubtful as
it was.

Every candidate is off by an amount of its own besides, which no measure of another one tells. How large these amounts
are is learnt from the measures, each predicted from the others alone: where those miss by more than they should, all
doubt is scaled up. A few measures tell a scale badly, which Student's distribution accounts for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed.split.predict.simulation import World
from slicebed.stats import student_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from slicebed.split.predict.line import Line

_ITERATIONS: Final = 2
_STEP: Final = 0.5
"""Of a finite difference, in standard deviations: wide enough to see a queue fill."""
_PRIOR_FREEDOM: Final = 4
"""How many measures the doubt that was given counts as much as."""
_LEAST_NOISE: Final = 0.005


@dataclass(frozen=True)
class Doubt:
    """How far off what a prediction rests on may be: standard deviations before anything was measured.

    Attributes:
        host: of all of a host's times, as a share.
        rate: of what a link carries, as a share.
        extra_s: of what a frame takes on a link, beside its bytes.
        constant_s: of what a frame takes wherever it goes.
        own: of everything that one candidate takes, as a share, beside its hosts' and links' factors.
        compute: of what one candidate computes on one host, as a share of it, beside the host's factor: slices are not
            exactly the sum of the operators that were profiled.
        compute_s: the same, of short ones.
    """

    host: float = 0.10
    rate: float = 0.03
    extra_s: float = 0.001
    constant_s: float = 0.001
    own: float = 0.05
    compute: float = 0.05
    compute_s: float = 0.0003


class Unknowns:
    """The unknowns of some lines as a vector."""

    def __init__(self, lines: Iterable[Line], doubt: Doubt) -> None:
        """Of all hosts and links of the lines."""
        lines = tuple(lines)
        self.doubt = doubt
        self._hosts = sorted({stage.host for line in lines for stage in line.stages} | _senders(lines))
        self._pairs = sorted({(hop.sender, hop.receiver) for line in lines for hop in line.hops})
        spread = [doubt.host] * len(self._hosts) + [doubt.rate] * len(self._pairs)
        spread += [doubt.extra_s] * len(self._pairs) + [doubt.constant_s]
        self.spread = np.array(spread)

    def host(self, name: str) -> int:
        """Place of a host's factor."""
        return self._hosts.index(name)

    def of(self, line: Line) -> list[int]:
        """Places of those that a line's latency depends on."""
        first, pairs = len(self._hosts), len(self._pairs)
        hosts = {self.host(stage.host) for stage in line.stages} | {self.host(hop.sender) for hop in line.hops}
        links = {self._pairs.index((hop.sender, hop.receiver)) for hop in line.hops}
        places = hosts | {first + link for link in links} | {first + pairs + link for link in links}
        return [*sorted(places), len(self.spread) - 1]

    def world(self, vector: npt.NDArray[np.float64], own: float = 0.0) -> World:
        """What a vector says; `own` is the logarithm of one candidate's own factor."""
        first, pairs = len(self._hosts), len(self._pairs)
        factors = np.exp(vector[: first + pairs]).tolist()
        return World(
            hosts=dict(zip(self._hosts, factors[:first], strict=True)),
            rates=dict(zip(self._pairs, factors[first:], strict=True)),
            extras_s=dict(zip(self._pairs, vector[first + pairs : -1].tolist(), strict=True)),
            constant_s=float(vector[-1]),
            all=math.exp(own),
        )


@dataclass(frozen=True)
class Seen:
    """What was measured of one candidate, as far as it teaches anything.

    Attributes:
        line: of the candidate.
        latency_s: median; None where it was not measured.
        noise: standard deviation of that, as a share.
        compute: by host, what it computed there and what was predicted, in seconds, both above 0.
        predict_s: its median latency in a world.
    """

    line: Line
    latency_s: float | None
    noise: float
    compute: tuple[tuple[str, float, float], ...]
    predict_s: Callable[[World], float]


@dataclass(frozen=True)
class Belief:
    """What is believed of the unknowns.

    Attributes:
        mean: of the vector.
        root: a matrix that times its transpose is the vector's covariance.
        scale: what all deviations are to be multiplied by, by what measures say of it.
        freedom: of Student's distribution of what was scaled so.
    """

    mean: npt.NDArray[np.float64]
    root: npt.NDArray[np.float64]
    scale: float
    freedom: float

    @property
    def reach(self) -> float:
        """Half of a 95 % interval, in deviations that were scaled."""
        return student_quantile(self.freedom)


def learn(unknowns: Unknowns, seen: Sequence[Seen]) -> Belief:
    """Believe what the measures say, as far as they say it.

    Args:
        unknowns: of all candidates' lines.
        seen: in any order.
    """
    mean = np.zeros(len(unknowns.spread))
    rows: list[_Rows] = []
    for _ in range(_ITERATIONS if seen else 0):
        rows = [_linear(unknowns, each, mean) for each in seen]
        mean, _ = _posterior(unknowns.spread, rows)
    _, covariance = _posterior(unknowns.spread, rows)
    misses = [miss for number in range(len(rows)) for miss in _misses(unknowns.spread, rows, number)]
    told = sum(weight for weight, _ in misses)
    scale = math.sqrt((_PRIOR_FREEDOM + sum(weight * miss**2 for weight, miss in misses)) / (_PRIOR_FREEDOM + told))
    return Belief(mean, np.linalg.cholesky(covariance).astype(np.float64), scale, _PRIOR_FREEDOM + told)


@dataclass(frozen=True)
class _Rows:
    """One measured candidate in the linear model: slopes times the vector are `values`, with this variance.

    The latency's row is the last one.
    """

    slopes: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]


def _linear(unknowns: Unknowns, seen: Seen, at: npt.NDArray[np.float64]) -> _Rows:
    doubt = unknowns.doubt
    slopes, values, variances = [], [], []
    for host, measured_s, predicted_s in seen.compute:
        slope = np.zeros(len(at))
        slope[unknowns.host(host)] = 1.0
        slopes.append(slope)
        values.append(math.log(measured_s / predicted_s))
        variances.append(doubt.compute**2 + (doubt.compute_s / min(measured_s, predicted_s)) ** 2)
    if seen.latency_s is not None:
        slope, foretold, own = _slope(unknowns, seen, at)
        slopes.append(slope)
        values.append(math.log(seen.latency_s) - foretold + float(slope @ at))
        variances.append((own * doubt.own) ** 2 + max(seen.noise, _LEAST_NOISE) ** 2)
    return _Rows(np.array(slopes).reshape(-1, len(at)), np.array(values), np.array(variances))


def _slope(unknowns: Unknowns, seen: Seen, at: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float, float]:
    """Of the logarithm of the latency: its slope at a vector, its value there, and its slope by the own factor."""
    here = math.log(seen.predict_s(unknowns.world(at)))
    slope = np.zeros(len(at))
    for place in unknowns.of(seen.line):
        step = _STEP * unknowns.spread[place]
        if step:
            there = at.copy()
            there[place] += step
            slope[place] = (math.log(seen.predict_s(unknowns.world(there))) - here) / step
    step = _STEP * unknowns.doubt.own
    own = (math.log(seen.predict_s(unknowns.world(at, step))) - here) / step if step else 0.0
    return slope, here, own


def _posterior(
    spread: npt.NDArray[np.float64], rows: Sequence[_Rows]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and covariance, by one row after the other: no matrix is inverted, and a doubt may be 0."""
    mean, covariance = np.zeros(len(spread)), np.diag(spread**2)
    for each in rows:
        for slope, value, variance in zip(each.slopes, each.values, each.variances, strict=True):
            along = covariance @ slope
            gain = along / (float(slope @ along) + variance)
            mean = mean + gain * (value - float(slope @ mean))
            covariance = covariance - np.outer(gain, along)
    # Cholesky's factor of it is wanted: rounding must not make a variance of 0 negative.
    return mean, (covariance + covariance.T) / 2 + np.eye(len(spread)) * 1e-15


def _misses(spread: npt.NDArray[np.float64], rows: Sequence[_Rows], number: int) -> list[tuple[float, float]]:
    """How far a candidate is from what the others foretell, in deviations, and what each miss counts."""
    mean, covariance = _posterior(spread, [*rows[:number], *rows[number + 1 :]])
    found = []
    for slope, value, variance in zip(rows[number].slopes, rows[number].values, rows[number].variances, strict=True):
        miss = float(value - slope @ mean) / math.sqrt(float(slope @ covariance @ slope) + float(variance))
        found.append((1 / len(rows[number].values), miss))
    return found


def _senders(lines: Iterable[Line]) -> set[str]:
    return {hop.sender for line in lines for hop in line.hops}
