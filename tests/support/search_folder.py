"""A search that has ended, as the engine and the agents write it: a small simulated pipeline behind each cut."""

from __future__ import annotations

import csv
import itertools
import json
import math
import random
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from campaign_folder import EXPERIMENT

from slicebed.run.accounts import read_accounts
from slicebed.run.samples import write_samples
from slicebed.run.search.record import CANDIDATES, CELLS, DECISIONS
from slicebed.run.store import Campaign
from slicebed.run.summary import summarise
from slicebed.stats import median_interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MS = 1_000_000
# What the whole model takes, in ms, of the edge by condition, and of the cloud; the link between them in Mbit/s.
EDGE_MS = {"low": 260.0, "mid": 120.0, "high": 60.0}
CLOUD_MS, CLIENT_EDGE_MS, WAY_BACK_MS = 40.0, 6.0, 4.0
RATE_MBIT_PER_S, RTT_MS, PICTURE_BYTES = 50.0, 50.0, 690_000


@dataclass
class Point:
    """One candidate: ``share`` of the model runs on the edge; none with the whole model in the cloud."""

    cut: str
    share: float | None
    raw_bytes: int
    codec: str = "raw"
    place: int = 0

    @property
    def placement(self) -> str:
        return "cloud" if self.share is None else "sliced"

    @property
    def key(self) -> str:
        return f"{self.placement}/{self.cut}/{self.codec}"


@dataclass
class SearchWritten:
    """A search under construction: `points` are measured under `conditions` for `models`."""

    folder: Path
    models: tuple[str, ...] = ("InceptionV3",)
    conditions: tuple[str, ...] = ("mid",)
    cuts: tuple[str, ...] = ("conv_1", "pool_3", "mixed_5", "mixed_7", "logits")
    codecs: tuple[str, ...] = ("raw",)
    cloud: bool = True
    frames: int = 24
    repeats: int = 1
    rate_per_s: float = 10.0
    objective: str = "latency"
    # Method -> places of the candidates it measures; None: all.
    sessions: dict[str, tuple[int, ...] | None] = field(default_factory=lambda: {"strongman": None, "hybrid": (2, 3)})
    # Methods that the budget stopped.
    stopped: tuple[str, ...] = ()
    # Run numbers whose first attempt is left unfinished: number -> (status, whether it was done since).
    attempts: dict[int, tuple[str, bool]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def points(self) -> list[Point]:
        """In the model's order: what crosses shrinks along it, not everywhere."""
        found = [Point("whole", None, PICTURE_BYTES, codec) for codec in self.codecs if self.cloud]
        for index, cut in enumerate(self.cuts):
            share = (index + 1) / (len(self.cuts) + 1)
            raw = round(1_200_000 * math.exp(-4.5 * share) * (1.0 if index % 3 else 1.6))
            found += [Point(cut, share, raw, codec, index + 1) for codec in self.codecs]
        return found

    def write(self) -> Path:
        """Write everything; the folder."""
        (self.folder / "tables").mkdir(parents=True)
        rows: dict[str, list[dict]] = {"cells": [], "candidates": [], "decisions": []}
        for model in self.models:
            for condition in self.conditions:
                self._problem(model, condition, rows)
        for name, columns in (("cells", CELLS), ("candidates", CANDIDATES), ("decisions", DECISIONS)):
            with (self.folder / "tables" / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows[name])
        plan = {"campaign": self.folder.name, "kind": "search", "spec": self._spec()}
        (self.folder / "campaign.json").write_text(json.dumps(plan))
        return self.folder

    def _spec(self) -> dict:
        spec = EXPERIMENT.to_plain()
        placed = [{"name": "cloud", "slices": ["cloud"], "cuts": ["whole"]}]
        placed += [{"name": "sliced", "slices": ["edge", "cloud"], "cuts": list(self.cuts)}]
        return spec | {"placements": placed, "source": spec["source"] | {"rate_per_s": self.rate_per_s}}

    def _problem(self, model: str, condition: str, rows: dict[str, list[dict]]) -> None:
        same = {"problem": f"{model}-{condition}", "model": model, "condition": condition}
        asked = [each for places in self.sessions.values() for each in places or ()]
        wanted = set(asked) if None not in self.sessions.values() else set(range(len(self.points())))
        values: dict[str, float] = {}
        for at, point in enumerate(self.points()):
            cut = "" if point.share is None else point.cut
            place = {"placement": point.placement, "cut": cut, "place": point.place, "codec": point.codec}
            cells = []
            for repeat in range(1, self.repeats + 1 if at in wanted else 1):
                cells.append(self._cell(same, point, place, repeat))
                rows["cells"] += [cells[-1]] if cells[-1]["status"] == "done" else []
            done = [cell for cell in cells if cell["completed"]]
            found = statistics.median(cell["latency_ms"] for cell in done) if done else math.nan
            guess = 1.05 * (found if done else 300.0)
            rows["candidates"].append(same | place | {
                "key": point.key, "knobs": "{}", "bytes_per_frame": json.dumps([point.raw_bytes]),
                "predicted_latency_ms": guess, "predicted_low_ms": 0.9 * guess, "predicted_high_ms": 1.1 * guess,
                "predicted_drop_rate": 0.1, "measured": int(bool(cells)),
            })  # fmt: skip
            if done:
                values[point.key] = found / 1e3 if self.objective == "latency" else done[0]["drop_rate"]
        for method, places in self.sessions.items():
            self._decision(same, method, places, values, rows["decisions"])

    def _decision(self, same: dict, method: str, places: tuple | None, values: dict, rows: list[dict]) -> None:
        points = self.points()
        asked = [point for at, point in enumerate(points) if places is None or at in places]
        chosen = min((point for point in asked if point.key in values), key=lambda point: values[point.key])
        best, value = min(values.values()), values[chosen.key]
        rows.append(same | {
            "method": method, "objective": self.objective, "chosen": chosen.key, "cut": chosen.cut,
            "why": f"{chosen.cut} is the best of {len(asked)} that were measured", "runs": len(asked) * self.repeats,
            "candidates_measured": len(asked), "testbed_s": 12.0 * len(asked) * self.repeats, "decision_s": 0.25,
            "value": value, "best_known_value": best, "regret_measured": (value - best) / best if best else "",
            "regret_predicted": 0.02 if method == "predict" else "",
            "prediction_error": 0.05 if method == "predict" else "",
            "stopped_by_budget": int(method in self.stopped),
        })  # fmt: skip

    def _cell(self, same: dict, point: Point, place: dict, repeat: int) -> dict:
        cell = f"{same['problem']}/{point.key}/r{repeat}"
        number = next(self._numbers)
        run = f"cell{number:04d}"
        status, since = self.attempts.get(number, ("done", True))
        told = {"cell": cell, "problem": same["problem"], "key": point.key, "cell_frames": 0,
                "codec": point.codec, "knobs": {}, "site": "lab"}  # fmt: skip
        if status != "done":
            attempt = self.folder / f"{run}.{status}-1"
            attempt.mkdir()
            manifest = {"run": run, "configuration": "1", "cut": [], "spec": {}, "wire": "tap", "frames": {}}
            error = f"a round trip was not as asked, in {cell}"
            (attempt / "manifest.json").write_text(json.dumps(manifest | told | {"status": status, "error": error}))
            facts = {"cell": cell, "run": run, "site": "lab", "error": error, "given_up": not since}
            Campaign(self.folder).note(f"cell_{status}", **facts)
            if not since:
                return {"status": status, "completed": 0}
        table, frames = self._run(run, same, point, repeat, told)
        done = table[table["end"] == "completed"]["latency_ms"].tolist()
        low, high = median_interval(done)
        return same | place | {
            "cell": cell, "knobs": "{}", "repeat": repeat, "run": run, **frames,
            "drop_rate": frames["dropped"] / frames["captured"], "latency_ms": statistics.median(done) if done else "",
            "latency_low_ms": low, "latency_high_ms": high, "throughput_per_s": len(done) / 2.4,
            "bytes_per_frame": _sent(point) if done else "", "testbed_s": 12.0, "site": "lab", "status": "done",
        }  # fmt: skip

    def _run(self, run: str, same: dict, point: Point, repeat: int, told: dict):
        folder = self.folder / run
        stages = {"client": [], "edge": ["transformer", "slice"], "cloud": ["slice", "classifier"]}
        if point.share is None:
            stages = {"client": [], "cloud": ["transformer", "slice", "classifier"]}
        lines = _simulated(self, same["condition"], point, stages, random.Random(f"{run}{repeat}"))
        for host, records in lines.items():
            (folder / "hosts" / host).mkdir(parents=True)
            text = "".join(json.dumps(record) + "\n" for record in records)
            (folder / "hosts" / host / "samples.jsonl").write_text(text)
        footer = lines["client"][-1]
        frames = {name: footer[name] for name in ("captured", "completed", "dropped", "failed")}
        manifest = {
            "run": run, "campaign": self.folder.name, "configuration": "testbed", "placement": point.placement,
            "cut": [] if point.cut == "whole" else [point.cut], "repeat": repeat, "status": "complete",
            "chain": list(stages), "stages": stages, "wire": "tap", "links": [], "spec": self._spec(),
            "frames": frames, "total_time_s": self.frames / self.rate_per_s, "testbed_s": 12.0, **told,
        }  # fmt: skip
        table = write_samples(folder, manifest)
        manifest["summary"] = summarise(table, read_accounts(folder, manifest), manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return table, frames


def _sent(point: Point) -> int:
    shorter = {"raw": 1.0, "lossless": 0.6}.get(point.codec, 1.0)
    return round(point.raw_bytes * shorter) + (0 if point.share is None else PICTURE_BYTES)


def _simulated(written: SearchWritten, condition: str, point: Point, stages: dict, draw: random.Random) -> dict:
    """Lines of every host: a queue of one behind every stage, in which a frame that finds it full is dropped."""
    share = 0.0 if point.share is None else point.share
    edge = EDGE_MS.get(condition, 120.0) * share
    # What the edge sends on; the cloud alone is sent pictures, over the same link.
    crosses = 0 if point.share is None else _sent(point) - PICTURE_BYTES
    crossing = (crosses or _sent(point)) * 8 / RATE_MBIT_PER_S / 1e3
    lines: dict[str, list[dict]] = {host: [{"kind": "header", "host": host}] for host in stages}
    hosts = list(stages)
    for sender, receiver in itertools.pairwise(hosts):
        lines[sender].append({"kind": "clock", "at_ns": 0, "next_host": receiver, "bound_ns": MS // 10,
                              "round_trip_ns": MS, "offset_ns": 0})  # fmt: skip
    free, counts = 0.0, {"captured": written.frames, "completed": 0, "dropped": 0, "failed": 0}
    for frame in range(written.frames):
        at = 1000.0 * frame / written.rate_per_s
        slow = max(0.2, draw.gauss(1.0, 0.06))
        busy = max(edge, crossing) * slow
        wait = max(0.0, free - at)
        first, second = hosts[0], hosts[1]
        lines[first].append(_frame(first, frame, at, left="sent", sent=at, encode=0.4, size=_sent(point) - crosses))
        if wait > 1.5 * busy:
            lines[second].append(_frame(second, frame, at + CLIENT_EDGE_MS, left="dropped", stage="inbound"))
            lines[first].append(_end(frame, at, wait, dropped=second))
            counts["dropped"] += 1
            continue
        free = at + wait + busy
        arrival = at + (CLIENT_EDGE_MS if point.share is not None else crossing * slow + RTT_MS / 2)
        compute = CLOUD_MS * (1 - share) * slow
        if point.share is not None:
            times = {"transformer": (wait, 2.0), "slice": (0.1, edge * slow)}
            leaves = arrival + wait + 2.0 + edge * slow
            lines["edge"].append(
                _frame("edge", frame, arrival, times, left="sent", sent=leaves, encode=1.0, upstream=at, size=crosses)
            )
            arrival, sent_at = leaves + crossing * slow + RTT_MS / 2, leaves
            times = {"slice": (0.1, compute), "classifier": (0.0, 1.0)}
        else:
            sent_at, arrival = at, arrival + wait
            times = {"transformer": (0.1, 2.0), "slice": (0.1, compute), "classifier": (0.0, 1.0)}
        lines["cloud"].append(_frame("cloud", frame, arrival, times, left="answered", upstream=sent_at))
        latency = arrival - at + sum(sum(pair) for pair in times.values()) + WAY_BACK_MS + RTT_MS / 2
        lines["client"].append(_end(frame, at, latency))
        counts["completed"] += 1
    for host in hosts:
        lines[host].append({"kind": "footer", "host": host, **counts})
    return lines


def _frame(  # noqa: PLR0913 - a line has that many sides
    host: str, frame: int, received: float, times: dict | None = None, *, left: str, stage: str | None = None,
    sent: float | None = None, encode: float | None = None, upstream: float | None = None, size: int | None = None,
) -> dict:  # fmt: skip
    return {
        "kind": "frame", "host": host, "frame_id": frame, "version": 0, "received_ns": round(received * MS),
        "receive_ns": 0, "upstream_sent_ns": None if upstream is None else round(upstream * MS),
        "decode_ns": MS // 2 if upstream is not None else None, "left": left, "stage": stage, "bytes_out": size,
        "encode_ns": None if encode is None else round(encode * MS),
        "sent_ns": None if sent is None else round(sent * MS), "reason": None if stage is None else "queue full",
        "stages": {
            name: {"queue_wait_ns": round(wait * MS), "compute_ns": round(took * MS), "overhead_ns": 0, "notes": {}}
            for name, (wait, took) in (times or {}).items()
        },
    }  # fmt: skip


def _end(frame: int, at: float, latency: float, *, dropped: str | None = None) -> dict:
    done = dropped is None
    return {
        "kind": "end", "host": "client", "frame_id": frame, "version": 0, "captured_ns": round(at * MS),
        "ended_ns": round((at + latency) * MS), "latency_ns": round(latency * MS),
        "end": "completed" if done else "dropped", "end_host": dropped, "end_stage": None if done else "inbound",
        "end_reason": None if done else "queue full", "answered_by": "cloud" if done else None, "exit": None,
        "images": 1, "checked": 1 if done else 0, "labels_equal": 1 if done else None,
        "labels_correct": 1 if done else None, "max_abs_error": 1e-7 if done else None,
        "max_rel_error": 1e-7 if done else None,
    }  # fmt: skip
