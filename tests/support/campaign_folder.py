"""A campaign folder written by hand, line by line as the agents write it, from one letter per frame."""

from __future__ import annotations

import json
from pathlib import Path

from slicebed.run.samples import write_samples
from slicebed.spec.cuts import Cut
from slicebed.spec.experiment import load_experiment

CHAIN = ("client", "edge", "cloud")
EXPERIMENT = load_experiment(Path(__file__).parents[2] / "experiments" / "dnn_slicing.yml")
BATCH = 16

# What became of a frame: completed; dropped at the camera, at the edge's inbound or outbound queue; failed.
COMPLETED, AT_CAMERA, AT_INBOUND, AT_OUTBOUND, FAILED = "csioF"
_PLACES = {AT_CAMERA: ("client", "source"), AT_INBOUND: ("edge", "inbound"), AT_OUTBOUND: ("edge", "outbound")}


def frame_line(host: str, frame_id: int, left: str, stage: str | None = None) -> dict:
    times = ("queue_wait", "decode", "compute", "overhead", "encode", "send_queue_wait", "send")
    took = {f"{name}_ns": 1_000_000 * (index + 1) for index, name in enumerate(times)}
    slice_times = {name: took.pop(name) for name in ("queue_wait_ns", "compute_ns", "overhead_ns")}
    return {
        "kind": "frame",
        "run_id": "r",
        "host": host,
        "frame_id": frame_id,
        "received_ns": 5_000_000_000 + frame_id * 100_000_000,
        "version": 0,
        **took,
        "stages": {"slice": {**slice_times, "notes": {}}} if stage is None else {},
        "parts_in": None if host == "client" else 3,
        "parts_out": None if host == "cloud" else 3,
        "bytes_in": None if host == "client" else 1000,
        "bytes_raw_out": None if host == "cloud" else 990,
        "bytes_out": None if host == "cloud" else 1000,
        "left": left,
        "stage": stage,
        "reason": None if stage is None else "queue full",
    }


def end_line(frame_id: int, fate: str, latency_ms: float, *, labels: bool = True) -> dict:
    end = {COMPLETED: "completed", FAILED: "failed"}.get(fate, "dropped")
    host, stage = _PLACES.get(fate, ("cloud", "slice") if fate == FAILED else (None, None))
    start = 5_000_000_000 + frame_id * 100_000_000
    done = fate == COMPLETED
    line = {
        "kind": "end",
        "run_id": "r",
        "host": "client",
        "frame_id": frame_id,
        "captured_ns": start,
        "ended_ns": start + round(latency_ms * 1e6),
        "latency_ns": round(latency_ms * 1e6),
        "end": end,
        "end_host": host,
        "end_stage": stage,
        "end_reason": None if done else "queue full",
        "answered_by": "cloud" if done else None,
        "exit": None,
        "version": 0,
        "checked": BATCH if done else 0,
        "images": BATCH,
        "labels_equal": BATCH if done else None,
        "labels_correct": BATCH - 1 if done else None,
        "max_abs_error": 2e-7 if done else None,
        "max_rel_error": 2e-7 if done else None,
    }
    if not labels:
        del line["labels_correct"]
    return line


def host_lines(fates: str, latencies: list[float], *, labels: bool = True) -> dict[str, list[dict]]:
    lines: dict[str, list[dict]] = {host: [{"kind": "header", "run_id": "r", "host": host}] for host in CHAIN}
    for frame_id, fate in enumerate(fates):
        lines["client"].append(end_line(frame_id, fate, latencies[frame_id], labels=labels))
        if fate == AT_CAMERA:
            lines["client"].append(frame_line("client", frame_id, "dropped", "source"))
            continue
        lines["client"].append(frame_line("client", frame_id, "sent"))
        if fate in {AT_INBOUND, AT_OUTBOUND}:
            lines["edge"].append(frame_line("edge", frame_id, "dropped", _PLACES[fate][1]))
            continue
        lines["edge"].append(frame_line("edge", frame_id, "sent"))
        lines["cloud"].append(frame_line("cloud", frame_id, "failed" if fate == FAILED else "answered"))
    counts = _counts(fates)
    for host in CHAIN:
        lines[host].append({"kind": "footer", "run_id": "r", "host": host, **counts})
    return lines


def _counts(fates: str) -> dict[str, int]:
    completed, failed = fates.count(COMPLETED), fates.count(FAILED)
    return {
        "captured": len(fates),
        "completed": completed,
        "dropped": len(fates) - completed - failed,
        "failed": failed,
    }


def write_run(  # noqa: PLR0913 - a manifest has that many fields
    campaign_dir: Path,
    configuration: str,
    cut: tuple[int, int] | tuple[str, str],
    fates: str,
    *,
    repeat: int = 1,
    latencies: list[float] | None = None,
    total_time_s: float = 50.0,
    status: str = "complete",
    samples: bool = True,
    labels: bool = True,
    spec: dict | None = None,
) -> tuple[Path, dict]:
    run = f"c{configuration}_{Cut(cut).label}_r{repeat}"
    run_dir = campaign_dir / run
    lines = host_lines(fates, latencies or [600.0 + 10 * index for index in range(len(fates))], labels=labels)
    for host in CHAIN:
        folder = run_dir / "hosts" / host
        folder.mkdir(parents=True)
        (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[host]))
    manifest = {
        "run": run,
        "campaign": campaign_dir.name,
        "configuration": configuration,
        "cut": list(cut),
        "repeat": repeat,
        "status": status,
        "total_time_s": total_time_s,
        "frames": _counts(fates),
        "spec": spec or EXPERIMENT.to_plain(),
        "wire": "vde",
        "links": [],
    }
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    if samples:
        write_samples(run_dir, manifest)
    return run_dir, manifest


def edit_lines(run_dir: Path, host: str, change) -> None:
    """Rewrite one host's file; ``change`` gets the list of records and returns the list to write."""
    path = run_dir / "hosts" / host / "samples.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in change(records)))
