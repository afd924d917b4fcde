"""The best partition of a model on two tiers, as a minimum cut of its graph.

Source: Hu et al., "Dynamic Adaptive DNN Surgery for Inference Acceleration on the Edge" (INFOCOM 2019), DADS. An
operator on the side of the source runs at the first tier. Cut edges are what is paid: from an operator to the sink its
time at the first tier, from the source to it its time at the second, and one edge per tensor its time on the link,
paid once however many operators take it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slicebed_agent.model.graph import Graph, Tensor

# Capacities are whole picoseconds: with floats, rounding could leave a saturated edge a little open.
_PER_SECOND: Final = 10**12


@dataclass(frozen=True)
class Partition:
    """Where each operator runs.

    Attributes:
        first: names of the operators at the first tier; the rest run at the second. All of them: nothing is sent.
        crossing: tensors that are sent, in the graph's order.
        seconds: operators one after the other, and the link, for one frame.
    """

    first: frozenset[str]
    crossing: tuple[Tensor, ...]
    seconds: float


@dataclass(frozen=True)
class Tiers:
    """What the two tiers and the link between them take.

    Attributes:
        first_s, second_s: time of each operator at each tier, seconds, by the operator's name.
        bandwidth_byte_per_s: of the link, from the first tier to the second.
        latency_s: added once where anything crosses.
        together: operators whose times are told as one, by their names: they are not parted.
    """

    first_s: Mapping[str, float]
    second_s: Mapping[str, float]
    bandwidth_byte_per_s: float
    latency_s: float = 0.0
    together: tuple[frozenset[str], ...] = ()


def best_partition(graph: Graph, tiers: Tiers) -> Partition:
    """The partition of least total time.

    Inputs arrive at the first tier. No operator at the second feeds one at the first. If anything runs at the second
    tier, the answer leaves from there: outputs made at the first are sent too. Control edges do not cross, and
    operators that belong together are at one tier; where an input is among them, that is the first.

    Args:
        graph: of a model.
        tiers: times and link.

    Raises:
        AgentConfigError: a time or a size is missing or negative, the link carries nothing, or what is to stay together
            is not in the graph.
    """
    _check(graph, tiers)
    networkx: Any = importlib.import_module("networkx")
    _, (near, _) = networkx.minimum_cut(_network(networkx, graph, tiers), _SOURCE, _SINK)
    cut = evaluate(graph, tiers, frozenset(each.name for each in graph.operators if ("operator", each.name) in near))
    # The latency is no edge's: it is paid by every partition but the one that sends nothing.
    whole = evaluate(graph, tiers, frozenset(each.name for each in graph.operators))
    return min(whole, cut, key=lambda each: each.seconds)


def evaluate(graph: Graph, tiers: Tiers, first: frozenset[str]) -> Partition:
    """The time of a partition, and what crosses; `first` must hold all that its members depend on."""
    crossing: tuple[Tensor, ...] = ()
    if any(each.name not in first for each in graph.operators):
        needed = {name for each in graph.operators if each.name not in first for name in each.inputs} | set(
            graph.outputs
        )
        made = (tensor for each in graph.operators if each.name in first for tensor in each.outputs)
        crossing = tuple(tensor for tensor in made if tensor.name in needed)
    seconds = sum((tiers.first_s if each.name in first else tiers.second_s)[each.name] for each in graph.operators)
    if crossing:
        seconds += tiers.latency_s + sum(_bytes(tensor) for tensor in crossing) / tiers.bandwidth_byte_per_s
    return Partition(first, crossing, seconds)


_SOURCE: Final = ("tier", "first")
_SINK: Final = ("tier", "second")
_ANSWER: Final = ("answer", "")


def _network(networkx: Any, graph: Graph, tiers: Tiers) -> Any:
    """The flow network; an edge without capacity is infinite, and forbids its head at the second tier's side."""
    flow = networkx.DiGraph()
    fed = {name.rpartition(":")[0] for name in graph.inputs}
    for operator in graph.operators:
        node = ("operator", operator.name)
        flow.add_edge(node, _SINK, capacity=round(tiers.first_s[operator.name] * _PER_SECOND))
        if operator.name in fed:
            flow.add_edge(_SOURCE, node)
        else:
            flow.add_edge(_SOURCE, node, capacity=round(tiers.second_s[operator.name] * _PER_SECOND))
        # Where one operator is at the second tier, so is the answer.
        flow.add_edge(_ANSWER, node)
        for name in operator.inputs:
            flow.add_edge(("tensor", name), node)
            flow.add_edge(node, ("operator", name.rpartition(":")[0]))
    used = {name for operator in graph.operators for name in operator.inputs} | set(graph.outputs)
    for operator in graph.operators:
        for tensor in operator.outputs:
            if tensor.name in used:
                picoseconds = round(_bytes(tensor) * _PER_SECOND / tiers.bandwidth_byte_per_s)
                flow.add_edge(("operator", operator.name), ("tensor", tensor.name), capacity=picoseconds)
    for name in graph.outputs:
        flow.add_edge(("tensor", name), _ANSWER)
    for one, other in _unparted(graph, tiers):
        flow.add_edge(("operator", one), ("operator", other))
        flow.add_edge(("operator", other), ("operator", one))
    return flow


def _unparted(graph: Graph, tiers: Tiers) -> Iterator[tuple[str, str]]:
    """Pairs of operators that are at one tier."""
    for operator in graph.operators:
        yield from ((operator.name, name) for name in operator.control_inputs)
    for group in tiers.together:
        yield from pairwise(sorted(group))


def _bytes(tensor: Tensor) -> int:
    if tensor.bytes_per_frame is None:
        raise AgentConfigError(
            f"the size of {tensor.name} is not known", where="min-cut", mend="give the input's shape"
        )
    return tensor.bytes_per_frame


def _check(graph: Graph, tiers: Tiers) -> None:
    if not tiers.bandwidth_byte_per_s > 0 or not tiers.latency_s >= 0:
        raise AgentConfigError(
            f"a link of {tiers.bandwidth_byte_per_s} bytes/s and {tiers.latency_s} s",
            where="min-cut",
            mend="give a bandwidth above 0 and a latency of 0 or more",
        )
    unknown = frozenset[str]().union(*tiers.together).difference(each.name for each in graph.operators)
    if unknown:
        raise AgentConfigError(
            f"no operator {min(unknown)} in the graph", where="min-cut", mend="profile this model with this version"
        )
    for times, tier in ((tiers.first_s, "first"), (tiers.second_s, "second")):
        for operator in graph.operators:
            if not times.get(operator.name, -1.0) >= 0:
                raise AgentConfigError(
                    f"operator {operator.name} has no time at the {tier} tier", where="min-cut", mend="profile it there"
                )
