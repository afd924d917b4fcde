"""What crosses at each place of a graph's order, and the split point that stands there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graph import SplitPoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed_agent.model.graph import Graph, Operator, Tensor

# Their outputs are their inputs, bit by bit, at inference. PreventGradient and StopGradient act on gradients only.
_ALIASES: Final = frozenset({"Identity", "IdentityN", "Snapshot", "StopGradient", "PreventGradient"})


def is_alias(operator: Operator) -> bool:
    """Whether an operator only hands its inputs on, so that either side of a cut may run it again.

    One that waits for a control input is none: it could not run on the other side.
    """
    return (
        operator.kind in _ALIASES
        and not operator.control_inputs
        and not operator.constants
        and len(operator.inputs) == len(operator.outputs)
    )


def origins(graph: Graph) -> dict[str, str]:
    """The tensor that each tensor is an alias of; itself where it is none."""
    found: dict[str, str] = {}
    for operator in graph.operators:
        handed_on = is_alias(operator)
        for place, tensor in enumerate(operator.outputs):
            found[tensor.name] = found[operator.inputs[place]] if handed_on else tensor.name
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order.

    Attributes:
        position: operators before it.
        live: tensors made before it that are needed after it, in the order in which they were made; aliases are seen
            through. The mapping changes with the sweep: copy what is to be kept.
        controlled: whether a control edge crosses: an operator behind it waits for one before it.
    """

    position: int
    live: Mapping[str, Tensor]
    controlled: bool


def sweep(graph: Graph) -> Iterator[Place]:
    """Every place between two operators, from the first to the last, in time linear in operators and edges.

    An output of the model stays live to the end: the last slice answers with all of them.
    """
    origin = origins(graph)
    alias = [is_alias(operator) for operator in graph.operators]
    end = len(graph.operators)
    last_use: dict[str, int] = {}
    for index, operator in enumerate(graph.operators):
        if not alias[index]:
            last_use.update((origin[name], index) for name in operator.inputs)
    last_use.update((origin[name], end) for name in graph.outputs)
    crossings = _control_edges(graph)
    live: dict[str, Tensor] = {}
    open_edges = 0
    for index, operator in enumerate(graph.operators[:-1]):
        open_edges += crossings[index]
        if not alias[index]:
            for name in operator.inputs:
                if last_use[origin[name]] == index:
                    live.pop(origin[name], None)
            for tensor in operator.outputs:
                if last_use.get(tensor.name, -1) > index:
                    live[tensor.name] = tensor
        yield Place(index + 1, live, open_edges > 0)


def _control_edges(graph: Graph) -> list[int]:
    """By operator: control edges that begin at it less those that end at it."""
    index = {operator.name: place for place, operator in enumerate(graph.operators)}
    change = [0] * len(graph.operators)
    for place, operator in enumerate(graph.operators):
        for name in operator.control_inputs:
            change[index[name]] += 1
            change[place] -= 1
    return change


def inner_places(graph: Graph) -> range:
    """Positions that are not bypassed: behind the placeholders and the first operator, before the last one.

    Couper, section 5.1: behind the first operator (which takes the input) or the last one, a model is not sliced at
    all. Aliases at the end belong to the last operator.
    """
    fed = {name.rpartition(":")[0] for name in graph.inputs}
    first = max((place for place, each in enumerate(graph.operators) if each.name in fed), default=-1)
    last = max((place for place, each in enumerate(graph.operators) if not is_alias(each)), default=0)
    return range(first + 2, last + 1)


class Sides:
    """What lies on each side of any place: computed once for a graph, then a look-up per split point."""

    def __init__(self, graph: Graph) -> None:
        """Add up work and weights; a weight counts on each side that uses it."""
        self._graph = graph
        self._flops = [0, *accumulate(operator.flops for operator in graph.operators)]
        starts = [0] * (len(graph.operators) + 1)
        ends = [0] * (len(graph.operators) + 1)
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for place, operator in enumerate(graph.operators):
            for name in operator.constants:
                first.setdefault(name, place)
                last[name] = place
        for name, place in first.items():
            if graph.constants[name].is_parameter:
                starts[place + 1] += graph.constants[name].elements
                ends[last[name] + 1] += graph.constants[name].elements
        self._begun = list(accumulate(starts))
        self._ended = list(accumulate(ends))

    def point(self, position: int, tensors: Sequence[Tensor]) -> SplitPoint:
        """The split point at a place.

        Args:
            position: operators before it.
            tensors: what crosses there, in the order in which it was made.
        """
        return SplitPoint(
            name="+".join(_short(tensor) for tensor in tensors),
            position=position,
            tensors=tuple(tensors),
            layer=self._graph.operators[position - 1].layer,
            flops_before=self._flops[position],
            flops_after=self._flops[-1] - self._flops[position],
            parameters_before=self._begun[position],
            parameters_after=self._begun[-1] - self._ended[position],
        )


def _short(tensor: Tensor) -> str:
    operator, _, number = tensor.name.rpartition(":")
    return operator if number == "0" else tensor.name
