"""The split points that run: one sweep over live tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.model.cuts.points import Sides, inner_places, sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph, SplitPoint


def exact(graph: Graph, max_tensors: int = 1) -> Sequence[SplitPoint]:
    """Every place of the graph's order at which at most `max_tensors` tensors are live.

    With one tensor these are the articulation points of the model, whatever the order; with more, they are the
    multi-tensor cuts of this order (see `restrict.restrict`), all of whose tensors are sent. Identity and its kin are
    seen through: a tensor and its alias are one. A place that a control edge crosses is none. Of places with the same
    live tensors (an operator without outputs between them) the first is taken. Time is linear in the graph's size.

    Args:
        graph: of a model.
        max_tensors: 1 or more.

    Returns:
        In the graph's order.
    """
    sides = Sides(graph)
    inner = inner_places(graph)
    seen: set[tuple[str, ...]] = set()
    points = []
    for place in sweep(graph):
        if place.controlled or len(place.live) > max_tensors or place.position not in inner:
            continue
        key = tuple(place.live)
        if key not in seen:
            seen.add(key)
            points.append(sides.point(place.position, tuple(place.live.values())))
    return points
