"""A campaign with placements, written as the agents write it: chains of their own, two clocks, early exits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from campaign_folder import EXPERIMENT

from slicebed.run.accounts import read_accounts
from slicebed.run.samples import write_samples
from slicebed.run.summary import summarise

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
# The second host's clock is ahead of the first one's by this, and moves on a little.
OFFSET_NS, DRIFT_NS, BOUND_NS = 7_000 * MS, 2 * MS, MS // 4
STAGES = {
    "client": {"client": ["transformer", "slice", "classifier"]},
    "sliced": {"client": [], "edge": ["transformer", "slice", "exit", "slice2", "classifier"]},
}


def placed_spec(**pipeline: object) -> dict:
    """The experiment of such a campaign, as its manifests hold it."""
    spec = EXPERIMENT.to_plain()
    placements = [
        {"name": "client", "transformer": "client", "slices": ["client"], "classifier": "client", "cuts": ["whole"]},
        {"name": "sliced", "transformer": "edge", "slices": ["edge", "edge"], "classifier": "edge", "cuts": ["8"]},
    ]
    return spec | {"placements": placements, "pipeline": spec["pipeline"] | pipeline}


def write_placed(  # noqa: PLR0913 - a run has that many sides
    campaign_dir: Path,
    placement: str,
    frames: int,
    *,
    early: int = 0,
    cut: tuple = (),
    codec: str = "auto",
    change=lambda lines: lines,
    told: dict | None = None,
) -> tuple[Path, dict]:
    """A run in which every frame is completed, the first `early` of them by an exit.

    `change` gets every host's lines and gives those to write; `told` is added to the manifest.
    """
    stages = STAGES[placement]
    run = f"ctestbed_{placement}_r1"
    run_dir = campaign_dir / run
    lines = change(_lines(stages, frames, early))
    for host, records in lines.items():
        folder = run_dir / "hosts" / host
        folder.mkdir(parents=True)
        (folder / "samples.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = next(record for record in lines["client"] if record["kind"] == "footer")
    manifest = {
        "run": run,
        "campaign": campaign_dir.name,
        "configuration": "testbed",
        "placement": placement,
        "chain": list(stages),
        "stages": stages,
        "cut": list(cut),
        "repeat": 1,
        "status": "complete",
        "total_time_s": 2.0,
        "frames": {name: counts[name] for name in ("captured", "completed", "dropped", "failed")},
        "spec": placed_spec(codec=codec),
        "wire": "tap",
        "links": [],
        **(told or {}),
    }
    table = write_samples(run_dir, manifest)
    manifest["summary"] = summarise(table, read_accounts(run_dir, manifest), manifest)
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    return run_dir, manifest


def write_stream(campaign_dir: Path, first_frames: tuple, cuts: tuple, frames: int = 20) -> tuple[Path, dict]:
    """A stream whose cut changed at the first frames of the versions 1, 2, ...; an exit answered its first 5 frames."""

    def versions(lines):
        for record in (each for records in lines.values() for each in records if "frame_id" in each):
            record["version"] = sum(first <= record["frame_id"] for first in first_frames)
        return lines

    events = [
        {"at_s": first / 25, "event": "cut switched", "version": version, "first_frame": first}
        for version, first in enumerate(first_frames, start=1)
    ]
    told = {
        "cuts": dict(enumerate(cuts)),
        "timeline": [{"at_s": 0.0, "event": "stream begins", "cut": cuts[0]}, *events],
    }
    return write_placed(campaign_dir, "sliced", frames, early=5, cut=(8,), change=versions, told=told)


def _lines(stages: dict[str, list[str]], frames: int, early: int) -> dict[str, list[dict]]:
    last = list(stages)[-1]
    lines: dict[str, list[dict]] = {host: [{"kind": "header", "host": host}] for host in stages}
    for host in stages:
        lines[host].append({"kind": "usage", "at_ns": 5, "cpu_ns": 2_000 * MS, "memory_bytes": 1 << 28,
                            "received_bytes": 10, "sent_bytes": 20, "energy_uj": None})  # fmt: skip
    for frame_id in range(frames):
        at_ns = frame_id * 40 * MS
        is_early = frame_id < early
        lines["client"].append(_end(frame_id, at_ns, last, early=is_early))
        for host, names in stages.items():
            lines[host].append(_frame(host, names, frame_id, at_ns, answers=host == last, early=is_early))
        if last != "client":
            clock = {"kind": "clock", "at_ns": at_ns, "next_host": last, "bound_ns": BOUND_NS, "round_trip_ns": MS}
            lines["client"].append(clock | {"offset_ns": OFFSET_NS + DRIFT_NS * frame_id})
    if last != "client":
        lines["client"].append({"kind": "codec", "at_ns": 1, "boundary": 0, "picked": "lossless",
                                "why": "lossless: 1.9 times shorter", "candidates": []})  # fmt: skip
    counts = {"captured": frames, "completed": frames, "dropped": 0, "failed": 0}
    for host in stages:
        lines[host].append({"kind": "footer", "host": host, **counts})
    return lines


def _frame(  # noqa: PLR0913 - a line has that many sides
    host: str, names: list[str], frame_id: int, at_ns: int, *, answers: bool, early: bool
) -> dict:
    behind = host != "client"
    drift = DRIFT_NS * frame_id
    names = names[: names.index("exit") + 1] if early and "exit" in names else names
    times = {"queue_wait_ns": 2 * MS, "compute_ns": 3 * MS, "overhead_ns": 0, "notes": {}}
    return {
        "kind": "frame",
        "host": host,
        "frame_id": frame_id,
        "version": 0,
        # Sent 1 ms after it was captured; its first part takes 10 ms, the rest 5 ms more.
        "received_ns": at_ns + (11 * MS + OFFSET_NS + drift if behind else 0),
        "receive_ns": 5 * MS if behind else None,
        "upstream_sent_ns": at_ns + MS if behind else None,
        "decode_ns": MS if behind else None,
        "encode_ns": None if answers else 2 * MS,
        "sent_ns": None if answers else at_ns + MS,
        "bytes_raw_out": None if answers else 2_000,
        "bytes_out": None if answers else 1_000,
        "stages": {name: dict(times) for name in names},
        "left": "answered" if answers else "sent",
        "stage": None,
        "reason": None,
    }


def _end(frame_id: int, at_ns: int, last: str, *, early: bool) -> dict:
    return {
        "kind": "end",
        "host": "client",
        "frame_id": frame_id,
        "version": 0,
        "captured_ns": at_ns,
        "ended_ns": at_ns + 50 * MS,
        "latency_ns": 50 * MS,
        "end": "completed",
        "end_host": None,
        "end_stage": None,
        "end_reason": None,
        "answered_by": last,
        "exit": "exit" if early else None,
        "images": 1,
        "checked": 1 if frame_id % 2 == 0 else 0,
        "labels_equal": None if frame_id % 2 else 0 if early else 1,
        "labels_correct": 1,
        "max_abs_error": None if early or frame_id % 2 else 1e-7,
        "max_rel_error": None if early or frame_id % 2 else 1e-7,
    }
