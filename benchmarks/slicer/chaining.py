"""Three slices one after another against the whole model, in one process per model, in interleaved rounds."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.slicer.chosen import boundaries, drawn, thirds

from slicebed.split.model import open_source
from slicebed_agent.model.execute.check import seeded_frame
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.execute.slice import Slice
    from slicebed_agent.model.execute.tensors import Array


class Chain:
    """Slices that hand their tensors on within the process."""

    def __init__(self, executor: Executor, ends: Sequence[Sequence[str]], *, warm: bool = True) -> None:
        """Prepare a slice between each two neighbouring boundaries."""
        self.prepare_s: list[float] = []
        self._slices: list[Slice] = []
        for feeds, fetches in itertools.pairwise(ends):
            begin = time.perf_counter()
            self._slices.append(executor.prepare(feeds, fetches, warm=warm))
            self.prepare_s.append(time.perf_counter() - begin)

    def run(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """From the model's input to its output."""
        for part in self._slices:
            arrays = part.run(arrays)
        return arrays

    def release(self) -> None:
        """Free the slices."""
        for part in self._slices:
            part.release()


def measure(name: str, rounds: int, longest_s: float, others: int, seed: int) -> dict[str, Any]:
    """Time the whole and each chain once a round, in an order that changes.

    Args:
        name: of a model of the zoo.
        rounds: how many.
        longest_s: no round begins after so long.
        others: cuts drawn by the seed, besides the thirds.
        seed: of those cuts, of the frame and of the order.

    Returns:
        Seconds by round: ``whole``, and by cut ``chains``.
    """
    opened = open_source(ModelSource(name))
    points = opened.split_points()
    cuts = [thirds(points), *drawn(points, others, seed)]
    with Executor(opened.frozen.path) as executor:
        frame = tuple(seeded_frame(boundary, seed, 1) for boundary in executor.describe(opened.graph.inputs))
        chains = [Chain(executor, boundaries(opened.graph, cut)) for cut in [(), *cuts]]
        seconds: list[list[float]] = [[] for _ in chains]
        begin = time.monotonic()
        for turn in range(rounds):
            if turn and time.monotonic() - begin > longest_s:
                break
            order = list(range(len(chains)))
            random.Random(seed + turn).shuffle(order)  # noqa: S311 - an order of runs, not a secret
            for number in order:
                start = time.perf_counter()
                chains[number].run(frame)
                seconds[number].append(time.perf_counter() - start)
        for chain in chains:
            chain.release()
    names = [",".join(point.name for point in cut) for cut in cuts]
    return {"whole": seconds[0], "thirds": names[0], "chains": dict(zip(names, seconds[1:], strict=True))}


if __name__ == "__main__":
    model, *numbers, again = sys.argv[1:]
    result = measure(model, int(numbers[0]), float(numbers[1]), int(numbers[2]), int(again))
    sys.stdout.write(json.dumps(result) + "\n")
