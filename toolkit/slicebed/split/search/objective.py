"""How good a candidate is: one number from its figures, less is better, and the interval of that number."""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from slicebed.errors import RunError, SpecError
from slicebed.spec import units
from slicebed.spec.objective import METRICS, Objective
from slicebed.split.search.contracts import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slicebed.split.search.contracts import Measure

# Far above every sum of seconds, bytes and joules, so that whatever breaks a limit ranks behind all that keep them.
INFEASIBLE: Final = 1e15
_MORE_IS_BETTER: Final = frozenset({"throughput"})
_DIMENSIONS: Final = MappingProxyType(
    {
        "latency": units.DURATION,
        "latency_p95": units.DURATION,
        "drop_rate": units.SHARE,
        "throughput": units.FRAME_RATE,
        "bytes": units.SIZE,
    }
)
# Base units of a dimension in one unit of the metric.
_PER_UNIT: Final = MappingProxyType({"latency": 1_000_000, "latency_p95": 1_000_000, "drop_rate": 100})
# In the metric's unit, as an experiment's file bounds scales and limits: see spec/search_model.py.
_BOUNDS: Final = MappingProxyType(
    {
        "latency": (1e-6, 3600.0),
        "latency_p95": (1e-6, 3600.0),
        "drop_rate": (1e-6, 1.0),
        "throughput": (0.001, 1000.0),
        "bytes": (1.0, float(1 << 40)),
        "energy": (1e-6, 1e6),
    }
)
_UNITS: Final = MappingProxyType(
    {metric: " (20 % is 0.2)" if metric == "drop_rate" else f" {unit}" for metric, unit in METRICS.items()}
)
_WEIGHTS: Final = (0.001, 1000.0)
_EXAMPLE: Final = '"latency" or "latency=1/100 ms,drop_rate=2/10 %;drop_rate<=20 %"'
_LIMIT: Final = re.compile(r"([^<>=]+)(<=|>=)([^<>=]+)")


def score(objective: Objective, figures: Mapping[str, Figure]) -> float:
    """What is minimised: the sum of weight x metric / scale, throughput subtracted.

    Returns:
        Above `INFEASIBLE` where a limit is broken, by how much: shares of the limits, added up. Infinite where no frame
        came through, so that a metric of frames is missing, or where a figure that is needed is not a number.

    Raises:
        SpecError: frames came through, and yet a metric of the objective was not measured.
    """
    return _score(objective, {metric: _figure(figures, metric).value for metric in _metrics(objective)})


def came_through(figures: Mapping[str, Figure]) -> bool:
    """Whether any frame was completed, as far as the figures tell."""
    lost, rate = figures.get("drop_rate"), figures.get("throughput")
    return not (lost is not None and lost.value >= 1) and not (rate is not None and rate.value <= 0)


def value(objective: Objective, figures: Mapping[str, Figure]) -> float:
    """The objective as a table shows it: the metric itself, in its unit, or the weighted sum; limits aside.

    Not a number where no frame came through, so that the metric is missing.

    Raises:
        SpecError: frames came through, and yet a metric of the objective was not measured.
    """
    if objective.metric is not None:
        return _figure(figures, objective.metric).value
    return _sum(objective, {metric: _figure(figures, metric).value for metric in objective.weights})


def feasible(objective: Objective, figures: Mapping[str, Figure]) -> bool:
    """Whether all limits are kept; raises SpecError as `score` does."""
    return score(Objective({}, limits=objective.limits), figures) == 0


def interval(objective: Objective, figures: Mapping[str, Figure]) -> Figure:
    """The score, from the better ends of all figures together to the worse ones.

    Of several metrics that is at least as wide as the 95 % interval of their sum. Where it is open whether a limit is
    kept, it reaches above `INFEASIBLE`. Not numbers where a figure has no interval.

    Raises:
        SpecError: as of `score`.
    """
    better, worse = {}, {}
    for metric in _metrics(objective):
        figure = _figure(figures, metric)
        ends = (figure.low, figure.high)
        better[metric], worse[metric] = reversed(ends) if metric in _MORE_IS_BETTER else ends
    middle = score(objective, figures)
    if any(math.isnan(end) for end in (*better.values(), *worse.values())):
        return Figure(middle, math.nan, math.nan)
    return Figure(middle, _score(objective, better), _score(objective, worse))


def exact(objective: Objective, figures: Mapping[str, Figure], until: float) -> bool:
    """Whether figures are known as exactly as asked for: the 95 % interval of each metric that is weighed.

    Of a metric with a limit it is enough to know whether it keeps it; and where a limit is broken for sure, or no frame
    came through, no more need be known.

    Args:
        objective: names the metrics.
        figures: as measured; one that is missing is not exact, and so is one without an interval.
        until: half the width of an interval that is narrow enough: a share of the figure. Of the drop rate, which is a
            share already and often 0, it is the half width itself: 0.05 are five percentage points.
    """
    if not came_through(figures):
        return True
    if any(metric not in figures for metric in _metrics(objective)):
        return False
    return (
        all(_narrow(metric, figures[metric], until) for metric in objective.weights)
        and all(
            _narrow(metric, figures[metric], until) or _one_sided(metric, figures[metric], limit)
            for metric, limit in objective.limits.items()
        )
    ) or interval(objective, figures).low >= INFEASIBLE


def excess(objective: Objective, found: float, best: float) -> float:
    """By how much a score is worse than the best one: a share of the best; of the drop rate alone their difference.

    A drop rate is a share already, and the best one is often 0.

    Returns:
        0 or more; infinite where only the best keeps the limits.
    """
    if found <= best:
        return 0.0
    if objective.metric == "drop_rate" and found < INFEASIBLE:
        return (found - best) / objective.weights["drop_rate"]
    return (found - best) / abs(best) if best != 0 and (found < INFEASIBLE or best >= INFEASIBLE) else math.inf


def error(objective: Objective, predicted: float, measured: float) -> float | None:
    """How far a predicted score is off, as a share of the measured one; of the drop rate alone, their difference.

    None where either breaks a limit or let nothing through: there is no value to be off from.
    """
    if max(predicted, measured) >= INFEASIBLE:
        return None
    if objective.metric == "drop_rate":
        return abs(predicted - measured) / objective.weights["drop_rate"]
    if predicted == measured:
        return 0.0
    return abs(predicted - measured) / abs(measured) if measured != 0 else math.inf


def ranked(measures: Iterable[Measure], objective: Objective) -> list[tuple[float, Measure]]:
    """Scores and measures, the best first; equal scores by latency, then by key.

    Raises:
        SpecError: as of `score`.
    """
    scored = []
    for measure in measures:
        latency = measure.figures.get("latency")
        seconds = math.inf if latency is None or math.isnan(latency.value) else latency.value
        scored.append(((score(objective, measure.figures), seconds, measure.key), measure))
    return [(order[0], measure) for order, measure in sorted(scored, key=lambda pair: pair[0])]


def best_of(measures: Iterable[Measure], objective: Objective) -> Measure:
    """The measure of the best candidate, as `ranked` has it.

    Raises:
        RunError: there are none.
        SpecError: as of `score`.
    """
    for _, measure in ranked(measures, objective):
        return measure
    raise RunError("none of the candidates that were asked for could be measured", mend="see why their runs failed")


def parse(text: str) -> Objective:
    """Read an objective as the command line takes it.

    A metric, or weights of several, each with what one unit of it counts as behind a slash, then limits behind a
    semicolon: ``latency=1/100 ms,drop_rate=2/10 %;drop_rate<=20 %``. Numbers without a unit are seconds, shares,
    frames a second, bytes, joules; without a slash, a metric counts in these. A share is 0 to 1: 20 % is 0.2.

    Raises:
        SpecError: it cannot be read, or a number is out of the bounds that an experiment's file has.
    """
    head, *tail = text.split(";")
    weights: dict[str, float] = {}
    scales: dict[str, float] = {}
    for part in head.split(","):
        if _LIMIT.fullmatch(part.strip()):
            raise SpecError(
                f'"{part.strip()}" is a limit, and not behind what is minimised',
                where="--objective",
                mend=f"write what is minimised, a semicolon, then limits: latency;{part.strip()}",
            )
        name, *given = (word.strip() for word in part.split("=", 1))
        weight, *scale = given[0].split("/", 1) if given else ["1"]
        if _known(name, text) in weights:
            raise SpecError(f'"{text}" weighs {name} twice', where="--objective", mend=f"write {_EXAMPLE}")
        weights[name] = _within(_number(weight, text), _WEIGHTS, f"weight of {name}")
        if scale:
            scales[name] = _within(_amount(name, scale[0], text), _BOUNDS[name], f"scale of {name}", _UNITS[name])
    limits: dict[str, float] = {}
    for part in ",".join(tail).split(",") if tail else []:
        match = _LIMIT.fullmatch(part.strip())
        if match is None:
            raise _unreadable(text, part.strip())
        name = _known(match[1].strip(), text)
        if name in limits or match[2] != _sign(name):
            raise SpecError(
                f'"{part.strip()}" is no limit of {name}', where="--objective", mend=f"write {name} {_sign(name)} once"
            )
        # No drop at all may be asked for.
        bounds = (0.0, 1.0) if name == "drop_rate" else _BOUNDS[name]
        limits[name] = _within(_amount(name, match[3], text), bounds, f"limit of {name}", _UNITS[name])
    return Objective(MappingProxyType(weights), MappingProxyType(scales), MappingProxyType(limits))


def shown(objective: Objective) -> str:
    """The objective in one line, as `parse` reads it."""
    if objective.metric is not None and objective.weights[objective.metric] == 1 and not objective.scales:
        head = objective.metric
    else:
        scale = {metric: f"/{_plain(objective.scales[metric])}" for metric in objective.scales}
        head = ",".join(f"{name}={_plain(weight)}{scale.get(name, '')}" for name, weight in objective.weights.items())
    limits = [f"{metric}{_sign(metric)}{_plain(limit)}" for metric, limit in objective.limits.items()]
    return ";".join([head, *([",".join(limits)] if limits else [])])


def _narrow(metric: str, figure: Figure, until: float) -> bool:
    # A comparison with what is no number is false.
    return (figure.high - figure.low) / 2 <= until * (1.0 if metric == "drop_rate" else abs(figure.value))


def _one_sided(metric: str, figure: Figure, limit: float) -> bool:
    """Whether all of an interval keeps a limit, or all of it breaks it."""
    if metric in _MORE_IS_BETTER:
        return figure.low >= limit or figure.high < limit
    return figure.high <= limit or figure.low > limit


def _metrics(objective: Objective) -> Sequence[str]:
    return tuple(dict.fromkeys((*objective.weights, *objective.limits)))


def _figure(figures: Mapping[str, Figure], metric: str) -> Figure:
    if metric in figures:
        return figures[metric]
    if not came_through(figures):
        return Figure(math.nan, math.nan, math.nan)
    raise SpecError(
        f"the objective needs {metric}, which was neither measured nor predicted",
        mend="choose another objective, or hosts on which it can be measured",
    )


def _score(objective: Objective, values: Mapping[str, float]) -> float:
    if any(math.isnan(number) for number in values.values()):
        return math.inf
    broken = _broken(objective, values)
    return INFEASIBLE * (1 + broken) if broken > 0 else _sum(objective, values)


def _sum(objective: Objective, values: Mapping[str, float]) -> float:
    return math.fsum(
        (-weight if metric in _MORE_IS_BETTER else weight) * values[metric] / objective.scales.get(metric, 1.0)
        for metric, weight in objective.weights.items()
    )


def _broken(objective: Objective, values: Mapping[str, float]) -> float:
    """Shares of the limits by which they are broken, added up."""
    return math.fsum(
        max(0.0, (limit - values[metric]) if metric in _MORE_IS_BETTER else (values[metric] - limit)) / (limit or 1.0)
        for metric, limit in objective.limits.items()
    )


def _sign(metric: str) -> str:
    return ">=" if metric in _MORE_IS_BETTER else "<="


def _known(name: str, text: str) -> str:
    if name not in METRICS:
        raise SpecError(
            f'"{name}" in "{text}" is no metric', where="--objective", mend=f"allowed: {', '.join(METRICS)}"
        )
    return name


def _amount(metric: str, text: str, whole: str) -> float:
    """A number in the metric's unit, or a quantity with a unit of its own."""
    text = text.strip()
    if metric in _DIMENSIONS and (text.endswith("%") or text[-1:].isalpha()):
        try:
            return float(_DIMENSIONS[metric].parse(text)) / _PER_UNIT.get(metric, 1)
        except units.UnitError as error:
            error.where = error.where or "--objective"
            raise
    return _number(text.removesuffix("J"), whole)


def _number(text: str, whole: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _unreadable(whole, text.strip()) from None
    if not math.isfinite(number) or number < 0:
        raise _unreadable(whole, text.strip())
    return number


def _within(number: float, bounds: tuple[float, float], what: str, unit: str = "") -> float:
    low, high = bounds
    if not low <= number <= high:
        what = f"{what} {_plain(number)} is out of range"
        raise SpecError(what, where="--objective", mend=f"allowed: {low:g} to {high:g}{unit}")
    return number


def _unreadable(whole: str, part: str) -> SpecError:
    return SpecError(
        f'"{part}" in the objective "{whole}" cannot be read', where="--objective", mend=f"write {_EXAMPLE}"
    )


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")
