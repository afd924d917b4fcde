"""Split points that lie between layers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from slicebed_agent.model.cuts.points import is_alias, origins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph, SplitPoint, Tensor


def layer_points(graph: Graph, points: Sequence[SplitPoint]) -> tuple[SplitPoint, ...]:
    """Those of an operator-level graph's split points whose tensors are outputs of layers.

    A tensor is an output of its layer where no operator of the same layer consumes it; aliases are seen through. Where
    layers are name scopes they nest: an inner scope, and the way back from it to a scope that has begun before it
    (as from ``conv1/BatchNorm`` to ``conv1``), is within the outer layer.

    The points take the layer's name (``+`` between several, ``:k`` behind a later output); where two points would get
    the same name, as of a layer that is used twice, both keep the operator's.

    Args:
        graph: at operator level, its layers filled in.
        points: of this graph.
    """
    layer_of = {operator.name: operator.layer for operator in graph.operators}
    inner = _inner(graph)
    kept = [point for point in points if all(tensor.name not in inner for tensor in point.tensors)]
    names = ["+".join(_name(tensor, layer_of[tensor.operator]) for tensor in point.tensors) for point in kept]
    times = Counter(names)
    operator_names = {point.name for point in kept}
    return tuple(
        dataclasses.replace(point, name=name) if times[name] == 1 and name not in operator_names else point
        for point, name in zip(kept, names, strict=True)
    )


def _inner(graph: Graph) -> set[str]:
    """The tensors that some operator of their own layer consumes."""
    origin = origins(graph)
    place_of: dict[str, int] = {}
    begun: dict[str, int] = {}
    inner: set[str] = set()
    for place, operator in enumerate(graph.operators):
        place_of[operator.name] = place
        taker = operator.layer
        begun.setdefault(taker, place)
        if is_alias(operator):
            continue
        for name in {origin[name] for name in operator.inputs}:
            source = place_of[name.rpartition(":")[0]]
            maker = graph.operators[source].layer
            returns = maker.startswith(f"{taker}/") and begun[taker] < source
            if maker == taker or taker.startswith(f"{maker}/") or returns:
                inner.add(name)
    return inner


def _name(tensor: Tensor, layer: str) -> str:
    number = tensor.name.rpartition(":")[2]
    return layer if number == "0" else f"{layer}:{number}"
