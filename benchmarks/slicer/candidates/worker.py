"""One candidate on one model, alone in its process; says what it found as soon as it is known."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.slicer.candidates.plan import Plan
from benchmarks.slicer.candidates.ways import opener

from slicebed_agent.model.execute.check import seeded_frame
from slicebed_agent.model.execute.memory import resident, trim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.slicer.candidates.interface import Candidate, Run
    from benchmarks.slicer.candidates.plan import Part

    from slicebed_agent.model.execute.tensors import Array


def measure(
    name: str, plan: Plan, reference: Sequence[Array], rounds: int, longest_s: float
) -> Iterator[dict[str, Any]]:
    """Load the model, prepare the whole and each cut, run them by turns.

    Args:
        name: of the candidate.
        plan: what is run.
        reference: what Keras says of the frame.
        rounds: of the whole and the first cut's slices, in an order that changes.
        longest_s: no round begins after so long.

    Yields:
        Fields of `compare.Found`.
    """
    begin = time.perf_counter()
    candidate = opener(name)(plan)
    yield {"load_s": time.perf_counter() - begin, "loaded": _memory()}
    frame = tuple(seeded_frame(each, plan.seed, 1) for each in plan.entrances())
    begin = time.perf_counter()
    whole = candidate.prepare(plan.whole, frame)
    yield {"whole_prepare_s": time.perf_counter() - begin}
    expected = whole(frame)
    yield {"from_keras": difference(expected, reference)}
    chains, found, own = [], [], _memory()["own_bytes"]
    for cut in plan.cuts:
        chain, seconds = _prepare(candidate, cut, frame)
        chains.append(chain)
        before, own = own, _memory()["own_bytes"]
        found.append({"prepare_s": seconds, "added_bytes": own - before})
        yield {"cuts": found}
    yield {"ready": _memory(), "from_whole": max(difference(_through(chain, frame), expected) for chain in chains)}
    orders = [_shuffled(plan.seed + turn) for turn in range(rounds)]
    yield _timed({"whole_s": [whole], "three_s": chains[0]}, frame, orders, longest_s)
    yield {"at_the_end": _memory(), "load": os.getloadavg()[0]}


def difference(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest, in relation to the largest value of the same output; infinite where it has no number."""
    worst = 0.0
    for one, two in zip(found, expected, strict=True):
        apart = float(np.max(np.abs(one.astype(np.float64) - two.astype(np.float64)), initial=0.0))
        scale = float(np.max(np.abs(two), initial=0.0))
        relative = 0.0 if apart == 0 else apart / scale if scale else math.inf
        worst = max(worst, math.inf if math.isnan(relative) else relative)
    return worst


def _prepare(candidate: Candidate, cut: Sequence[Part], frame: Sequence[Array]) -> tuple[list[Run], list[float]]:
    chain: list[Run] = []
    seconds: list[float] = []
    arrays = tuple(frame)
    for part in cut:
        begin = time.perf_counter()
        chain.append(candidate.prepare(part, arrays))
        seconds.append(time.perf_counter() - begin)
        arrays = chain[-1](arrays)
    return chain, seconds


def _through(chain: Sequence[Run], frame: Sequence[Array]) -> tuple[Array, ...]:
    arrays = tuple(frame)
    for run in chain:
        arrays = run(arrays)
    return arrays


def _shuffled(seed: int) -> list[str]:
    order = ["whole_s", "three_s"]
    random.Random(seed).shuffle(order)  # noqa: S311 - an order of runs, not a secret
    return order


def _timed(
    ways: Mapping[str, Sequence[Run]], frame: Sequence[Array], orders: Sequence[Sequence[str]], longest_s: float
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for chain in ways.values():  # what was prepared meanwhile has cooled the caches
        _through(chain, frame)
    started = time.monotonic()
    for turn, order in enumerate(orders):
        if turn and time.monotonic() - started > longest_s:
            break
        for name in order:
            begin = time.perf_counter()
            _through(ways[name], frame)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def _memory() -> dict[str, int]:
    # What is free is given back first: else it would count who has asked for more at some time, not who needs it.
    gc.collect()
    trim()
    found = resident()
    return {"resident_bytes": found.bytes, "own_bytes": found.anonymous_bytes, "peak_bytes": found.peak_bytes}


if __name__ == "__main__":
    way, plan_path, reference_path, count, longest = sys.argv[1:]
    asked = Plan.from_json(Path(plan_path).read_text("utf-8"))
    with np.load(reference_path) as kept:
        said = [kept[key] for key in kept.files]
    for step in measure(way, asked, said, int(count), float(longest)):
        sys.stdout.write(json.dumps(step) + "\n")
        sys.stdout.flush()
