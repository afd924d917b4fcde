"""A table like Couper's Figures 2 and 4: of every placement, drop rate, latency, and where a frame's time went."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.figures import figures_of, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slicebed.results.campaign import Campaign, FinishedRun

FIRST_COLUMNS = (
    "configuration",
    "placement",
    "stretch",
    "cut",
    "chain",
    "runs",
    "captured",
    "completed",
    "dropped",
    "failed",
    "frame_drop_rate",
    "frame_drop_rate_low",
    "frame_drop_rate_high",
    "latency_n",
    "latency_median_ms",
    "latency_median_low_ms",
    "latency_median_high_ms",
    "latency_p95_ms",
    "latency_mean_ms",
)
LAST_COLUMNS = (
    "early_share",
    "images",
    "labels_equal_share",
    "accuracy",
    "max_abs_error",
    "codec",
    "dropped_where",
    "total_time_s",
)
CAMERA_QUEUE = "camera_queue_ms"
OTHER_QUEUES = "other_queues_ms"
TRANSFORMER = "transformer_ms"
CLASSIFIER = "classifier_ms"
EXIT = "exit_ms"
OVERHEAD = "overhead_ms"
REST = "way_back_and_rest_ms"
_SLICE_END, _TRANSFER_END = "_slice_ms", "_transfer_ms"


def placement_table(campaign: Campaign) -> pd.DataFrame:
    """One row per configuration, placement and cut over all complete runs; of a stream, per version of its cut.

    Between `FIRST_COLUMNS` and `LAST_COLUMNS` stand the parts of a frame's way, as means over the completed frames: the
    wait behind the camera, the transformer, each host's slices, each link (encoding, transfer and decoding), other
    waits, early exits, sleeps, the classifier, and what is left of the latency: the answer's way back to the camera's
    host, and handing over between stages. A frame that an early exit answered took no time behind it. A part that a
    placement does not have, or that was not measured, is not a number; those that are there sum to the mean latency.
    """
    groups: dict[tuple[str, str, str, str], list[FinishedRun]] = {}
    for run in campaign.finished:
        groups.setdefault((run.configuration, run.placement, run.stretch, run.cut), []).append(run)
    rows = [_row(runs) for _, runs in sorted(groups.items(), key=lambda item: _order(item[1][0]))]
    known = [part for row in rows for part in row if part not in {*FIRST_COLUMNS, *LAST_COLUMNS}]
    hosts = list(dict.fromkeys(host for run in campaign.finished for host in run.manifest["spec"]["chain"]))
    return pd.DataFrame(rows, columns=[*FIRST_COLUMNS, *in_order(set(known), hosts), *LAST_COLUMNS])


def parts_of(table: pd.DataFrame) -> list[str]:
    """The columns of a table that are parts of a frame's way, in its order."""
    return [column for column in table.columns if column not in {*FIRST_COLUMNS, *LAST_COLUMNS}]


def title_of(part: str) -> str:
    """A part of a frame's way as a legend names it."""
    return part.removesuffix("_ms").replace("_", " ")


def is_slice(part: str) -> bool:
    """Whether a part is a host's slices."""
    return part.endswith(_SLICE_END)


def is_transfer(part: str) -> bool:
    """Whether a part is a link."""
    return part.endswith(_TRANSFER_END)


def _row(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    run, frames = runs[0], frames_of(runs)
    completed = frames[frames["end"] == "completed"]
    codecs = dict.fromkeys(
        str(note.get("picked")) for each in runs for note in each.summary.get("codecs", ()) if note.get("picked")
    )
    latency_mean_ms = float(completed["latency_ms"].mean()) if len(completed) else math.nan
    asked = str(run.manifest["spec"].get("pipeline", {}).get("codec", ""))
    return {
        **figures_of(runs),
        "configuration": run.configuration,
        "placement": run.placement,
        "stretch": run.stretch,
        "cut": run.cut,
        "chain": " > ".join(run.chain),
        "latency_mean_ms": latency_mean_ms,
        "early_share": float(completed["early"].notna().mean()) if len(completed) else math.nan,
        "codec": asked if not codecs else f"{asked}: {', '.join(codecs)}",
        **_parts(run, completed, latency_mean_ms),
    }


def _parts(run: FinishedRun, completed: pd.DataFrame, latency_mean_ms: float) -> dict[str, float]:
    """Mean of every part of the way, and what they leave of the latency."""
    columns = part_columns(run.chain, _stages(run))
    parts = {part: _sum_of_means(completed, names) for part, names in columns.items()}
    return parts | {REST: latency_mean_ms - sum(mean for mean in parts.values() if not math.isnan(mean))}


def part_columns(chain: Sequence[str], stages: dict[str, list[str]]) -> dict[str, list[str]]:
    """Which columns of the samples make each part of a frame's way."""
    found: dict[str, list[str]] = {}
    for index, host in enumerate(chain):
        for place, stage in enumerate(stages.get(host, ())):
            prefix = host if stage == "slice" else f"{host}_{stage}"
            behind_camera = index == 0 and place == 0
            found.setdefault(CAMERA_QUEUE if behind_camera else OTHER_QUEUES, []).append(f"{prefix}_queue_wait_ms")
            found.setdefault(_part_of(host, stage), []).append(f"{prefix}_compute_ms")
            found.setdefault(OVERHEAD, []).append(f"{prefix}_overhead_ms")
        if index + 1 < len(chain):
            alone = index == 0 and not stages.get(host)
            found.setdefault(CAMERA_QUEUE if alone else OTHER_QUEUES, []).append(f"{host}_send_queue_wait_ms")
    for a, b in pairwise(chain):
        found[f"{a}_{b}{_TRANSFER_END}"] = [f"{a}_encode_ms", f"{a}_transfer_ms", f"{b}_decode_ms"]
    return found


def _part_of(host: str, stage: str) -> str:
    kind = stage.rstrip("0123456789")
    return {"transformer": TRANSFORMER, "classifier": CLASSIFIER, "exit": EXIT}.get(kind, f"{host}{_SLICE_END}")


def _stages(run: FinishedRun) -> dict[str, list[str]]:
    stages: dict[str, list[str]] = run.manifest.get("stages", {})
    return stages


def _sum_of_means(completed: pd.DataFrame, columns: Sequence[str]) -> float:
    """The mean over frames of the columns' sum; not a number where none of them was measured."""
    known = [column for column in columns if column in completed and completed[column].notna().any()]
    return float(completed[known].fillna(0).sum(axis=1).mean()) if known and len(completed) else math.nan


def in_order(parts: set[str], hosts: Sequence[str]) -> Iterator[str]:
    """Parts along the way: the camera's queue, pictures, slices and links host by host, and the rest."""
    along = [f"{host}{_SLICE_END}" for host in hosts]
    links = [f"{a}_{b}{_TRANSFER_END}" for a in hosts for b in hosts]
    wanted = [CAMERA_QUEUE, TRANSFORMER, *along, *links, EXIT, CLASSIFIER, OTHER_QUEUES, OVERHEAD, REST]
    yield from (part for part in wanted if part in parts)


def _order(run: FinishedRun) -> tuple[object, ...]:
    """Placements and their cuts as the experiment has them, a stream's versions as they followed each other."""
    placed = run.manifest["spec"].get("placements", [])
    names = [each["name"] for each in placed]
    place = names.index(run.placement) if run.placement in names else len(names)
    cuts = list(placed[place]["cuts"]) if place < len(names) else []
    stretch = (0, 0) if run.version is None else (int(run.manifest["repeat"]), run.version)
    return (run.configuration, place, stretch, cuts.index(run.cut) if run.cut in cuts else len(cuts), run.cut)
