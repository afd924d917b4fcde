"""Every cut beside the whole model in the cloud, as Couper's Figure 9 has the best ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.referee.cuts import figure_of, measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.split.search.contracts import Figure

COLUMNS = (
    "problem", "model", "condition", "number", "name", "key", "chosen_by", "completed", "captured", "cloud_number",
    "cloud_name", "cloud_completed", "cloud_captured", "latency_ratio", "latency_ratio_low", "latency_ratio_high",
    "drop_ratio", "drop_ratio_low", "drop_ratio_high", "missing",
)  # fmt: skip
"""Columns of ``tables/normalised.csv``: a row per measured candidate.

Ratios are of median latencies and of drop rates; their intervals take both intervals at their ends, so they are wider
than 95 %. ``chosen_by`` names the sessions that chose the candidate; ``missing`` says why a ratio is not there.
"""
_NO_CLOUD = "no whole model in the cloud among the finished cells"
_NO_FRAMES = "no frame was completed in the cloud"
_NO_DROPS = "nothing was dropped in the cloud"


def normalised_table(cuts: pd.DataFrame, methods: pd.DataFrame) -> pd.DataFrame:
    """Latency and drop rate of every measured candidate, divided by those of the whole model in the cloud.

    Args:
        cuts: the table of cuts.
        methods: the sessions, which say who chose what.
    """
    rows = []
    for problem, candidates in measured(cuts).groupby("problem", sort=False):
        sessions = methods[methods["problem"] == problem]
        records = candidates.to_dict("records")
        clouds = [record for record in records if record["cloud_only"]]
        rows += [_row(record, _beside(record, clouds), sessions) for record in records]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("number", "cloud_number", "cloud_completed", "cloud_captured"), "Int64"))


def _beside(record: Mapping[Any, Any], clouds: list[dict[Any, Any]]) -> Mapping[Any, Any] | None:
    """The cloud alone under the same codec and knobs, else under the same codec, else as it comes first."""
    alike = sorted(clouds, key=lambda cloud: (cloud["codec"] != record["codec"], cloud["knobs"] != record["knobs"]))
    return next(iter(alike), None)


def _row(record: Mapping[Any, Any], cloud: Mapping[Any, Any] | None, sessions: pd.DataFrame) -> dict[str, Any]:
    chose = sessions[sessions["chosen"] == record["key"]]
    row = {column: record[column] for column in COLUMNS if column in record}
    row["chosen_by"] = ", ".join(
        f"{method} ({objective})" for method, objective in zip(chose["method"], chose["objective"], strict=True)
    )
    if cloud is None:
        return row | {"cloud_name": "", "missing": _NO_CLOUD}
    latency = _ratio(figure_of(record, "latency"), figure_of(cloud, "latency"))
    drop = _ratio(figure_of(record, "drop_rate"), figure_of(cloud, "drop_rate"))
    missing = [_NO_FRAMES] if not cloud["completed"] else []
    missing += [_NO_DROPS] if cloud["captured"] and not cloud["dropped"] else []
    return row | {
        "cloud_number": cloud["number"],
        "cloud_name": cloud["name"],
        "cloud_completed": cloud["completed"],
        "cloud_captured": cloud["captured"],
        **dict(zip(("latency_ratio", "latency_ratio_low", "latency_ratio_high"), latency, strict=True)),
        **dict(zip(("drop_ratio", "drop_ratio_low", "drop_ratio_high"), drop, strict=True)),
        "missing": "; ".join(missing),
    }


def _ratio(value: Figure, base: Figure) -> tuple[float, float, float]:
    """Ratio with its interval; not a number where the base is 0 or not known, without an end where its bound is 0."""
    if not base.value > 0:
        return math.nan, math.nan, math.nan
    low = value.low / base.high if base.high > 0 else math.nan
    return value.value / base.value, low, value.high / base.low if base.low > 0 else math.nan
