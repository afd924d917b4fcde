"""The cuts that the benchmark runs: thirds of a model by its work, and others drawn by a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph, SplitPoint

# So near to a third of the work, as a share of all of it, any place is as good; then the tensor decides.
_NEAR: Final = 0.03


def thirds(points: Sequence[SplitPoint]) -> tuple[SplitPoint, SplitPoint]:
    """Two split points that leave about a third of the work to each slice.

    Of the places near to a third that of the fewest bytes, and of several with as many the last: behind the activation,
    where somebody would cut, and not between a convolution and its normalisation.

    Raises:
        ValueError: the model has fewer than two split points.
    """
    if len(points) < 2:
        raise ValueError(f"{len(points)} split points are no three slices")
    first = _nearest(points[:-1], 1 / 3)
    behind = [point for point in points if point.position > first.position]
    return first, _nearest(behind, 2 / 3)


def drawn(points: Sequence[SplitPoint], count: int, seed: int) -> list[tuple[SplitPoint, SplitPoint]]:
    """So many pairs of split points, each a cut in three slices."""
    generator = random.Random(seed)  # noqa: S311 - a sample, not a secret
    pairs = []
    for _ in range(count):
        one, two = sorted(generator.sample(range(len(points)), 2))
        pairs.append((points[one], points[two]))
    return pairs


def boundaries(graph: Graph, cut: Sequence[SplitPoint]) -> list[tuple[str, ...]]:
    """Names of the tensors at the model's input, at each split point, and at its output."""
    crossing = [tuple(tensor.name for tensor in point.tensors) for point in cut]
    return [tuple(graph.inputs), *crossing, tuple(graph.outputs)]


def _nearest(points: Sequence[SplitPoint], share: float) -> SplitPoint:
    def distance(point: SplitPoint) -> float:
        return abs(point.flops_before / max(1, point.flops_before + point.flops_after) - share)

    least = min(map(distance, points))
    near = [point for point in points if distance(point) <= max(least, _NEAR)]
    return min(near, key=lambda point: (point.bytes_per_frame or 0, -point.position))
