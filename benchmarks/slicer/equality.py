"""Is every cut the whole model? Run in a process per model; a model that is done is not run again."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slicebed.split.model import open_source
from slicebed_agent.model import cuts, execute, graphdef
from slicebed_agent.model.execute.check import CutCheck, check_cuts, sample
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.runtime import tensorflow_version
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.graph import SplitPoint

_FORMAT: Final = 2
_MAX_TENSORS: Final = 3
_SEVERAL: Final = 20


@dataclass(frozen=True)
class Checked:
    """One model's cuts.

    Attributes:
        model: its name.
        key: what the rows depend on: graph file, sample, seed, TensorFlow, what Slicebed reads, cuts and runs it with.
        single: how many exact cuts of one tensor it has.
        several: how many more of up to three tensors.
        rows: of those that were run.
        seconds: that took.
        finished: when, UTC.
    """

    model: str
    key: str
    single: int
    several: int
    rows: tuple[CutCheck, ...]
    seconds: float
    finished: str


def run(opened: OpenedModel, count: int, seed: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Check a model's cuts, unless the folder holds the very same already, and keep what was found there.

    Args:
        opened: the model.
        count: cuts in the sample; 0 for every cut of one tensor, and `_SEVERAL` of several.
        seed: of the sample and of the frame.
        folder: of finished models.

    Yields:
        How many are done, of how many.
    """
    key = _key(opened, count, seed)
    if kept(folder, opened.name, key) is not None:
        return
    begin = time.monotonic()
    every = opened.split_points(max_tensors=_MAX_TENSORS)
    chosen = [(point,) for point in select(every, count, seed)]
    graph = opened.graph
    rows: list[CutCheck] = []
    with Executor(opened.frozen.path) as executor:
        # As long as this one lives the weights stay in memory; else each cut would read them from the file anew.
        holder = executor.prepare(graph.inputs, graph.outputs, warm=False)
        for row in check_cuts(executor, (graph.inputs, graph.outputs), chosen, seed=seed):
            rows.append(row)
            yield len(rows), len(chosen)
        holder.release()
    single = sum(len(point.tensors) == 1 for point in every)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    _keep(
        folder, Checked(opened.name, key, single, len(every) - single, tuple(rows), time.monotonic() - begin, finished)
    )


def select(points: Sequence[SplitPoint], count: int, seed: int) -> list[SplitPoint]:
    """Which cuts to run.

    Args:
        points: all of them.
        count: so many of one tensor, and where there are fewer, the rest of several tensors; 0 for all of one tensor.
        seed: draws them.

    Returns:
        In their order; those of several tensors are `_SEVERAL` where that is more.
    """
    single = [point for point in points if len(point.tensors) == 1]
    several = [point for point in points if len(point.tensors) > 1]
    first = sample(single, count or len(single), seed)
    second = sample(several, max(_SEVERAL, count - len(first)), seed)
    return sorted([*first, *second], key=lambda point: point.position)


def kept(folder: Path, name: str, key: str | None = None) -> Checked | None:
    """What an earlier run found of a model; None where there is nothing, or it depended on something else.

    Args:
        folder: of finished models.
        name: of the model.
        key: see `Checked`; None for any.
    """
    try:
        content: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
        if content.pop("format") != _FORMAT:
            return None
        rows = tuple(_row(row) for row in content.pop("rows"))
        found = Checked(rows=rows, **content)
    except FileNotFoundError:
        return None
    return found if key in {None, found.key} else None


def _row(content: dict[str, Any]) -> CutCheck:
    tensors = tuple(tuple(names) for names in content["tensors"])
    return CutCheck(**{**content, "cut": tuple(content["cut"]), "tensors": tensors})


def _keep(folder: Path, checked: Checked) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{checked.model}.partial"
    partial.write_text(json.dumps({"format": _FORMAT, **asdict(checked)}, indent=1) + "\n", "utf-8")
    partial.replace(folder / f"{checked.model}.json")


def _key(opened: OpenedModel, count: int, seed: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {opened.frozen.graph_sha256()} {count} {seed} {tensorflow_version()}".encode())
    for package in (execute, cuts, graphdef):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    model = open_source(ModelSource(sys.argv[1]))
    for done, of in run(model, int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])):
        sys.stdout.write(json.dumps({"done": done, "of": of}) + "\n")
        sys.stdout.flush()
