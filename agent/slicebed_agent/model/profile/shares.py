"""Which share of a model's time lies on each side of a cut, from the times of its kernels.

The whole model's kernels are timed as they run when nothing is cut. A kernel that does the work of operators on both
sides of a cut does not run in a slice: there the side with the costly operator (a convolution, a product) takes what
the kernel took, since an epilogue that is fused with it is nearly free, and the other side pays for its operators as
they run alone. Those times come from a run in which every split point's tensors are returned, so that nothing is fused
across any of them.
"""

from __future__ import annotations

import dataclasses
import enum
import graphlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.graph import Graph, Operator
from slicebed_agent.model.profile.operators import bearers_of, elapsed_shares, kernels_of
from slicebed_agent.model.profile.statistics import Estimate
from slicebed_agent.model.profile.trace import read_kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed_agent.model.execute.nodes import Node

_COSTLY: Final = ("Conv", "MatMul", "DepthwiseConv", "Einsum")
_RESAMPLES: Final = 200
_SEED: Final = 20201123
_PERCENTILES: Final = (2.5, 97.5)

Numbers = npt.NDArray[np.float64]


class By(enum.Enum):
    """What a kernel's time is, of those of all rounds.

    Without a limit of processor time it is the median: what made it wait in one round counts for nothing. Under one
    that stops a run a few times, the shortest: each kernel was stopped in many rounds, but hardly in all of them. Where
    a run is stopped many times a long kernel always is, while a short one seldom is; but the stops before a cut are as
    many, to one, as the run up to there is long, so the mean is right.
    """

    MEDIAN = "median"
    SHORTEST = "shortest"
    MEAN = "mean"


_MIDDLES: Final[dict[By, Callable[..., Numbers]]] = {
    By.MEDIAN: np.median,
    By.SHORTEST: np.min,
    By.MEAN: np.mean,
}


@dataclasses.dataclass(frozen=True)
class Sides:
    """Operators that a slice up to the cut runs, and those of a slice behind it; some may be of both."""

    before: frozenset[str]
    after: frozenset[str]


@dataclasses.dataclass(frozen=True)
class KernelTimes:
    """Times of kernels.

    Attributes:
        names: of the operators that they are named after.
        members: of each kernel, the operators whose work it does.
        seconds: elapsed time that each stands for, kernel by kernel, round by round.
    """

    names: tuple[str, ...]
    members: tuple[frozenset[str], ...]
    seconds: Numbers


def operators_of(nodes: Sequence[Node], feeds: Sequence[str], fetches: Sequence[str]) -> Graph:
    """The nodes of a slice as a graph, as far as `operators` looks at one: without sizes.

    Raises:
        AgentConfigError: they form a loop.
    """
    by_name = {node.name: node for node in nodes}
    needs = {
        node.name: [source for each in node.inputs if each not in feeds and (source := _node(each)) in by_name]
        for node in nodes
    }
    try:
        order = tuple(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        raise AgentConfigError("the model has a loop", where="profile", mend="profile one without") from error
    fed = frozenset(feeds)
    made = [_operator(by_name[name], fed, by_name) for name in order]
    return Graph("", tuple(made), tuple(feeds), tuple(fetches))


def _operator(node: Node, fed: frozenset[str], inside: Mapping[str, Node]) -> Operator:
    varying = tuple(each for each in node.inputs if each in fed or _node(each) in inside)
    constants = tuple(each for each in node.inputs if each not in varying)
    return Operator(node.name, node.op, varying, (), constants, node.controls)


def _node(tensor: str) -> str:
    return tensor.rpartition(":")[0]


def kernel_times(graph: Graph, told: Sequence[bytes]) -> KernelTimes:
    """Times of kernels, by the operators whose work they do.

    Args:
        graph: see `operators_of`.
        told: a serialised RunMetadata per round.

    Raises:
        AgentError: see `trace.read_kernels`.
    """
    runs = [read_kernels(each) for each in told]
    bearers = bearers_of(graph, {kernel.name for run in runs for kernel in run})
    members: defaultdict[str, set[str]] = defaultdict(set)
    for name, kernel in kernels_of(graph, bearers).items():
        if kernel is not None:
            members[kernel].add(name)
    names = tuple(members)
    places = {name: place for place, name in enumerate(names)}
    seconds = np.zeros((len(names), len(runs)))
    for number, run in enumerate(runs):
        for name, spent in elapsed_shares(run).items():
            if name in bearers:
                seconds[places[bearers[name]], number] += spent
    return KernelTimes(names, tuple(frozenset(members[name]) for name in names), seconds)


@dataclasses.dataclass(frozen=True)
class Shares:
    """Of one cut: which shares of the whole's time its two slices take; together more than 1 where cutting costs."""

    before: Estimate
    after: Estimate


def is_taken_apart(times: KernelTimes, sides: Sequence[Sides]) -> bool:
    """Whether any cut divides a kernel."""
    return any(_divides(members, each) for each in sides for members in times.members)


def shares(
    whole: KernelTimes,
    apart: KernelTimes | None,
    kinds: Mapping[str, str],
    sides: Sequence[Sides],
    by: By,
) -> list[Shares]:
    """The shares of every cut, with 95 % intervals (percentile bootstrap over rounds).

    Args:
        whole: of the model as nothing is cut.
        apart: of the run in which nothing is fused across a cut; may be None where no kernel is divided.
        kinds: of the operators.
        sides: of every cut.
        by: what a kernel's time is.
    """
    middle = _MIDDLES[by]
    of_whole = _resampled(whole.seconds, middle)
    total = of_whole.sum(axis=0)
    of_apart = np.zeros((0, of_whole.shape[1])) if apart is None else _resampled(apart.seconds, middle)
    found = []
    for each in sides:
        ends = []
        for here, there in ((each.before, each.after), (each.after, each.before)):
            kept, added = _taken(whole, apart, kinds, here, there)
            ends.append(_estimate((kept @ of_whole + added @ of_apart) / total))
        found.append(Shares(*ends))
    return found


def least_s(times: KernelTimes) -> float:
    """Sum of the kernels, each as short as it ever was."""
    return float(times.seconds.min(axis=1).sum())


def _taken(
    whole: KernelTimes,
    apart: KernelTimes | None,
    kinds: Mapping[str, str],
    here: frozenset[str],
    there: frozenset[str],
) -> tuple[Numbers, Numbers]:
    """Which kernels of the whole run on this side, and which of those that run apart."""
    only_here, only_there = here - there, there - here
    kept = np.zeros(len(whole.names))
    lone: set[str] = set()
    for place, members in enumerate(whole.members):
        if not (members & only_here and members & only_there):
            kept[place] = bool(members & here)
            continue
        costly = {name for name in members if kinds[name].startswith(_COSTLY)}
        if costly & only_here or apart is None:
            kept[place] = 1.0
        else:
            lone |= members & here
    added = np.zeros(0 if apart is None else len(apart.names))
    if apart is not None and lone:
        for place, members in enumerate(apart.members):
            added[place] = bool(members & lone) and not members & only_there
    return kept, added


def _divides(members: frozenset[str], sides: Sides) -> bool:
    return bool(members & (sides.before - sides.after)) and bool(members & (sides.after - sides.before))


def _resampled(seconds: Numbers, middle: Callable[..., Numbers]) -> Numbers:
    """Kernel by kernel the middle of the rounds: of all of them first, then of resampled ones."""
    rounds = seconds.shape[1]
    drawn = np.random.default_rng(_SEED).integers(0, rounds, (_RESAMPLES, rounds))
    return np.stack([middle(seconds[:, each], axis=1) for each in (np.arange(rounds), *drawn)], axis=1)


def _estimate(values: Numbers) -> Estimate:
    low, high = np.percentile(values, _PERCENTILES)
    return Estimate(float(values[0]), float(low), float(high))
