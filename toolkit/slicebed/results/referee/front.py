"""The candidates than which no other is better in both of two metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import SpecError
from slicebed.results.referee.cuts import figure_of, measure_of, measured
from slicebed.spec.objective import METRICS
from slicebed.split.search.pareto import front

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENCY_AND_DROPS = ("latency", "drop_rate")
_FIRST_COLUMNS = ("problem", "model", "condition", "number", "name", "key", "completed", "captured", "runs")


def metrics_of(text: str) -> tuple[str, str]:
    """Two metrics joined by a comma.

    Raises:
        SpecError: it is not two different metrics.
    """
    return pair_of([name.strip() for name in text.split(",")])


def pair_of(names: Sequence[str]) -> tuple[str, str]:
    """Two different metrics; raises as `metrics_of`."""
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise SpecError(f"no metric {unknown[0]!r}", where="--pareto", mend=f"metrics are {', '.join(METRICS)}")
    if len(names) != 2 or names[0] == names[1]:
        raise SpecError("a front is one of two metrics", where="--pareto", mend="such as --pareto latency,drop_rate")
    return names[0], names[1]


def front_table(cuts: pd.DataFrame, metrics: tuple[str, str]) -> pd.DataFrame:
    """A row per candidate of which both metrics were measured; ``on_front`` says which no other beats in both.

    Every metric has its value in its own unit and both ends of its interval.

    Raises:
        SpecError: they are not two different metrics, or no candidate has both; of latency and drop rate, which every
            report shows, there is no row then.
    """
    metrics = pair_of(metrics)
    rows: list[dict[str, Any]] = []
    for _, candidates in measured(cuts).groupby("problem", sort=False):
        records = candidates.to_dict("records")
        known = [row for row in records if not any(math.isnan(figure_of(row, metric).value) for metric in metrics)]
        best = {measure.key for measure in front([measure_of(row) for row in known], *metrics)}
        for row in known:
            told = {column: row[column] for column in _FIRST_COLUMNS}
            for metric in metrics:
                figure = figure_of(row, metric)
                told |= {metric: figure.value, f"{metric}_low": figure.low, f"{metric}_high": figure.high}
            rows.append(told | {"on_front": row["key"] in best})
    if not rows and metrics != LATENCY_AND_DROPS:
        raise SpecError(
            f"{' and '.join(metrics)} were not measured together",
            where="--pareto",
            mend=f"name two of {', '.join(METRICS)} that were",
        )
    figures = [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*_FIRST_COLUMNS, *figures, "on_front"])
