"""Where a model may be divided without taking apart what the whole runs as one kernel."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from slicebed_agent.model.cuts.points import is_alias, origins
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.profile.trace import TracedRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph, Operator, SplitPoint, Tensor


class ProfiledExecutor(Executor):
    """An executor that also tells what it folds and what runs, by the same steps by which it prepares a slice."""

    def prepare_traced(self, feeds: Sequence[str], fetches: Sequence[str]) -> TracedRun:
        """The part between two boundaries, to be run with tracing, apart from the slice that is run without.

        Raises:
            AgentConfigError: there are no such tensors, or the fetches need more than the feeds.
            AgentError: TensorFlow refuses the graph.
        """
        computed = [name for name in dict.fromkeys(fetches) if name not in feeds]
        session, _weights_bytes = self._open(self.describe(feeds), computed)
        return TracedRun(session)

    def folded_away(self, feeds: Sequence[str], fetches: Sequence[str]) -> frozenset[str]:
        """Tensors that the slice between two boundaries never makes, but would if a cut were there.

        Those are the outputs of convolutions whose factors go into the filters, and what their offsets are added to
        (see `fusion`): both folds need a tensor that is not fetched.

        Raises:
            AgentConfigError: the fetches need more than the feeds.
            AgentError: a constant cannot be computed.
        """
        nodes = self._graph.between(frozenset(feeds), fetches)
        fused, _constants = self._load(nodes, frozenset(feeds), fetches)
        folded = {f"{node.name}:0" for node in nodes if node.name not in fused.nodes}
        for node in nodes:
            run = fused.nodes.get(node.name)
            if run is not None and run.op == "BiasAdd" != node.op:
                folded.add(run.inputs[0])
        return frozenset(folded)


def fusion_safe(executor: ProfiledExecutor, graph: Graph, points: Sequence[SplitPoint]) -> tuple[SplitPoint, ...]:
    """Those of a graph's split points at which the whole model is not fused.

    A point is unsafe where one of its tensors

    - is folded away by the executor when it runs the whole model, or
    - comes from an operator with weights and goes to nothing but one that works value by value: an offset, a factor, an
      activation. TensorFlow fuses those with the convolution or product before them (grappler/optimizers/remapper.cc),
      and else lets them write over their input, which they may not do with an array that was fed.

    Args:
        executor: of the model.
        graph: at operator level.
        points: of this graph.

    Raises:
        AgentError: see `ProfiledExecutor.folded_away`.
    """
    unsafe = executor.folded_away(graph.inputs, graph.outputs) | _before_value_by_value(graph)
    return tuple(point for point in points if not any(tensor.name in unsafe for tensor in point.tensors))


def _before_value_by_value(graph: Graph) -> frozenset[str]:
    origin, tensors = origins(graph), graph.tensors()
    takers: dict[str, list[Operator]] = defaultdict(list)
    for operator in graph.operators:
        if not is_alias(operator):
            for name in dict.fromkeys(origin[each] for each in operator.inputs):
                takers[name].append(operator)
    leaving = {origin[name] for name in graph.outputs}
    with_weights = {each.name for each in graph.operators if _has_weights(graph, each)}
    return frozenset(
        name
        for name, (first, *others) in takers.items()
        if not others
        and name not in leaving
        and tensors[name].operator in with_weights
        and _is_value_by_value(first, tensors[name])
    )


def _has_weights(graph: Graph, operator: Operator) -> bool:
    return any(graph.constants[key].is_parameter for key in operator.constants)


def _is_value_by_value(operator: Operator, taken: Tensor) -> bool:
    """Whether it makes each value of its only input into one, with no more work than a multiplication and a sum."""
    made = operator.outputs[0]
    same = (made.shape, made.dtype) == (taken.shape, taken.dtype)
    return len(operator.inputs) == 1 and same and 0 < operator.flops <= 2 * (made.elements or 0)


@dataclass(frozen=True)
class Part:
    """What lies between two neighbouring boundaries.

    Attributes:
        name: of the split point at its end; of the last part, of the operator that ends the model.
        operators: in the graph's order.
        feeds: names of the tensors that enter.
        fetches: names of those that leave.
        flops: for one frame.
        parameters: weights that it uses; one that several parts use counts in each.
    """

    name: str
    operators: tuple[str, ...]
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    flops: int
    parameters: int


def divide(graph: Graph, points: Sequence[SplitPoint]) -> tuple[Part, ...]:
    """The parts between split points: one more than there are points; together they are the graph.

    Args:
        graph: of a model.
        points: of this graph, in its order.
    """
    ends = [0, *(point.position for point in points), len(graph.operators)]
    names = [*(point.name for point in points), graph.operators[-1].name]
    crossing = [graph.inputs, *(tuple(tensor.name for tensor in point.tensors) for point in points), graph.outputs]
    return tuple(
        _part(graph, name, graph.operators[start:end], feeds, fetches)
        for name, (start, end), (feeds, fetches) in zip(names, pairwise(ends), pairwise(crossing), strict=True)
    )


def _part(
    graph: Graph, name: str, operators: Sequence[Operator], feeds: tuple[str, ...], fetches: tuple[str, ...]
) -> Part:
    used = {key for operator in operators for key in operator.constants}
    return Part(
        name=name,
        operators=tuple(operator.name for operator in operators),
        feeds=feeds,
        fetches=fetches,
        flops=sum(operator.flops for operator in operators),
        parameters=sum(graph.constants[key].elements for key in used if graph.constants[key].is_parameter),
    )
