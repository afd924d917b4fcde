"""What measures teach: how fast hosts and links are, by Bayes' rule, and how far the model itself is off.

Unknown are the factor of every host's times and what a slice takes there besides, the factor of every link's rate and
what a frame takes on it besides, and what every frame takes besides; each is normal (factors: their logarithms) around
what profiles and links say, as far off as `Doubt` has it. A measured candidate says something of its hosts, by its
compute times, and of all unknowns on its way, by its latency. Both are linearised where the belief stands, a few times
(Gauss-Newton, in steps of bounded length), and the belief is the posterior of the linear model: few measures move it
little, what no measure speaks of stays as doubtful as it was.

Every candidate is off by an amount of its own besides, which no measure of another one tells. How large these amounts
are is learnt from the measures, each predicted from the others alone: where those miss by more than they should, all
doubt is scaled up. A few measures tell a scale badly, which Student's distribution accounts for. And a machine is busy
with other things now and then: a measure that is far from what profile and other measures say is believed the less,
as far as that distribution has it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed.split.predict.simulation import World
from slicebed.stats import student_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from slicebed.split.predict.line import Line

_ITERATIONS: Final = 4
_STEP: Final = 0.5
"""Of a finite difference, in standard deviations: wide enough to see a queue fill."""
_PRIOR_FREEDOM: Final = 4
"""How many measures the doubt that was given counts as much as."""
_LEAST_NOISE: Final = 0.005
_FURTHEST: Final = math.log(1000)
"""No host or link is believed to be further from what its profile says than this factor's logarithm."""
_LONGEST_STEP: Final = 25.0
"""Of each unknown at once, in its deviations: far from where a curve was taken for a line, that says little of it."""


@dataclass(frozen=True)
class Doubt:
    """How far off what a prediction rests on may be: standard deviations before anything was measured.

    Attributes:
        host: of all of a host's times, as a share.
        agent_s: of processor time that a host spends on a frame besides the slice. Where it has as much as it wants of
            that it is done beside; a limit makes it wait, and with it the slice.
        rate: of what a link carries, as a share.
        extra_s: of what a frame takes on a link, beside its bytes.
        constant_s: of what a frame takes wherever it goes.
        own: of everything that one candidate takes, as a share, beside its hosts' and links' factors.
        compute: of what one candidate computes on one host, as a share of it, beside the host's factor: slices are not
            exactly the sum of the operators that were profiled.
        compute_s: the same, of short ones; where a limit makes the host stand still, by half of such a pause besides.
    """

    host: float = 0.10
    agent_s: float = 0.002
    rate: float = 0.03
    extra_s: float = 0.001
    constant_s: float = 0.001
    own: float = 0.03
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
        stretch = dict.fromkeys(self._hosts, 0.0)
        for stage in (stage for line in lines for stage in line.stages):
            if stage.throttle is not None:
                stretch[stage.host] = max(stretch[stage.host], stage.throttle.stretch)
        spread = [doubt.host] * len(self._hosts) + [doubt.rate] * len(self._pairs)
        spread += [doubt.agent_s * stretch[host] for host in self._hosts]
        spread += [doubt.extra_s] * len(self._pairs) + [doubt.constant_s]
        self.spread = np.array(spread)

    def host(self, name: str) -> int:
        """Place of a host's factor."""
        return self._hosts.index(name)

    def stall(self, name: str) -> int:
        """Place of what a slice takes besides on a host."""
        return len(self._hosts) + len(self._pairs) + self._hosts.index(name)

    def of(self, line: Line) -> list[int]:
        """Places of those that a line's latency depends on."""
        hosts = {stage.host for stage in line.stages} | {hop.sender for hop in line.hops}
        links = {self._pairs.index((hop.sender, hop.receiver)) for hop in line.hops}
        places = {place for host in hosts for place in (self.host(host), self.stall(host))}
        rates, extras = len(self._hosts), 2 * len(self._hosts) + len(self._pairs)
        places |= {first + link for first in (rates, extras) for link in links}
        return [*sorted(places), len(self.spread) - 1]

    def world(self, vector: npt.NDArray[np.float64], own: float = 0.0) -> World:
        """What a vector says; `own` is the logarithm of one candidate's own factor."""
        sizes = (len(self._hosts), len(self._pairs)) * 2
        hosts, rates, stalls_s, extras_s, constant_s = (
            each.tolist() for each in np.split(vector, list(itertools.accumulate(sizes)))
        )
        return World(
            hosts={name: _factor(logarithm) for name, logarithm in zip(self._hosts, hosts, strict=True)},
            rates={pair: _factor(logarithm) for pair, logarithm in zip(self._pairs, rates, strict=True)},
            stalls_s=dict(zip(self._hosts, stalls_s, strict=True)),
            extras_s=dict(zip(self._pairs, extras_s, strict=True)),
            constant_s=constant_s[0],
            all=_factor(own),
        )


@dataclass(frozen=True)
class Computed:
    """What a candidate's slices took on one host.

    Attributes:
        host: its name.
        measured_s: of a frame, median.
        predicted_s: the same.
        slices: how many.
        pause_s: how long the host stands still at once under its limit.
    """

    host: str
    measured_s: float
    predicted_s: float
    slices: int = 1
    pause_s: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What was measured of one candidate, as far as it teaches anything.

    Attributes:
        line: of the candidate.
        latency_s: median; None where it was not measured.
        noise: standard deviation of that, as a share.
        compute: on each host, as far as it is known.
        predict_s: its median latency in a world, above 0.
    """

    line: Line
    latency_s: float | None
    noise: float
    compute: tuple[Computed, ...]
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
    scale = 1.0
    for _ in range(_ITERATIONS if seen else 0):
        rows, scale = _weighed(unknowns.spread, [_linear(unknowns, each, mean) for each in seen])
        aim, _ = _posterior(unknowns.spread, rows)
        furthest = _LONGEST_STEP * unknowns.spread
        mean = mean + np.clip(aim - mean, -furthest, furthest)
    _, covariance = _posterior(unknowns.spread, rows)
    freedom = _PRIOR_FREEDOM + sum(each.count > 0 for each in rows)
    return Belief(mean, np.linalg.cholesky(covariance).astype(np.float64), scale, freedom)


@dataclass(frozen=True)
class _Rows:
    """One measured candidate in the linear model: slopes times the vector are `values`, with this variance.

    The latency's row is the last one.

    Attributes:
        trust: what it counts of that; 1 by itself.
    """

    slopes: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]
    trust: float = 1.0

    @property
    def count(self) -> int:
        """How many figures the candidate gave."""
        return len(self.values)


def _linear(unknowns: Unknowns, seen: Seen, at: npt.NDArray[np.float64]) -> _Rows:
    doubt = unknowns.doubt
    slopes, values, variances = [], [], []
    for each in seen.compute:
        factor, stall = unknowns.host(each.host), unknowns.stall(each.host)
        scaled_s = each.predicted_s * _factor(at[factor])
        slope = np.zeros(len(at))
        slope[factor], slope[stall] = scaled_s, each.slices
        slopes.append(slope)
        values.append(each.measured_s - scaled_s - each.slices * at[stall] + float(slope @ at))
        short_s = math.hypot(doubt.compute_s, each.pause_s / 2)
        variances.append((doubt.compute * scaled_s) ** 2 + short_s**2)
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
        for slope, value, variance in zip(each.slopes, each.values, each.variances / each.trust, strict=True):
            along = covariance @ slope
            gain = along / (float(slope @ along) + variance)
            mean = mean + gain * (value - float(slope @ mean))
            covariance = covariance - np.outer(gain, along)
    # Cholesky's factor of it is wanted: rounding must not make a variance of 0 negative.
    return mean, (covariance + covariance.T) / 2 + np.eye(len(spread)) * 1e-15


def _weighed(spread: npt.NDArray[np.float64], rows: Sequence[_Rows]) -> tuple[list[_Rows], float]:
    """Every candidate with the trust that the others leave to it, and what all deviations are to be multiplied by.

    As deviations that are Student's: the better a measure fits, the more it counts (K. L. Lange, R. J. A. Little and
    J. M. G. Taylor, 1989).
    """
    weighed, scale = list(rows), 1.0
    for _ in range(_ITERATIONS):
        squares = [_miss(spread, weighed, number) for number in range(len(weighed))]
        weighed = [
            replace(each, trust=(_PRIOR_FREEDOM + each.count) / (_PRIOR_FREEDOM + square / scale**2))
            for each, square in zip(weighed, squares, strict=True)
        ]
        told = [square / each.count for each, square in zip(weighed, squares, strict=True) if each.count]
        scale = math.sqrt((_PRIOR_FREEDOM + sum(told)) / (_PRIOR_FREEDOM + len(told)))
    return weighed, scale


def _miss(spread: npt.NDArray[np.float64], rows: Sequence[_Rows], number: int) -> float:
    """How far a candidate is from what the others foretell: the sum of its figures' squares, in deviations."""
    mean, covariance = _posterior(spread, [*rows[:number], *rows[number + 1 :]])
    own = rows[number]
    return sum(
        float(value - slope @ mean) ** 2 / (float(slope @ covariance @ slope) + float(variance))
        for slope, value, variance in zip(own.slopes, own.values, own.variances, strict=True)
    )


def _factor(logarithm: float) -> float:
    return math.exp(min(max(logarithm, -_FURTHEST), _FURTHEST))


def _senders(lines: Iterable[Line]) -> set[str]:
    return {hop.sender for line in lines for hop in line.hops}
