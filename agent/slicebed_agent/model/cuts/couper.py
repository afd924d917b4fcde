"""The published algorithm of Couper's Model Slicer, for comparison beside `exact`.

Source: Couper (SEC 2019), section 5.1: bypass the first and last operators, slice only at articulation points, ignore
placeholders and parameters. Counted so, the TensorFlow-Slim graphs of VGG16 and Inception V3 have the 52 and 34 split
points of its Table 5.

It differs from `exact`, and is wrong, in three ways, all kept as published:

- Identity is left out of the operators, so an edge through one is lost: inside a skip connection that goes through an
  Identity it accepts points whose second slice lacks the skipped tensor. Such a point does not run.
- It counts operators, not tensors: an operator with several outputs in use is accepted as one point.
- Control edges are not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.model.cuts.points import Sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph, SplitPoint, Tensor

_IGNORED: Final = frozenset({"Identity", "Const"})


def couper(graph: Graph, max_tensors: int = 1) -> Sequence[SplitPoint]:  # noqa: ARG001  # one signature for all algorithms
    """The candidates of Couper: walking from the last operator to the first, those that alone are still needed.

    Args:
        graph: of a model.
        max_tensors: without effect: the published algorithm knows one operator.

    Returns:
        In the graph's order; some may not run, see above.
    """
    made_by = {tensor.name: operator for operator in graph.operators for tensor in operator.outputs}
    counted = [(place, each) for place, each in enumerate(graph.operators) if each.kind not in _IGNORED]
    used = {name for operator in graph.operators for name in operator.inputs}
    sides = Sides(graph)
    points: list[SplitPoint] = []
    needed: set[str] = set()
    for rank in range(len(counted) - 1, 0, -1):
        place, operator = counted[rank]
        needed.add(operator.name)
        if len(needed) == 1 and rank < len(counted) - 1:
            crossing: list[Tensor] = [tensor for tensor in operator.outputs if tensor.name in used]
            points.append(sides.point(place + 1, crossing or operator.outputs[:1]))
        needed.discard(operator.name)
        sources = [made_by[name] for name in operator.inputs]
        needed.update(source.name for source in sources if source.kind not in _IGNORED)
    return points[::-1]
