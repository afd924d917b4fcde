"""One way from a frozen GraphDef's file to the list of its cuts, in a process that is held, or once and for all.

``cut_worker WAY`` answers each line, a file's path, with a line of JSON; ``cut_worker WAY FILE`` does it once and ends.
TensorFlow, where a way needs it, is imported before the first line is read.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Way = Callable[[Path], dict[str, Any]]


def _slicebed() -> Way:
    from slicebed_agent.model.cuts.algorithms import split_points  # noqa: PLC0415 - what a fresh process would pay
    from slicebed_agent.model.graphdef.read import read_graph  # noqa: PLC0415 - as above

    def cut(path: Path) -> dict[str, Any]:
        begin = time.perf_counter()
        graph = read_graph(path)
        read = time.perf_counter()
        points = split_points(graph)
        end = time.perf_counter()
        return {"seconds": end - begin, "sweep_s": end - read, "cuts": len(points), "operators": len(graph.operators)}

    return cut


def _parse() -> Way:
    from benchmarks.slicer import couper_walk  # noqa: PLC0415 - as above

    tensorflow = importlib.import_module("tensorflow")

    def cut(path: Path) -> dict[str, Any]:
        begin = time.perf_counter()
        message = couper_walk.parse(tensorflow, path)
        return {"seconds": time.perf_counter() - begin, "operators": len(message.node)}

    return cut


def _couper() -> Way:
    from benchmarks.slicer import couper_walk  # noqa: PLC0415 - as above

    tensorflow = importlib.import_module("tensorflow")

    def cut(path: Path) -> dict[str, Any]:
        begin = time.perf_counter()
        graph = couper_walk.import_graph(tensorflow, path)
        read = time.perf_counter()
        points = couper_walk.walk(graph)
        end = time.perf_counter()
        operators = len(graph.get_operations())
        return {"seconds": end - begin, "sweep_s": end - read, "cuts": len(points), "operators": operators}

    return cut


_WAYS = {"slicebed": _slicebed, "parse": _parse, "couper": _couper}


def main(way: str, *files: str) -> None:
    """Serve, or do it once."""
    cut = _WAYS[way]()
    for line in files or sys.stdin:
        found = cut(Path(line.strip()))
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
