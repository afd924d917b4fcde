"""What a reproduction's campaigns measured, read from its folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.errors import SlicebedError
from slicebed.results.campaign import read_campaign
from slicebed.results.figures import frames_of
from slicebed.results.placements import is_slice
from slicebed.results.places import dropped_places
from slicebed.results.referee.cuts import cuts_table, parts_in
from slicebed.results.referee.folder import is_search, read_search
from slicebed.results.reproduce.intervals import Estimate
from slicebed.results.reproduce.measured import CutFigures, Decision, Searches
from slicebed.results.reproduce.names import title_of
from slicebed.results.reproduce.splits import SplitRun
from slicebed.results.tables import table_of
from slicebed.spec.cuts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from slicebed.results.campaign import FinishedRun
    from slicebed.results.referee.folder import SearchFolder
    from slicebed.run.reproduction import Reproduction

_INBOUND = "inbound"


@dataclass(frozen=True)
class Material:
    """All that the tables and figures are made from.

    Attributes:
        searches: of Couper's parts.
        splits: of the DNN-slicing part.
        campaigns: part -> its campaign's folder, of those that could be read.
        notes: parts that left nothing to read, and why.
    """

    searches: Searches
    splits: tuple[SplitRun, ...]
    campaigns: Mapping[str, Path]
    notes: tuple[str, ...]


def read_material(reproduction: Reproduction) -> Material:
    """Read what there is; a part that failed or was not run gives a note instead.

    Raises:
        SpecError: it is no reproduction's folder.
    """
    cuts: list[CutFigures] = []
    decisions: list[Decision] = []
    splits: list[SplitRun] = []
    campaigns: dict[str, Path] = {}
    notes: list[str] = []
    for name, part in reproduction.parts.items():
        if part["error"]:
            notes.append(f"{name}: {part['error']}")
        folder = reproduction.campaign_of(name)
        if folder is None:
            notes += [] if part["error"] else [f"{name}: not run"]
            continue
        try:
            if is_search(folder):
                found = read_search(folder)
                cuts += cuts_of(found)
                decisions += decisions_of(found)
            else:
                splits += splits_of(folder)
        except SlicebedError as error:
            notes.append(f"{name}: {error}")
        else:
            campaigns[name] = folder
    return Material(Searches(tuple(cuts), tuple(decisions)), tuple(splits), MappingProxyType(campaigns), tuple(notes))


def cuts_of(search: SearchFolder) -> Iterator[CutFigures]:
    """The candidates of a search with their figures.

    Raises:
        RunError: samples cannot be read.
    """
    table = cuts_table(search)
    slices = [part for part in parts_in(table) if is_slice(part)]
    sizes = _boundary_bytes(search.candidates)
    for row in table.to_dict("records"):
        chain = str(row["chain"]).split(" > ")
        link = "_".join(chain[-2:]) + "_transfer_ms"
        cut = "" if row["cut"] in {"", WHOLE} else str(row["cut"])
        yield CutFigures(
            model=title_of(str(row["model"])),
            condition=str(row["condition"]),
            key=str(row["key"]),
            placement=str(row["placement"]),
            cut=cut,
            place=0 if math.isnan(row["place"]) else int(row["place"]),
            runs=int(row["runs"]),
            captured=int(row["captured"]),
            dropped=int(row["dropped"]),
            latency_ms=_estimate(
                row, "latency_median_ms", "latency_median_low_ms", "latency_median_high_ms", "latency_n"
            ),
            drop_rate=_estimate(row, "drop_rate", "drop_rate_low", "drop_rate_high", "captured"),
            into_cloud_bytes=sizes.get((str(row["problem"]), str(row["key"])), math.nan),
            compute_ms={
                part.removesuffix("_slice_ms"): float(row[part]) for part in slices if not math.isnan(row[part])
            },
            transfer_ms=float(row.get(link, math.nan)),
            testbed_s=0.0 if math.isnan(row["testbed_s"]) else float(row["testbed_s"]),
        )


def decisions_of(search: SearchFolder) -> Iterator[Decision]:
    """What the methods of a search decided where a model is cut: of whole models there is nothing to look for."""
    cut = search.candidates[~search.candidates["cut"].fillna("").isin(("", WHOLE))]
    for row in search.decisions[search.decisions["problem"].isin(cut["problem"])].to_dict("records"):
        yield Decision(
            model=title_of(str(row["model"])),
            condition=str(row["condition"]),
            method=str(row["method"]),
            chosen=str(row["chosen"]),
            candidates=int(row["candidates_measured"]),
            testbed_s=float(row["testbed_s"]),
            stopped_by_budget=bool(row["stopped_by_budget"]),
        )


def splits_of(folder: Path) -> Iterator[SplitRun]:
    """The cuts of a campaign of the DNN-slicing experiment.

    Raises:
        RunError: a manifest or samples cannot be read.
    """
    campaign = read_campaign(folder)
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in campaign.finished:
        groups.setdefault((run.configuration, run.cut), []).append(run)
    for row in table_of(campaign).to_dict("records"):
        runs = groups[str(row["configuration"]), str(row["cut"])]
        first = runs[0].chain[0]
        frames = frames_of(runs)
        places = dropped_places(str(row["dropped_where"]))
        yield SplitRun(
            configuration=str(row["configuration"]),
            cut=str(row["cut"]),
            captured=int(row["captured"]),
            dropped=int(row["dropped"]),
            dropped_inbound=sum(count for _, stage, count in places if stage == _INBOUND),
            total_time_s=float(row["total_time_s"]),
            latency_ms=_estimate(
                row, "latency_median_ms", "latency_median_low_ms", "latency_median_high_ms", "latency_n"
            ),
            parts=_mean(frames, f"{first}_parts_out"),
            first_bytes=_mean(frames, f"{first}_bytes_out"),
            published_drop_rate=float(row["published_drop_rate"]),
            published_time_s=float(row["published_time_s"]),
        )


def _estimate(row: Mapping[Any, Any], value: str, low: str, high: str, count: str) -> Estimate:
    return Estimate(float(row[value]), float(row[low]), float(row[high]), int(row[count]))


def _mean(frames: pd.DataFrame, column: str) -> float:
    if column not in frames or not frames[column].notna().any():
        return math.nan
    return float(frames[column].dropna().astype(float).mean())


def _boundary_bytes(candidates: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Problem and key -> raw bytes of a frame over the last link; not of those whose table does not say."""
    found: dict[tuple[str, str], float] = {}
    for row in candidates.to_dict("records"):
        try:
            sizes: Sequence[float] = json.loads(str(row.get("bytes_per_frame") or "[]"))
        except ValueError:
            continue
        if isinstance(sizes, list) and sizes:
            found[str(row["problem"]), str(row["key"])] = float(sizes[-1])
    return found
