"""Tables like the paper's Tables 3-5: one row per configuration and cut, every figure with its sample count."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.campaign import Campaign, FinishedRun, read_campaign
from slicebed.results.figures import figures_of
from slicebed.results.placements import placement_table
from slicebed.results.places import dropped_places
from slicebed.results.published import PAPER_TABLE, REFERENCE, Published, is_published, published_figures
from slicebed.results.timeline import write_timeline
from slicebed.spec.cuts import layer_numbers
from slicebed.spec.models import cut_title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = (
    "configuration",
    "cut",
    "split",
    "runs",
    "captured",
    "completed",
    "dropped",
    "failed",
    "total_time_s",
    "published_time_s",
    "frame_drop_rate",
    "frame_drop_rate_low",
    "frame_drop_rate_high",
    "published_drop_rate",
    "latency_n",
    "latency_median_ms",
    "latency_median_low_ms",
    "latency_median_high_ms",
    "latency_p95_ms",
    "dropped_where",
    "images",
    "labels_equal_share",
    "accuracy",
    "max_abs_error",
)
"""Columns of a campaign's table, in order.

``total_time_s`` is the mean over the runs; ``frame_drop_rate`` is dropped over captured of all runs, with its Wilson
95 % interval; latencies are of the ``latency_n`` completed frames, the median with its order-statistic interval (at
least 95 %); ``images`` counts those of completed frames, ``labels_equal_share`` and ``accuracy`` are shares of them,
``accuracy`` of those alone whose true label is known, and not a number where there are none.
"""


def campaign_table(campaign_dir: Path, reference: Path = REFERENCE) -> pd.DataFrame:
    """One row per configuration and cut over all complete runs, with the columns `COLUMNS`.

    Raises:
        RunError: no such campaign, or a finished run that cannot be read.
    """
    return table_of(read_campaign(campaign_dir), reference)


def table_of(campaign: Campaign, reference: Path = REFERENCE) -> pd.DataFrame:
    """As `campaign_table`, of a campaign that is read already; of one with placements as `placement_table`."""
    if campaign.has_placements:
        return placement_table(campaign)
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in campaign.finished:
        groups.setdefault((run.configuration, run.cut), []).append(run)
    rows = []
    for (configuration, cut), runs in sorted(groups.items(), key=lambda item: _order(item[1][0])):
        published = published_figures(runs[0].manifest["spec"], configuration, reference).get(cut)
        rows.append(_row(configuration, cut, runs, published))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_tables(campaign_dir: Path, reference: Path = REFERENCE) -> tuple[Path, ...]:
    """Write one CSV file per configuration under ``tables/`` and return their paths.

    Configurations 1, 2 and 3 of the DNN-slicing experiment are the paper's Tables 3, 4 and 5 (``table3.csv``...);
    others are ``table_<name>.csv``. An experiment with placements has one file, ``placements.csv``; a
    stream also ``timeline.csv``.
    """
    campaign = read_campaign(campaign_dir)
    table = table_of(campaign, reference)
    folder = campaign_dir / "tables"
    folder.mkdir(exist_ok=True)
    written = [write_timeline(campaign.timeline, folder)] if campaign.timeline else []
    if campaign.has_placements:
        path = folder / "placements.csv"
        table.to_csv(path, index=False, float_format="%.6g")
        return (path, *written)
    for configuration, rows in table.groupby("configuration", sort=False):
        path = folder / f"{_table_name(campaign, str(configuration), reference)}.csv"
        rows.to_csv(path, index=False, float_format="%.6g")
        written.append(path)
    return tuple(written)


def to_json(campaign: Campaign, table: pd.DataFrame) -> dict[str, Any]:
    """The table as JSON-ready values.

    Returns:
        ``{"campaign": str, "wire": str, "rows": [...], "unfinished": [...]}``, of a stream also ``"timeline"``, its
        events in order. A row has the fields of `COLUMNS` (with placements those of `placement_table`), null where a
        figure is not known, ``dropped_where`` as a list of ``{"host", "stage", "frames"}``, the most frequent first.
        What is unfinished has ``run``, ``status`` ("failed", "invalid", "partial"), ``error`` and ``repeated``: whether
        the run was completed by another attempt.
    """
    rows = []
    for record in table.to_dict("records"):
        row: dict[str, Any] = {str(key): _plain(value) for key, value in record.items()}
        row["dropped_where"] = [
            {"host": host, "stage": stage, "frames": count}
            for host, stage, count in dropped_places(row["dropped_where"])
        ]
        rows.append(row)
    unfinished = [asdict(attempt) for attempt in campaign.unfinished]
    told = {"campaign": campaign.name, "wire": campaign.wire, "rows": rows, "unfinished": unfinished}
    return told | ({"timeline": list(campaign.timeline)} if campaign.timeline else {})


def _table_name(campaign: Campaign, configuration: str, reference: Path) -> str:
    """File name of a configuration's table, without its ending."""
    if is_published(campaign.spec_of(configuration), configuration, reference):
        return f"table{PAPER_TABLE[configuration]}"
    return f"table_{configuration}"


def _row(configuration: str, cut: str, runs: Sequence[FinishedRun], published: Published | None) -> dict[str, Any]:
    return {
        **figures_of(runs),
        "configuration": configuration,
        "cut": cut,
        "split": cut_title(runs[0].manifest["spec"]["model"], runs[0].manifest["cut"]),
        "published_time_s": math.nan if published is None else published.time_s,
        "published_drop_rate": math.nan if published is None else published.drop_rate,
    }


def _order(run: FinishedRun) -> tuple[object, ...]:
    """Configurations as numbers before names; cuts by their layers, then those by names as the experiment has them."""
    name = run.configuration
    named = (0, int(name), "") if name.isdecimal() else (1, 0, name)
    numbers = layer_numbers(run.cut)
    if numbers is not None:
        return (*named, 0, numbers)
    asked = list(run.manifest["spec"]["cuts"])
    return (*named, 1, asked.index(run.cut) if run.cut in asked else len(asked), run.cut)


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
