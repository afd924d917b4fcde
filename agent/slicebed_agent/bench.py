"""The run's tools: what each stage does, how boundaries are read, what the camera shows and how answers are judged."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from slicebed_agent import codec
from slicebed_agent.config import Classify, Exit
from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.media.show import open_show
from slicebed_agent.media.transform import Transform, classify
from slicebed_agent.model import codec as tensor_proto
from slicebed_agent.model.early_exit import confidence
from slicebed_agent.model.held import Cut
from slicebed_agent.pipeline.contracts import Bench, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from slicebed_agent.config import Assignment, Kind
    from slicebed_agent.film import Film
    from slicebed_agent.media.plan import ShowPlan
    from slicebed_agent.media.show import Show
    from slicebed_agent.model.files import Store
    from slicebed_agent.model.held import Held, HeldSlice, Versions
    from slicebed_agent.model.reference import References
    from slicebed_agent.pipeline.contracts import Tensors, Work


@dataclasses.dataclass(frozen=True)
class Shelf:
    """What an agent keeps between runs: files, open models, and the whole models' answers."""

    store: Store
    held: Held
    references: References


def make(assignment: Assignment, versions: Versions, shelf: Shelf, open_until: contextlib.ExitStack) -> Bench:
    """The tools of a run.

    Args:
        assignment: what the run asks for.
        versions: the slices of its stages.
        shelf: of the agent.
        open_until: closes what the camera shows.

    Raises:
        AgentConfigError: the model does not take such images, or a file is missing or no film.
        AgentError: the whole model cannot be run.
    """
    work = {name: _work(name, kind, versions) for name, kind in assignment.kinds.items()}
    bench = Bench(work=work, decode=codec.decode, answer=tensor_proto.encode)
    if assignment.film is None:
        return bench
    show = _show(assignment.film, shelf, open_until)
    judge = show.judge if assignment.film.show.check else None
    return dataclasses.replace(bench, draw=show.draw, judge=judge, drawn_bytes=show.frame_bytes)


def boundary_bytes(assignment: Assignment, drawn_bytes: int, made: Mapping[str, HeldSlice]) -> int:
    """Bytes that a frame has when it leaves this agent, before any codec; 0 where that is for another agent to say.

    Args:
        assignment: what the run asks for.
        drawn_bytes: of a frame as the camera draws it; 0 without one.
        made: its slices, ready, by their stages' names.
    """
    found = drawn_bytes
    for name, kind in assignment.kinds.items():
        if isinstance(kind, Transform):
            found = assignment.warm_batch * kind.height * kind.width * len(kind.scale) * np.dtype(np.float32).itemsize
        elif isinstance(kind, Cut):
            found = assignment.warm_batch * made[name].frame_bytes()
    return found


def _show(film: Film, shelf: Shelf, open_until: contextlib.ExitStack) -> Show:
    plan = film.show
    if film.file_sha256:
        plan = film.at(_path(film.file_sha256, shelf.store, open_until))
    show = open_show(plan, shelf.references, shelf.held.executor)
    open_until.callback(show.close)
    return show


@contextlib.contextmanager
def film_of(film: Film, store: Store) -> Iterator[ShowPlan]:
    """What a camera shows, its file kept while the block lasts.

    Raises:
        AgentConfigError: the file is not on this host.
    """
    with contextlib.ExitStack() as open_until:
        yield film.at(_path(film.file_sha256, store, open_until)) if film.file_sha256 else film.show


def _path(sha256: str, store: Store, open_until: contextlib.ExitStack) -> Path:
    if store.get(sha256) is None:
        raise AgentConfigError(
            f"file {sha256[:12]} is not on this host", where="source.file_sha256", mend="copy it: slicebed run does"
        )
    return open_until.enter_context(store.use(sha256))


def _work(name: str, kind: Kind, versions: Versions) -> Work:
    if isinstance(kind, Transform):
        return _unversioned(lambda tensors: Result(kind(tensors)))
    if isinstance(kind, Classify):
        return _unversioned(lambda tensors: classify(tensors, kind.top))
    if isinstance(kind, Exit):
        return _early_exit(name, kind.threshold, versions)
    return lambda version, tensors: Result(versions.run(name, version, tensors))


def _unversioned(work: Callable[[Tensors], Result]) -> Work:
    return lambda _version, tensors: work(tensors)


def _early_exit(name: str, threshold: float, versions: Versions) -> Work:
    def judge(version: int, tensors: Tensors) -> Result:
        answer = versions.run(name, version, tensors)
        if len(answer) != 1:
            raise AgentError(f"the exit's head gave {len(answer)} tensors, not one", where=name)
        sure = confidence(answer[0])
        notes = {"confidence": sure}
        return Result(answer, answered=True, notes=notes) if sure >= threshold else Result(tensors, notes=notes)

    return judge
