"""Profiles a model on this host: the whole and its parts, by turns."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
import platform
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.cuts.choose import choose
from slicebed_agent.model.cuts.layers import layer_points
from slicebed_agent.model.execute.check import TOLERANCE, seeded_frame
from slicebed_agent.model.profile import host
from slicebed_agent.model.profile.boundaries import ProfiledExecutor, divide, fusion_safe
from slicebed_agent.model.profile.memory import process_memory
from slicebed_agent.model.profile.operators import operator_times
from slicebed_agent.model.profile.record import HostFacts, Profile, Segment, Settings, Sum
from slicebed_agent.model.profile.rounds import EmptyCall, time_rounds
from slicebed_agent.model.profile.statistics import estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from slicebed_agent.model.execute.slice import Slice
    from slicebed_agent.model.execute.tensors import Array
    from slicebed_agent.model.graph import Graph, SplitPoint
    from slicebed_agent.model.load import FrozenModel
    from slicebed_agent.model.profile.boundaries import Part
    from slicebed_agent.model.profile.record import OperatorTimes
    from slicebed_agent.model.profile.rounds import Runnable

_WARMUP_ROUNDS: Final = 5
_LEAST_ROUNDS: Final = 3


class Boundaries(enum.StrEnum):
    """Between which places the parts lie: fusion-safe split points, every split point, or those of a given cut."""

    SAFE = "safe"
    EVERY = "every"
    CUT = "cut"

    @classmethod
    def of(cls, *, every: bool, cut: Sequence[str]) -> Boundaries:
        """Which are meant, by a command line's options.

        Raises:
            AgentConfigError: both are given.
        """
        if every and cut:
            raise AgentConfigError("every split point and a cut", where="--cut", mend="give one of --every and --cut")
        return cls.CUT if cut else cls.EVERY if every else cls.SAFE


class Level(enum.StrEnum):
    """Split points of operators, or only those between layers."""

    OPERATOR = "op"
    LAYER = "layer"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is to be profiled, and how.

    Attributes:
        boundaries: of kind CUT where `cut` is given, and only there.
        level: of the split points; a cut may name either.
        cut: names of split points, in the model's order.
        max_tensors: how many tensors may cross a boundary.
        repeats: rounds that are counted, 3 or more; each runs everything once.
        cores: to run on; None for all that this process may use.
        batch: frames in a run.
        seed: of the frame and of the order within each round.
        memory: whether each part, and the whole, also runs in a process of its own.
        operators: whether the whole also runs with tracing, for the times of its operators.
    """

    boundaries: Boundaries = Boundaries.SAFE
    level: Level = Level.OPERATOR
    cut: tuple[str, ...] = ()
    max_tensors: int = 1
    repeats: int = 30
    cores: tuple[int, ...] | None = None
    batch: int = 1
    seed: int = 0
    memory: bool = False
    operators: bool = False

    def check(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            AgentConfigError: a number is too small, or the boundaries are both chosen and given.
        """
        if self.repeats < _LEAST_ROUNDS:
            raise AgentConfigError(
                f"{self.repeats} repeats",
                where="--repeats",
                mend=f"give {_LEAST_ROUNDS} or more, 30 for a good interval",
            )
        if self.batch < 1:
            raise AgentConfigError(f"{self.batch} frames", where="--batch", mend="give 1 or more")
        if self.seed < 0:
            raise AgentConfigError(f"seed {self.seed}", where="--draw", mend="give 0 or more")
        if bool(self.cut) != (self.boundaries is Boundaries.CUT):
            raise AgentConfigError(
                f"boundaries {self.boundaries} and cut {','.join(self.cut)!r}",
                where="--cut",
                mend="give the split points of a cut, or let the boundaries be safe or every",
            )


def profile(frozen: FrozenModel, options: Options | None = None) -> Profile:
    """Profile a model on this host.

    The process must not have run a slice with another number of cores: TensorFlow's threads are made once. Nothing
    else should run on the machine; the profile tells its load.

    Args:
        frozen: the model.
        options: what, and how.

    Raises:
        AgentConfigError: the options name what is not there.
        AgentError: TensorFlow's threads are not as many as cores; TensorFlow is missing or refuses a part; the parts in
            a row do not give what the whole gives; a boundary's size is not known.
    """
    options = options or Options()
    options.check()
    graph = frozen.read_graph()
    with host.pinned(options.cores) as cores, ProfiledExecutor(frozen.path) as executor:
        parts = divide(graph, _chosen(executor, graph, options))
        before = (host.clock_mhz(cores), os.getloadavg()[0])
        found = _measure(executor, graph, parts, options)
        facts = _facts(cores, before)
        whole, segments = found.whole, found.segments
        if options.memory:
            whole, *rest = (_with_memory(frozen, graph, each, options.batch) for each in (whole, *segments))
            segments = tuple(rest)
    return Profile(
        model=frozen.card.name,
        weights=str(frozen.card.weights),
        graph_sha256=frozen.graph_sha256(),
        settings=Settings(
            str(options.boundaries), str(options.level), options.repeats, _WARMUP_ROUNDS, options.batch, options.seed
        ),
        host=facts,
        whole=whole,
        segments=segments,
        sum=found.sum,
        operators=found.operators,
    )


def _chosen(executor: ProfiledExecutor, graph: Graph, options: Options) -> tuple[SplitPoint, ...]:
    points = split_points(graph, "exact", options.max_tensors)
    if options.boundaries is Boundaries.CUT:
        taken = {point.name for point in points}
        by_layer = [point for point in layer_points(graph, points) if point.name not in taken]
        return choose([*points, *by_layer], options.cut)
    if options.boundaries is Boundaries.SAFE:
        points = fusion_safe(executor, graph, points)
    return points if options.level is Level.OPERATOR else layer_points(graph, points)


@dataclasses.dataclass(frozen=True)
class _Measured:
    """The part of a profile that takes time."""

    whole: Segment
    segments: tuple[Segment, ...]
    sum: Sum
    operators: OperatorTimes | None


def _measure(executor: ProfiledExecutor, graph: Graph, parts: Sequence[Part], options: Options) -> _Measured:
    (entire,) = divide(graph, ())
    cores = sorted(os.sched_getaffinity(0))
    frame = tuple(seeded_frame(each, options.seed, options.batch) for each in executor.describe(graph.inputs))
    prepared: list[tuple[Slice, tuple[Array, ...]]] = []
    made: list[tuple[Array, ...]] = []
    with contextlib.ExitStack() as stack:
        # Each part is given what the part before it really made of the frame.
        for part, given in _in_a_row(entire, parts):
            arrays = frame if given is None else made[given]
            prepared.append((executor.prepare(part.feeds, part.fetches, example=arrays), arrays))
            stack.callback(prepared[-1][0].release)
            made.append(prepared[-1][0].run(arrays))
            if len(prepared) == 1:
                host.pool_threads(cores)  # before minutes are spent
        _check_equal(made[-1], made[0], graph.outputs)
        nothing = stack.enter_context(contextlib.closing(EmptyCall()))
        runs: list[tuple[Runnable, tuple[Array, ...]]] = [*prepared, (nothing, nothing.arrays)]
        traced = None
        if options.operators:
            traced = stack.enter_context(contextlib.closing(executor.prepare_traced(graph.inputs, graph.outputs)))
            runs.append((traced, frame))
        times = time_rounds(runs, rounds=options.repeats, warmup_rounds=_WARMUP_ROUNDS, seed=options.seed)
        seconds, calls = times[: len(prepared)], times[len(prepared)]
        whole, *segments = [
            _segment(part, each, arrays, spent)
            for part, (each, _), arrays, spent in zip((entire, *parts), prepared, made, seconds, strict=True)
        ]
    told = [] if traced is None else traced.told[-options.repeats :]
    operators = operator_times(graph, told, times[-1], seconds[0]) if told else None
    return _Measured(whole, tuple(segments), _sum(np.array(seconds), np.array(calls)), operators)


def _in_a_row(entire: Part, parts: Sequence[Part]) -> list[tuple[Part, int | None]]:
    """The whole, then the parts; each with the place of what makes its arrays, None where that is the frame."""
    return [(entire, None), *((part, place or None) for place, part in enumerate(parts))]


def _check_equal(found: Sequence[Array], expected: Sequence[Array], names: Sequence[str]) -> None:
    for name, one, two in zip(names, found, expected, strict=True):
        scale = np.max(np.abs(two), initial=0)
        if not np.allclose(one, two, rtol=0, atol=TOLERANCE * float(scale)):
            raise AgentError(
                f"the parts in a row give another {name} than the whole",
                where="profile",
                mend="run `slicebed model check --all` to find where",
            )


def _segment(part: Part, prepared: Slice, made: Sequence[Array], seconds: Sequence[float]) -> Segment:
    return Segment(
        name=part.name,
        operators=part.operators,
        feeds=part.feeds,
        fetches=part.fetches,
        flops=part.flops,
        parameters=part.parameters,
        weights_bytes=prepared.weights_bytes,
        fetched_bytes=sum(array.nbytes for array in made),
        time_s=estimate(seconds),
        samples_s=tuple(seconds),
    )


def _sum(seconds: npt.NDArray[np.float64], calls: npt.NDArray[np.float64]) -> Sum:
    """From seconds by run (the whole first) and round, and of a call for nothing by round."""
    whole, total = seconds[0], seconds[1:].sum(axis=0)
    extra = (len(seconds) - 2) * np.median(calls)
    return Sum(
        time_s=estimate(total),
        to_whole=estimate(total / whole),
        call_s=estimate(calls),
        without_calls_to_whole=estimate((total - extra) / whole),
    )


def _facts(cores: tuple[int, ...], before: tuple[tuple[float, ...] | None, float]) -> HostFacts:
    return HostFacts(
        machine=platform.machine(),
        processor=host.processor(),
        cores=cores,
        pool_threads=host.pool_threads(cores),
        mhz_before=before[0],
        mhz_after=host.clock_mhz(cores),
        load_before=before[1],
        load_after=os.getloadavg()[0],
        versions=host.versions(),
        onednn=os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
    )


def _with_memory(frozen: FrozenModel, graph: Graph, segment: Segment, batch: int) -> Segment:
    found = process_memory(frozen.path, graph, (segment.feeds, segment.fetches), batch=batch)
    return dataclasses.replace(segment, memory=found)
