"""Changing the cut of a model that serves: how long the new one takes to prepare, and how long the change itself."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.slicer.chaining import Chain
from benchmarks.slicer.chosen import boundaries, drawn, thirds

from slicebed.split.model import open_source
from slicebed_agent.model.execute.check import seeded_frame
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from slicebed_agent.model.execute.tensors import Array

_AFTER: Final = 4
_POLL_S: Final = 0.002


@dataclass(frozen=True)
class Change:
    """One change of cut while another thread runs frames without a pause.

    Attributes:
        cut: the new one.
        prepare_s: of each of its slices, one after another, while the old cut serves.
        switch_s: from the order to switch until it is in force, and from the last frame of the old cut to the first of
            the new one.
        first_s: how much longer the first frame of the new cut took than the median of those behind it.
        frame_s: that median.
        release_s: freeing the old cut's slices, while the new one serves.
    """

    cut: str
    prepare_s: list[float]
    switch_s: float
    first_s: float
    frame_s: float
    release_s: float


class Feeder(threading.Thread):
    """Runs one frame after another through whatever chain is in force."""

    def __init__(self, chain: Chain, frame: tuple[Array, ...]) -> None:
        """Begin with this chain."""
        super().__init__(daemon=True)
        self.chain, self._frame = chain, frame
        self.frames: list[tuple[Chain, float, float]] = []
        self.stopping = threading.Event()
        self.failed: Exception | None = None

    def run(self) -> None:
        """Until told to stop."""
        try:
            while not self.stopping.is_set():
                chain = self.chain
                begin = time.perf_counter()
                chain.run(self._frame)
                self.frames.append((chain, begin, time.perf_counter()))
        except Exception as error:  # noqa: BLE001 - a thread's error is the main thread's to raise
            self.failed = error

    def wait_for(self, chain: Chain, count: int) -> list[tuple[float, float]]:
        """When the first so many frames of a chain began and ended."""
        while True:
            if self.failed is not None:
                raise self.failed
            found = [(begin, end) for made_by, begin, end in list(self.frames) if made_by is chain]
            if len(found) >= count:
                return found[:count]
            time.sleep(_POLL_S)


def measure(name: str, changes: int, seed: int) -> list[Change]:
    """Change the cut so many times, to cuts drawn by the seed; the first is the thirds."""
    opened = open_source(ModelSource(name))
    points = opened.split_points()
    found = []
    with Executor(opened.frozen.path) as executor:
        frame = tuple(seeded_frame(boundary, seed, 1) for boundary in executor.describe(opened.graph.inputs))
        feeder = Feeder(Chain(executor, boundaries(opened.graph, thirds(points))), frame)
        feeder.start()
        feeder.wait_for(feeder.chain, 2)
        for cut in drawn(points, changes, seed):
            new = Chain(executor, boundaries(opened.graph, cut))
            found.append(_change(feeder, new, ",".join(point.name for point in cut)))
        feeder.stopping.set()
        feeder.join()
        feeder.chain.release()
    return found


def _change(feeder: Feeder, new: Chain, cut: str) -> Change:
    old = feeder.chain
    ordered = time.perf_counter()
    feeder.chain = new
    in_force = time.perf_counter()
    first, *later = feeder.wait_for(new, 1 + _AFTER)
    last_of_old = max(end for made_by, _, end in list(feeder.frames) if made_by is old)
    usual_s = statistics.median(end - begin for begin, end in later)
    begin = time.perf_counter()
    old.release()
    release_s = time.perf_counter() - begin
    return Change(
        cut=cut,
        prepare_s=new.prepare_s,
        switch_s=in_force - ordered + first[0] - last_of_old,
        first_s=first[1] - first[0] - usual_s,
        frame_s=usual_s,
        release_s=release_s,
    )


if __name__ == "__main__":
    model, count, number = sys.argv[1:]
    for change in measure(model, int(count), int(number)):
        sys.stdout.write(json.dumps(asdict(change)) + "\n")
        sys.stdout.flush()
