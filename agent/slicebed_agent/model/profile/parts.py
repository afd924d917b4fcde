"""Times a model as a whole, and from its kernels every place where it might be cut; or one slice as it is.

Made for a host with little processor time, in the middle of a campaign: two sessions whatever the number of cuts, and
each round runs the whole model two or three times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.profile.rounds import EmptyCall
from slicebed_agent.model.profile.shares import By, Sides, is_taken_apart, kernel_times, least_s, operators_of, shares
from slicebed_agent.model.profile.statistics import Estimate, estimate
from slicebed_agent.model.profile.trace import TracedRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.execute.session import Session
    from slicebed_agent.model.execute.slice import Slice
    from slicebed_agent.model.execute.tensors import Array
    from slicebed_agent.model.profile.shares import Shares

LEAST_ROUNDS: Final = 2
_APART_EVERY: Final = 3
"""After the first rounds, in which of them the boundaries are returned."""
_MOST_ROUNDS: Final = 200
_CALLS: Final = 30
_MANY_PERIODS: Final = 10
"""With so many periods of a limit in one run, one stop more or less on one side of a cut hardly counts."""
_MAX_BYTES: Final = 2 << 30
"""Of all boundaries together, which are in memory at once."""


class GoneError(AgentError):
    """Whoever asked does not wait any more."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is profiled.

    Attributes:
        feeds: of the whole model.
        fetches: of the whole model.
        cuts: the tensors that cross each split point.
        seconds: how long rounds are made.
        crossing: whether the tensors at every split point are wanted.
        period_s: over which a limit of processor time is counted; 0 without one.
    """

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    cuts: tuple[tuple[str, ...], ...]
    seconds: float
    crossing: bool = False
    period_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Profiled:
    """What was found.

    Attributes:
        whole_s: of the whole model, one a round, without tracing.
        whole_cpu_s: processor time of all threads in those.
        call_s: of a call that computes nothing.
        kernels_s: sum of the kernels, each as short as it ever was.
        shares: of every cut.
        crossing: of every cut, its tensors; () where they were not wanted.
    """

    whole_s: tuple[float, ...]
    whole_cpu_s: tuple[float, ...]
    call_s: Estimate
    kernels_s: float
    shares: tuple[Shares, ...]
    crossing: tuple[tuple[Array, ...], ...]


def profile_cuts(executor: Executor, wanted: Wanted, frame: Sequence[Array], go_on: Callable[[], None]) -> Profiled:
    """Profile a model under every cut at once.

    Args:
        executor: of the model.
        wanted: what is profiled.
        frame: what the model is fed; a batch.
        go_on: called between runs; raises when nobody waits any more.

    Raises:
        AgentConfigError: there are no such tensors, or no slices end there.
        AgentError: TensorFlow refuses to run it, or the boundaries do not fit into memory.
        GoneError: from `go_on`.
    """
    nodes = executor.between(wanted.feeds, wanted.fetches)
    kinds = {node.name: node.op for node in nodes}
    graph = operators_of(nodes, wanted.feeds, wanted.fetches)
    sides = [_sides(executor, wanted, place) for place in range(len(wanted.cuts))]
    inner = _inner(wanted)
    _check_size(executor, inner, len(frame[0]) if frame[0].ndim else 1)
    with contextlib.ExitStack() as stack:
        whole = _open(stack, executor, wanted.feeds, wanted.fetches)
        traced = TracedRun(whole)
        call_s = _call_s(stack)
        # The first run rewrites the graph and builds kernels, the second, whose trace counts for nothing, sizes their
        # buffers.
        for runnable in (whole, traced):
            go_on()
            runnable.run(frame)
        apart: TracedRun | None = None
        if inner and (wanted.crossing or is_taken_apart(kernel_times(graph, traced.told), sides)):
            apart = TracedRun(_open(stack, executor, wanted.feeds, (*inner, *wanted.fetches)))
            go_on()
            apart.run(frame)
        rounds = _Rounds(whole, traced, apart, frame)
        rounds.run(wanted.seconds, go_on)
        crossing = rounds.crossing(wanted, inner) if wanted.crossing else ((),) * len(wanted.cuts)
    times = kernel_times(graph, traced.told[1:])
    lone = None if apart is None else kernel_times(graph, apart.told[1:])
    by = _by(statistics.median(rounds.whole_s), wanted.period_s)
    return Profiled(
        tuple(rounds.whole_s),
        tuple(rounds.whole_cpu_s),
        call_s,
        least_s(times),
        tuple(shares(times, lone, kinds, sides, by)),
        crossing,
    )


def time_slice(prepared: Slice, arrays: Sequence[Array], runs: int, go_on: Callable[[], None]) -> Timed:
    """Time a slice that is warm.

    Args:
        prepared: the slice.
        arrays: what it is fed.
        runs: how often.
        go_on: called between runs; raises when nobody waits any more.

    Raises:
        AgentError: TensorFlow refuses to run it.
        GoneError: from `go_on`.
    """
    seconds, cpu_seconds = [], []
    made: tuple[Array, ...] = ()
    for _ in range(runs):
        go_on()
        begin, cpu_begin = time.perf_counter(), time.process_time()
        made = prepared.run(arrays)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
    return Timed(tuple(seconds), tuple(cpu_seconds), made)


@dataclasses.dataclass(frozen=True)
class Timed:
    """A slice's times, one a run, and what it returned last."""

    slice_s: tuple[float, ...]
    slice_cpu_s: tuple[float, ...]
    made: tuple[Array, ...]


class _Rounds:
    """Rounds in which the whole model runs untraced, traced and, in some of them, with every boundary returned."""

    def __init__(self, whole: Session, traced: TracedRun, apart: TracedRun | None, frame: Sequence[Array]) -> None:
        self._whole, self._traced, self._apart, self._frame = whole, traced, apart, frame
        self._made: tuple[Array, ...] = ()
        self._answer: tuple[Array, ...] = ()
        self.whole_s: list[float] = []
        self.whole_cpu_s: list[float] = []

    def run(self, seconds: float, go_on: Callable[[], None]) -> None:
        """Until the time is over; the boundaries' kernels need fewer rounds, because they are a small part."""
        end = time.monotonic() + seconds
        for number in range(_MOST_ROUNDS):
            if number >= LEAST_ROUNDS and time.monotonic() >= end:
                return
            go_on()
            begin, cpu_begin = time.perf_counter(), time.process_time()
            self._answer = self._whole.run(self._frame)
            self.whole_s.append(time.perf_counter() - begin)
            self.whole_cpu_s.append(time.process_time() - cpu_begin)
            go_on()
            self._traced.run(self._frame)
            if self._apart is not None and (number < LEAST_ROUNDS or number % _APART_EVERY == 0):
                go_on()
                self._made = ()
                self._made = self._apart.run(self._frame)

    def crossing(self, wanted: Wanted, inner: Sequence[str]) -> tuple[tuple[Array, ...], ...]:
        known = dict(zip(wanted.feeds, self._frame, strict=True))
        # A cut at the answers alone makes no session of its own.
        known |= dict(zip((*inner, *wanted.fetches), self._made or self._answer, strict=False))
        return tuple(tuple(known[name] for name in names) for names in wanted.cuts)


def _by(whole_s: float, period_s: float) -> By:
    if not period_s:
        return By.MEDIAN
    return By.MEAN if whole_s > _MANY_PERIODS * period_s else By.SHORTEST


def _sides(executor: Executor, wanted: Wanted, place: int) -> Sides:
    names = wanted.cuts[place]
    try:
        before = executor.between(wanted.feeds, names)
        after = executor.between(names, wanted.fetches)
    except AgentConfigError as error:
        error.where = f"cuts[{place}]"
        raise
    return Sides(frozenset(node.name for node in before), frozenset(node.name for node in after))


def _inner(wanted: Wanted) -> tuple[str, ...]:
    """The tensors of all split points that are neither fed nor answers."""
    ends = {*wanted.feeds, *wanted.fetches}
    return tuple(dict.fromkeys(name for names in wanted.cuts for name in names if name not in ends))


def _open(stack: contextlib.ExitStack, executor: Executor, feeds: Sequence[str], fetches: Sequence[str]) -> Session:
    return stack.enter_context(contextlib.closing(executor.open_session(feeds, fetches)))


def _call_s(stack: contextlib.ExitStack) -> Estimate:
    nothing = stack.enter_context(contextlib.closing(EmptyCall()))
    spent = []
    for _ in range(_CALLS):
        begin = time.perf_counter()
        nothing.run(nothing.arrays)
        spent.append(time.perf_counter() - begin)
    return estimate(spent[_CALLS // 3 :])


def _check_size(executor: Executor, names: Sequence[str], batch: int) -> None:
    total = 0
    for boundary in executor.describe(names):
        count = boundary.dtype.itemsize
        for size in boundary.shape or ():
            count *= batch if size is None else size
        total += count
    if total > _MAX_BYTES:
        raise AgentConfigError(
            f"the boundaries of {len(names)} tensors hold {total / 2**30:.1f} GiB at once",
            where="batch",
            mend=f"allowed: {_MAX_BYTES / 2**30:.0f} GiB; profile fewer cuts, or a smaller batch",
        )
