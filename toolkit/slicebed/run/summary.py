"""What a run's manifest says of its samples beyond counts: codecs, clocks, early answers, what the containers took."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

from slicebed.run.equality import is_lossy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from slicebed.run.accounts import HostAccount, Record

_NS_PER_MS = 1e6


def summarise(table: pd.DataFrame, accounts: Mapping[str, HostAccount], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a run, JSON-ready; what the agents did not say is left out.

    Returns:
        ``answers`` (how those that were checked compare with the whole model's), ``early`` (share and accuracy of early
        exits), ``codecs`` (what `auto` picked, why and from which figures, the last of each link and cut),
        ``clocks`` (of each link: how far its offset is known, and how it moved), ``usage`` (by host).
    """
    done = table[table["end"] == "completed"]
    found: dict[str, Any] = {"answers": _answers(done, lossy=is_lossy(manifest))}
    if done["early"].notna().any():
        found["early"] = _early(done)
    codecs = [
        {"host": host, **record}
        for host, account in accounts.items()
        for record in {_boundary(line): line for line in account.notes.get("codec", ())}.values()
    ]
    clocks = [
        _clock(host, next_host, lines)
        for host, account in accounts.items()
        for next_host, lines in _by_next(account.notes.get("clock", ())).items()
    ]
    usage = {host: _usage(account.notes["usage"]) for host, account in accounts.items() if account.notes.get("usage")}
    return found | {key: value for key, value in (("codecs", codecs), ("clocks", clocks), ("usage", usage)) if value}


def _boundary(line: Record) -> tuple[object, ...]:
    """What a codec was picked for: a cut's version, and the tensors that cross there."""
    return (line.get("boundary"), *line.get("tensors", ()))


def _answers(done: pd.DataFrame, *, lossy: bool) -> dict[str, Any]:
    checked = done[(done["checked"].fillna(0) > 0) & done["early"].isna()]
    images, equal = int(checked["checked"].sum()), int(checked["labels_equal"].fillna(0).sum())
    return {
        "lossy": lossy,
        "frames_checked": len(checked),
        "images_checked": images,
        "labels_equal_share": _share(equal, images),
        "max_abs_error": _finite(checked["max_abs_error"].max()),
        "max_rel_error": _finite(checked["max_rel_error"].max()),
    }


def _early(done: pd.DataFrame) -> dict[str, Any]:
    """Early answers: how many, and how right, beside those of the whole chain."""
    early, others = done[done["early"].notna()], done[done["early"].isna()]
    by_exit = Counter(zip(early["answered_by"], early["early"], strict=True))
    return {
        "frames": len(early),
        "share": _share(len(early), len(done)),
        "by_exit": [{"host": host, "exit": name, "frames": count} for (host, name), count in sorted(by_exit.items())],
        "accuracy": accuracy_of(early),
        "accuracy_of_others": accuracy_of(others),
        "labels_equal_share": labels_equal_of(early),
    }


def accuracy_of(frames: pd.DataFrame) -> float | None:
    """Correct labels by images whose true label is known; None without any."""
    known = frames[frames["labels_correct"].notna()]
    return _share(int(known["labels_correct"].sum()), int(known["images"].sum()))


def labels_equal_of(frames: pd.DataFrame) -> float | None:
    """Labels that are the whole model's by images that were checked; None without any."""
    checked = frames[frames["checked"].fillna(0) > 0]
    return _share(int(checked["labels_equal"].fillna(0).sum()), int(checked["checked"].sum()))


def _by_next(lines: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for line in lines:
        found.setdefault(str(line.get("next_host")), []).append(line)
    return found


def _clock(host: str, next_host: str, lines: Sequence[Record]) -> dict[str, Any]:
    offsets = [line["offset_ns"] for line in lines]
    return {
        "host": host,
        "next_host": next_host,
        "readings": len(lines),
        "bound_ms": statistics.median(line["bound_ns"] for line in lines) / _NS_PER_MS,
        "round_trip_ms": statistics.median(line["round_trip_ns"] for line in lines) / _NS_PER_MS,
        "offset_range_ms": (max(offsets) - min(offsets)) / _NS_PER_MS,
    }


def _usage(lines: Sequence[Record]) -> dict[str, Any]:
    last = lines[-1]
    peaks = [line["memory_bytes"] for line in lines if line.get("memory_bytes") is not None]
    energy_uj, cpu_ns = last.get("energy_uj"), last.get("cpu_ns")
    return {
        "cpu_s": None if cpu_ns is None else cpu_ns / 1e9,
        "memory_peak_bytes": max(peaks, default=None),
        "received_bytes": last.get("received_bytes"),
        "sent_bytes": last.get("sent_bytes"),
        "energy_j": None if energy_uj is None else energy_uj / 1e6,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _finite(value: float) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
