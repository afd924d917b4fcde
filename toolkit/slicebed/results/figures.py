"""The figures of some runs of the same thing: frames, latency, correctness, each with its count."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.places import dropped_where
from slicebed.stats import median_interval, over_runs, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.results.campaign import FinishedRun


def frames_of(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """The frames of all runs."""
    return pd.concat([run.samples for run in runs], ignore_index=True)


def figures_of(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """What every table says of some runs, by its column."""
    frames = frames_of(runs)
    counts = {
        key: sum(int(run.manifest["frames"][key]) for run in runs)
        for key in ("captured", "completed", "dropped", "failed")
    }
    completed = frames[frames["end"] == "completed"]
    latencies = _latencies_ms(frames)
    of_runs = [(run.manifest["frames"], _latencies_ms(run.samples)) for run in runs]
    shares = [frames["dropped"] / frames["captured"] for frames, _ in of_runs if frames["captured"]]
    low, high = over_runs(wilson_interval(counts["dropped"], counts["captured"]), shares, most=1.0)
    medians = [statistics.median(each) for _, each in of_runs if each]
    median_low, median_high = over_runs(median_interval(latencies), medians)
    series = pd.Series(latencies, dtype="float64")
    checked = int(_checked(completed).sum())
    labelled = int(completed["images"][completed["labels_correct"].notna()].sum())
    return {
        "runs": len(runs),
        **counts,
        "total_time_s": sum(float(run.manifest["total_time_s"]) for run in runs) / len(runs),
        "frame_drop_rate": counts["dropped"] / counts["captured"] if counts["captured"] else math.nan,
        "frame_drop_rate_low": low,
        "frame_drop_rate_high": high,
        "latency_n": len(latencies),
        "latency_median_ms": float(series.median()) if latencies else math.nan,
        "latency_median_low_ms": median_low,
        "latency_median_high_ms": median_high,
        "latency_p95_ms": float(series.quantile(0.95)) if latencies else math.nan,
        "dropped_where": dropped_where(frames),
        "images": checked,
        "labels_equal_share": int(completed["labels_equal"].sum()) / checked if checked else math.nan,
        "accuracy": int(completed["labels_correct"].sum()) / labelled if labelled else math.nan,
        "max_abs_error": float(completed["max_abs_error"].max()) if len(completed) else math.nan,
    }


def _latencies_ms(frames: pd.DataFrame) -> list[float]:
    """Of those that completed."""
    return [float(value) for value in frames[frames["end"] == "completed"]["latency_ms"].dropna()]


def _checked(completed: pd.DataFrame) -> pd.Series[int]:
    """Images of each frame that were held against the whole model's answers: before there was a choice, all."""
    return completed["checked"].fillna(0) if "checked" in completed else completed["images"]
