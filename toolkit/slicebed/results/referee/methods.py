"""What every method chose, after how many runs and how long, and how much better the best known cut is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError, SpecError
from slicebed.results.referee.cuts import figure_of, measure_of, measured
from slicebed.spec.objective import METRICS, Objective
from slicebed.split.search.contracts import Figure
from slicebed.split.search.objective import best_of, excess, feasible, interval, parse, score, value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.results.referee.folder import SearchFolder

COLUMNS = (
    "problem", "model", "condition", "method", "objective", "unit", "candidates", "all_measured", "runs",
    "candidates_measured", "testbed_s", "decision_s", "time_to_decision_s", "number", "name", "chosen", "n", "value",
    "value_low", "value_high", "within_limits", "best_number", "best_name", "best_known", "best_known_low",
    "best_known_high", "best_n", "regret", "regret_low", "regret_high", "regret_predicted", "prediction_error", "why",
    "stopped_by_budget",
)  # fmt: skip
"""Columns of ``tables/referee_methods.csv``, one row per session.

``runs`` are the cells that the method asked for, ``candidates_measured`` the candidates behind them; ``testbed_s`` is
the time of the hosts for these and for what else the method needs, ``decision_s`` what the method itself thought,
``time_to_decision_s`` both. ``value`` and ``best_known`` are in ``unit``, with the frames behind them (``n``,
``best_n``), over all cells of the campaign: what other methods had measured makes the best known better, and where
``all_measured`` is false an unmeasured candidate may be better still. ``regret`` is how much worse the choice is: a
share of the best known, of drop rates their difference. Its interval takes intervals at their ends, so it is wider than
95 %: from the choice's better end against the worse one of the best known, to the choice's worse end against the best
end of all other candidates, so that also a choice that is the best known itself has one. Where ``stopped_by_budget``,
the method itself would have measured more: its counts and times are the least that it takes.
"""
_FIRST_COLUMNS = ("problem", "model", "condition", "objective", "candidates")
_COUNTS = ("candidates", "runs", "candidates_measured", "number", "n", "best_number", "best_n")
# Figures of all captured frames; the others are of those that were completed.
_OF_CAPTURED = frozenset({"drop_rate", "throughput"})
_NOTHING = Figure(math.nan, math.nan, math.nan)


def methods_table(search: SearchFolder, cuts: pd.DataFrame) -> pd.DataFrame:
    """One row for every session, in the order in which they ended.

    Args:
        search: the campaign.
        cuts: its table of cuts.

    Raises:
        RunError: an objective cannot be read.
    """
    rows = [_row(decision, cuts) for decision in search.decisions.to_dict("records")]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(_COUNTS, "Int64"))


def runs_by_method(methods: pd.DataFrame) -> pd.DataFrame:
    """Like Couper's Table 5: a row per problem and objective, a column per method with the candidates it measured."""
    return _by_method(methods, "candidates_measured")


def minutes_by_method(methods: pd.DataFrame) -> pd.DataFrame:
    """Like Couper's Table 6: a row per problem and objective, a column per method with its minutes to a decision."""
    return _by_method(methods.assign(minutes=methods["time_to_decision_s"] / 60), "minutes")


def stopped_by_method(methods: pd.DataFrame) -> pd.DataFrame:
    """Whether the budget stopped a method, in the rows and columns of the other two."""
    return _by_method(methods, "stopped_by_budget")


def best_row(rows: pd.DataFrame, objective: Objective) -> dict[Any, Any] | None:
    """The best of some measured candidates; None where none of them has the objective's metrics."""
    known = {str(row["key"]): row for row in _known(rows, objective)}
    return known[best_of(map(measure_of, known.values()), objective).key] if known else None


def _row(decision: Mapping[Any, Any], cuts: pd.DataFrame) -> dict[str, Any]:
    objective = _objective(str(decision["objective"]))
    candidates = cuts[cuts["problem"] == decision["problem"]]
    there = measured(candidates)
    chosen = next(iter(there[there["key"] == decision["chosen"]].to_dict("records")), None)
    row = {column: decision[column] for column in COLUMNS if column in decision}
    row |= {
        "unit": METRICS.get(objective.metric or "", ""),
        "candidates": len(candidates),
        "all_measured": len(there) == len(candidates),
        "time_to_decision_s": sum(decision[part] for part in ("testbed_s", "decision_s") if decision[part] >= 0),
        "name": decision["cut"],
        "value": math.nan,
        "regret": math.nan,
    }
    best = best_row(there, objective)
    if best is not None:
        row |= {"best_number": best["number"], "best_name": best["name"], "best_n": _frames(best, objective)}
        row |= _figure("best_known", _value(best, objective))
    if chosen is not None:
        row |= {"number": chosen["number"], "name": chosen["name"], "n": _frames(chosen, objective)}
    if chosen is not None and best is not None and _is_known(chosen, objective):
        row |= _figure("value", _value(chosen, objective))
        row |= _figure("regret", _regret(chosen, best, _known(there, objective), objective))
        row["within_limits"] = feasible(objective, measure_of(chosen).figures)
    return row


def _objective(text: str) -> Objective:
    try:
        return parse(text)
    except SpecError as error:
        raise RunError(f"an objective cannot be read: {error.what}", where="tables/decisions.csv") from None


def _known(rows: pd.DataFrame, objective: Objective) -> list[dict[Any, Any]]:
    """The candidates that have the objective's metrics."""
    return [row for row in rows.to_dict("records") if _is_known(row, objective)]


def _is_known(row: Mapping[Any, Any], objective: Objective) -> bool:
    metrics = (*objective.weights, *objective.limits)
    return not any(math.isnan(figure_of(row, metric).value) for metric in metrics)


def _value(row: Mapping[Any, Any], objective: Objective) -> Figure:
    """The objective of a candidate as a table shows it, its limits aside."""
    if objective.metric is not None:
        return figure_of(row, objective.metric)
    figures = measure_of(row).figures
    ends = interval(Objective(objective.weights, objective.scales), figures)
    return Figure(value(objective, figures), ends.low, ends.high)


def _regret(
    chosen: Mapping[Any, Any], best: Mapping[Any, Any], known: Sequence[Mapping[Any, Any]], objective: Objective
) -> Figure:
    """How much worse the choice is than the best of all that are known; see `COLUMNS` for its interval."""
    figures = {row["key"]: measure_of(row).figures for row in known}
    own, its = figures[chosen["key"]], figures[best["key"]]
    worse = excess(objective, score(objective, own), score(objective, its))
    bare = Objective(objective.weights, objective.scales)
    # One that breaks a limit is no better choice, unless all do.
    others = [
        interval(bare, figures[key]).low
        for key in figures
        if key != chosen["key"] and (feasible(objective, figures[key]) or not feasible(objective, its))
    ]
    if not others:
        return Figure(worse, worse, worse)
    mine, of_best = interval(bare, own), interval(bare, its)
    lows = [end for end in others if not math.isnan(end)]
    if not lows or math.isinf(worse) or any(math.isnan(end) for end in (mine.low, of_best.low)):
        return Figure(worse, math.nan, math.nan)
    least = 0.0 if chosen["key"] == best["key"] else excess(bare, mine.low, of_best.high)
    return Figure(worse, least, excess(bare, mine.high, min(lows)))


def _frames(row: Mapping[Any, Any], objective: Objective) -> int:
    """How many frames are behind the figures of an objective."""
    return int(row["captured" if _OF_CAPTURED.issuperset(objective.weights) else "completed"])


def _figure(name: str, figure: Figure) -> dict[str, float]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def _by_method(methods: pd.DataFrame, column: str) -> pd.DataFrame:
    rows = []
    for values, sessions in methods.groupby(list(_FIRST_COLUMNS), sort=False):
        told = dict(zip(sessions["method"], sessions[column], strict=True))
        rows.append(dict(zip(_FIRST_COLUMNS, values, strict=True)) | told)
    names = list(dict.fromkeys(methods["method"]))
    return pd.DataFrame(rows, columns=[*_FIRST_COLUMNS, *names])
