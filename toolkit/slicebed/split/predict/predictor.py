"""What every candidate is predicted to give, with intervals, and corrected by what was measured so far.

A candidate's figures are means over a few simulated runs in the world that is believed in. Their intervals come from
further runs, each in a world drawn from what is believed: hosts, links, the candidate's own deviation, and frames'
times anew. So an interval holds what one run of as many frames should give, and grows where a queue is about to fill.
"""

from __future__ import annotations

import math
import statistics
import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed.errors import SpecError
from slicebed.spec.pipeline import StageKind
from slicebed.split.predict.corrections import Belief, Computed, Doubt, Seen, Unknowns, learn
from slicebed.split.predict.simulation import simulate
from slicebed.split.search.contracts import Figure, Foretold
from slicebed.stats import Z, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slicebed.split.predict.line import Line, Source
    from slicebed.split.predict.simulation import Outcome, World
    from slicebed.split.search.contracts import Measure

METRICS: Final = ("latency", "latency_p95", "drop_rate", "throughput", "bytes")
"""Those of `spec.objective` that are predicted; energy is not."""
_MIDDLE_RUNS: Final = 3
_RUNS: Final = (8, 24)
_ALL_RUNS: Final = 4000
"""About as many runs are simulated for one answer, which takes seconds: of many candidates each gets fewer."""
_UNKNOWN_NOISE: Final = 0.02
_NEVER_S: Final = 1e6
"""Stands for the latency of a run in which no frame completes, where logarithms are compared."""
_AT_ONCE_S: Final = 1e-6
"""Likewise for one in which frames take no time."""


class Predictor:
    """Predicts the candidates of one problem."""

    def __init__(self, lines: Mapping[str, Line], source: Source, *, seed: int = 0, doubt: Doubt | None = None) -> None:
        """Nothing is simulated yet.

        Args:
            lines: of every candidate, by its key.
            source: of every run.
            seed: of whatever is drawn; the same one gives the same predictions.
            doubt: how far off the lines may be.
        """
        self._lines, self._source, self._seed = dict(lines), source, seed
        self._unknowns = Unknowns(self._lines.values(), Doubt() if doubt is None else doubt)
        least, most = _RUNS
        # An even number: worlds are drawn in pairs.
        self._runs = 2 * (max(least, min(most, _ALL_RUNS // max(1, len(self._lines)))) // 2)

    def foretell(self, measures: Sequence[Measure] = ()) -> dict[str, Foretold]:
        """Figures of every candidate, by its key.

        Args:
            measures: of some candidates, each once, in any order; the same ones give the same predictions.

        Raises:
            SpecError: a measure is of no candidate, or of another number of hosts.
        """
        belief = self.believe(measures)
        draws = np.random.default_rng(self._seed).standard_normal((self._runs // 2, len(belief.mean)))
        worlds = belief.mean + belief.scale * np.vstack([draws, -draws]) @ belief.root.T
        return {key: Foretold(key, self._figures(key, belief, worlds)) for key in self._lines}

    def believe(self, measures: Sequence[Measure]) -> Belief:
        """What the measures teach.

        Raises:
            SpecError: as `foretell`.
        """
        return learn(self._unknowns, [self._seen(each) for each in sorted(measures, key=lambda each: each.key)])

    def corrected(self, measures: Sequence[Measure]) -> World:
        """What hosts and links are believed to be, for whoever tells what was corrected.

        Raises:
            SpecError: as `foretell`.
        """
        return self._unknowns.world(self.believe(measures).mean)

    def _figures(self, key: str, belief: Belief, worlds: Iterable[np.ndarray]) -> dict[str, Figure]:
        middle = self._unknowns.world(belief.mean)
        means = [self._simulated(key, run, middle) for run in range(_MIDDLE_RUNS)]
        own = np.random.default_rng([self._seed, zlib.crc32(key.encode())]).standard_normal(self._runs // 2)
        deviations = belief.scale * self._unknowns.doubt.own * np.concatenate([own, -own])
        drawn = [
            self._simulated(key, _MIDDLE_RUNS + run, self._unknowns.world(world, deviation))
            for run, (world, deviation) in enumerate(zip(worlds, deviations.tolist(), strict=True))
        ]
        figures = {
            metric: _figure([each[metric] for each in means], [each[metric] for each in drawn], belief.reach)
            for metric in METRICS
        }
        return _counted(figures, self._source.frames)

    def _simulated(self, key: str, run: int, world: World) -> dict[str, float]:
        return figures_of(simulate(self._lines[key], self._source, self._generator(key, run), world))

    def _generator(self, key: str, run: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(key.encode()), run])

    def _seen(self, measure: Measure) -> Seen:
        line = self._lines.get(measure.key)
        if line is None:
            raise SpecError(f"a measure of {measure.key}, which is no candidate", mend="predict the same problem")
        if measure.compute_s and len(measure.compute_s) != len(line.hosts):
            what = f"compute times of {len(measure.compute_s)} hosts, the candidate has {len(line.hosts)} with slices"
            raise SpecError(what, where=measure.key)
        latency = measure.figures.get("latency")
        known = latency is not None and math.isfinite(latency.value) and latency.value > 0
        return Seen(
            line=line,
            latency_s=latency.value if latency is not None and known else None,
            noise=_noise(latency) if latency is not None and known else 0.0,
            # A comparison with what is no number is false: a host that measured nothing is left out.
            compute=tuple(
                _computed(line, host, found)
                for host, found in zip(line.hosts, measure.compute_s, strict=False)
                if found > 0
            ),
            predict_s=lambda world: self._latency_s(measure.key, world),
        )

    def _latency_s(self, key: str, world: World) -> float:
        runs = [self._simulated(key, run, world)["latency"] for run in range(_MIDDLE_RUNS)]
        return min(max(statistics.fmean(runs), _AT_ONCE_S), _NEVER_S)


def figures_of(outcome: Outcome) -> dict[str, float]:
    """Metrics of one run; times are infinite, and bytes for each completed frame, where none completed."""
    completed, captured = outcome.completed, len(outcome.latency_s)
    return {
        "latency": statistics.median(completed) if completed else math.inf,
        "latency_p95": float(np.quantile(completed, 0.95)) if completed else math.inf,
        "drop_rate": 1 - len(completed) / captured,
        "throughput": len(completed) / outcome.span_s if completed else 0.0,
        "bytes": outcome.sent_bytes / len(completed) if completed else math.inf,
    }


def _computed(line: Line, host: str, measured_s: float) -> Computed:
    slices = [stage for stage in line.stages if stage.kind is StageKind.SLICE and stage.host == host]
    pauses = [stage.throttle.pause_s for stage in slices if stage.throttle is not None]
    predicted_s = sum(stage.time.median_s for stage in slices)
    return Computed(host, measured_s, predicted_s, len(slices), max(pauses, default=0.0))


def _noise(latency: Figure) -> float:
    width = latency.high - latency.low
    return width / (2 * Z) / latency.value if math.isfinite(width) else _UNKNOWN_NOISE


def _figure(means: Sequence[float], drawn: Sequence[float], reach: float) -> Figure:
    """The mean, and what deviates from it to either side, so many deviations far; figures are never negative."""
    value = statistics.fmean(means)
    if not math.isfinite(value):
        return Figure(value, min(drawn), math.inf)
    below = [value - each for each in drawn if each < value]
    above = [each - value for each in drawn if each > value]
    return Figure(value, max(0.0, value - reach * _deviation(below)), value + reach * _deviation(above))


def _deviation(distances: Sequence[float]) -> float:
    """From the figure, of those on one side of it; as if the other side had as many."""
    return math.sqrt(statistics.fmean(each**2 for each in distances)) if distances else 0.0


def _counted(figures: dict[str, Figure], frames: int) -> dict[str, Figure]:
    """A share of so many frames is never known better than their number allows; and throughput follows the share."""
    drop, throughput = figures["drop_rate"], figures["throughput"]
    low, high = wilson_interval(round(drop.value * frames), frames)
    drop = Figure(drop.value, max(0.0, min(drop.low, low)), min(1.0, max(drop.high, high)))
    kept = max(1 - drop.value, 1 / frames)
    slow, fast = throughput.value * (1 - drop.high) / kept, throughput.value * (1 - drop.low) / kept
    throughput = Figure(throughput.value, min(throughput.low, slow), max(throughput.high, fast))
    return figures | {"drop_rate": drop, "throughput": throughput}
