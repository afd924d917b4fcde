"""What three agents do with a stream: their rate, a change of cut under it, and their memory over a long one."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.pipeline.agents import HOSTS, Streamed, Trio
from benchmarks.slicer.chosen import boundaries, drawn, thirds
from benchmarks.slicer.workers import BenchmarkError

from slicebed.split.model import open_source
from slicebed_agent.model.source import ModelSource
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slicebed.split.model import OpenedModel

CAMERA_RATE: Final = 24.0
_AHEAD: Final = 200.0  # frames a second; of which the first queue drops what three slices cannot take
_SETTLED: Final = 10  # frames at the beginning that fill the pipeline
_MEMORY_EVERY_S: Final = 1.0
Samples = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Rate:
    """One run as fast as the pipeline goes.

    Attributes:
        frames_per_s: that left it.
        slowest_s: median time that the slowest stage works on a frame, and which one that is.
        stages: the same of all, by host.
    """

    frames_per_s: float
    slowest_s: float
    slowest: str
    stages: Mapping[str, float]

    @property
    def share(self) -> float:
        """Of what the slowest stage alone would let through."""
        return self.frames_per_s * self.slowest_s


@dataclass(frozen=True)
class Change:
    """One change of cut while the camera runs.

    Attributes:
        dropped: frames that were captured between the order and the last old frame's end, and did not complete.
        reordered: frames that were answered before one that was captured earlier.
        gap_s: the longest time between two answers in that time, beyond the camera's interval.
        usual_gap_s: the same before the order.
        prepared_s: until the new slices were ready.
        cores: that the agents kept busy before the order.
    """

    dropped: int
    reordered: int
    gap_s: float
    usual_gap_s: float
    prepared_s: float
    cores: float


@dataclass(frozen=True)
class Soak:
    """A long stream.

    Attributes:
        captured, completed, dropped, failed: frames.
        growth: resident memory in the last tenth of the time, as a share of that in the second tenth, by host.
        seconds: it took.
    """

    captured: int
    completed: int
    dropped: int
    failed: int
    growth: Mapping[str, float]
    seconds: float


@contextlib.contextmanager
def agents() -> Iterator[Trio]:
    """Three agents with nothing in them."""
    with tempfile.TemporaryDirectory(prefix="slicebed-bench-") as folder, Trio(Path(folder)) as trio:
        yield trio


def rates(model: str, rounds: int, frames: int, note: Callable[[str], None]) -> list[Rate]:
    """Stream through thirds of a model with a camera that is always ahead, queues that wait, and nothing shaped."""
    opened = open_source(ModelSource(model))
    ends = boundaries(opened.graph, thirds(opened.split_points()))
    found = []
    with agents() as trio:
        _place(trio, opened)
        for number in range(rounds):
            note(f"rate of three slices of {model}, round {number + 1} of {rounds}")
            run_id = f"rate-{number}"
            asked = Streamed(0, _AHEAD, agent_pb2.IMAGES_RANDOM, queue=2, policy=agent_pb2.QUEUE_POLICY_BLOCK)
            trio.prepare(run_id, opened.frozen.graph_sha256(), ends, asked)
            trio.start(run_id)
            trio.wait_completed(run_id, frames)
            found.append(_rate(trio.finish(run_id)))
    return found


def changes(model: str, count: int, seed: int, note: Callable[[str], None]) -> list[Change]:
    """Change the cut of a stream of 24 frames a second, again and again."""
    opened = open_source(ModelSource(model))
    points = opened.split_points()
    cuts = [thirds(points), *drawn(points, count, seed)]
    found = []
    with agents() as trio:
        _place(trio, opened)
        for number, (former, later) in enumerate(pairwise(cuts)):
            note(f"change of cut of {model}, {number + 1} of {count}")
            found.append(_change(trio, opened, f"change-{number}", (former, later)))
    return found


def soak(frames: int, rate: float, note: Callable[[str], None]) -> Soak:
    """Stream many small frames through the 14-layer CNN."""
    opened = open_source(ModelSource("cnn14"))
    ends = boundaries(opened.graph, thirds(opened.split_points()))
    asked = Streamed(frames, rate, agent_pb2.IMAGES_DIGITS)
    memory: list[dict[str, int]] = []
    begin = time.monotonic()
    with agents() as trio:
        _place(trio, opened)
        trio.prepare("soak", opened.frozen.graph_sha256(), ends, asked)
        trio.start("soak")
        while (status := trio.status("soak")).phase == agent_pb2.RUN_PHASE_RUNNING:
            memory.append(trio.resident_bytes())
            note(f"soak: {status.captured:,} of {frames:,} frames")
            time.sleep(_MEMORY_EVERY_S)
        status = trio.wait("soak")
        trio.finish("soak")
    tenth = max(1, len(memory) // 10)
    growth = {
        host: statistics.median(each[host] for each in memory[-tenth:])
        / statistics.median(each[host] for each in memory[tenth : 2 * tenth] or memory[:tenth])
        for host in HOSTS
    }
    counts = (status.captured, status.completed, status.dropped, status.failed)
    return Soak(*counts, growth=growth, seconds=time.monotonic() - begin)


def _place(trio: Trio, opened: OpenedModel) -> None:
    trio.place(opened.frozen.path, opened.frozen.graph_sha256())


def _rate(samples: Samples) -> Rate:
    ended = _answers(samples)
    if len(ended) <= 2 * _SETTLED:
        raise BenchmarkError(f"{len(ended)} frames were answered, too few for a rate")
    steady = ended[_SETTLED:]
    stages = {host: _busy(samples[host]) for host in HOSTS}
    slowest = max(stages, key=lambda host: stages[host])
    took = (steady[-1][1] - steady[0][1]) / 1e9
    return Rate((len(steady) - 1) / took, stages[slowest], slowest, stages)


def _busy(lines: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that this host's worker has a frame in hand, the median of all that left it."""
    done = [line for line in lines if line["kind"] == "frame" and line["left"] in {"sent", "answered"}]
    took_ns = [int(line["stages"]["slice"]["compute_ns"]) + int(line["decode_ns"] or 0) for line in done]
    return statistics.median(took_ns) / 1e9


def _answers(samples: Samples) -> list[tuple[int, int]]:
    """Number and time of every completed frame, in the order of their answers."""
    ends = [line for line in samples[HOSTS[0]] if line["kind"] == "end" and line["end"] == "completed"]
    return sorted(((line["frame_id"], line["ended_ns"]) for line in ends), key=lambda end: end[1])


def _change(trio: Trio, opened: OpenedModel, run_id: str, cuts: Sequence[Any]) -> Change:
    former, later = (boundaries(opened.graph, cut) for cut in cuts)
    sha256 = opened.frozen.graph_sha256()
    asked = Streamed(0, CAMERA_RATE, agent_pb2.IMAGES_RANDOM, queue=8)
    trio.prepare(run_id, sha256, former, asked)
    trio.start(run_id)
    begin_s, used_s = time.monotonic(), trio.processor_s()
    time.sleep(2.0)
    cores = (trio.processor_s() - used_s) / (time.monotonic() - begin_s)
    ordered_ns = time.monotonic_ns()
    first = trio.change(run_id, 1, sha256, later)
    time.sleep(1.0)
    samples = trio.finish(run_id)
    return _judged(samples, ordered_ns, first, cores)


def _judged(samples: Samples, ordered_ns: int, first: int, cores: float) -> Change:
    ends = {line["frame_id"]: line for line in samples[HOSTS[0]] if line["kind"] == "end"}
    if first not in ends:
        raise BenchmarkError(f"frame {first}, the first of the new cut, has no end")
    switched_ns = ends[first]["captured_ns"]
    around = [line for line in ends.values() if line["captured_ns"] >= ordered_ns and line["frame_id"] <= first + 24]
    order = [frame_id for frame_id, _ in _answers(samples)]
    answered = _answers(samples)
    gaps = [(later[1] - earlier[1], earlier[1]) for earlier, later in pairwise(answered)]
    interval_ns = 1e9 / CAMERA_RATE
    near = [gap for gap, at in gaps if abs(at - switched_ns) < 1e9]
    before = [gap for gap, at in gaps if at < ordered_ns]
    return Change(
        dropped=sum(line["end"] != "completed" for line in around),
        reordered=sum(earlier > later for earlier, later in pairwise(order)),
        gap_s=(max(near) - interval_ns) / 1e9,
        usual_gap_s=(max(before) - interval_ns) / 1e9,
        prepared_s=(switched_ns - ordered_ns) / 1e9,
        cores=cores,
    )
