"""From a frozen GraphDef's file to the list of its cuts: Slicebed, TensorFlow's parser, Couper's way; interleaved."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.slicer.workers import Worker, one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLICEBED: Final = "Slicebed"
PARSE: Final = "protobuf: read and parse"
COUPER: Final = "tf.Graph and Couper's walk"
FRESH: Final = ", started"
# Starting TensorFlow takes longer than all else together: these ways take part in every third round only.
_STARTED_EACH: Final = 3
_WAYS: Final = {SLICEBED: "slicebed", PARSE: "parse", COUPER: "couper"}


@dataclass
class Listed:
    """One way, over all rounds.

    Attributes:
        seconds: from the file to the list; of a way that is started each time its start too.
        sweep_s: of these, what finding the cuts took once the graph was there.
        cuts: how many were found; 0 where none are looked for.
        operators: in what was read.
    """

    seconds: list[float] = field(default_factory=list)
    sweep_s: list[float] = field(default_factory=list)
    cuts: int = 0
    operators: int = 0


def compare(path: Path, rounds: int, longest_s: float, note: Callable[[str], None]) -> dict[str, Listed]:
    """Have every way list the cuts once a round, the started ones every third, in an order that changes.

    The processes that are held have imported what they need and done it once before; the file is in the page cache.

    Args:
        path: of the frozen GraphDef.
        rounds: how many.
        longest_s: no round begins after so long.
        note: told what is going on.

    Raises:
        BenchmarkError: a process died.
    """
    found = {name + end: Listed() for name in _WAYS for end in ("", FRESH)}
    with contextlib.ExitStack() as stack:
        held = {name: stack.enter_context(Worker("cut_worker", way)) for name, way in _WAYS.items()}
        for worker in held.values():
            worker.ask(path)
        begin = time.monotonic()
        for turn in range(rounds):
            if turn and time.monotonic() - begin > longest_s:
                break
            order = [name for name in found if name in held or turn % _STARTED_EACH == 0]
            random.Random(turn).shuffle(order)  # noqa: S311 - an order of runs, not a secret
            for name in order:
                note(f"cuts, round {turn + 1} of {rounds}: {name}")
                _once(found[name], name, held, path)
    return found


def _once(listed: Listed, name: str, held: dict[str, Worker], path: Path) -> None:
    if name in held:
        answer = held[name].ask(path)
        listed.seconds.append(answer["seconds"])
    else:
        begin = time.perf_counter()
        answer = one("cut_worker", _WAYS[name.removesuffix(FRESH)], path)
        listed.seconds.append(time.perf_counter() - begin)
    if "sweep_s" in answer:
        listed.sweep_s.append(answer["sweep_s"])
    listed.cuts = answer.get("cuts", 0)
    listed.operators = answer["operators"]
