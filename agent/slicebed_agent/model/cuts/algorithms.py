"""Cut algorithms by name: those that come with Slicebed, and a user's own by entry point.

A plug-in is a function ``(graph: Graph, max_tensors: int) -> Sequence[SplitPoint]`` named in the entry point group
`slicebed.cut_algorithms`; `points.sweep` and `points.Sides` are there for it to build on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.cuts.couper import couper
from slicebed_agent.model.cuts.exact import exact
from slicebed_agent.model.cuts.points import Sides, sweep
from slicebed_agent.model.graph import Graph, SplitPoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

GROUP: Final = "slicebed.cut_algorithms"
Algorithm = Callable[[Graph, int], Sequence[SplitPoint]]
_BUILT_IN: Final[Mapping[str, Algorithm]] = {"exact": exact, "couper": couper}


def names() -> tuple[str, ...]:
    """The algorithms there are: the built-in ones first."""
    return (*_BUILT_IN, *sorted({point.name for point in entry_points(group=GROUP)} - set(_BUILT_IN)))


def split_points(graph: Graph, algorithm: str = "exact", max_tensors: int = 1) -> tuple[SplitPoint, ...]:
    """The split points that an algorithm finds.

    Args:
        graph: of a model.
        algorithm: one of `names`.
        max_tensors: how many tensors may cross at one point, 1 or more.

    Returns:
        In the graph's order. What a plug-in finds is checked: each point runs and says of itself what is true.

    Raises:
        AgentConfigError: `max_tensors` is not positive; there is no such algorithm, or several; a plug-in cannot be
            loaded, fails, or its answer is wrong.
    """
    if max_tensors < 1:
        raise AgentConfigError(f"{max_tensors} tensors at a cut", where="--max-tensors", mend="give 1 or more")
    if algorithm in _BUILT_IN:
        for point in entry_points(group=GROUP, name=algorithm):
            raise AgentConfigError(
                f"{algorithm!r} comes with Slicebed and is registered by {point.value} too",
                where="--algorithm",
                mend="give the plug-in another name, or uninstall it",
            )
        return tuple(_BUILT_IN[algorithm](graph, max_tensors))
    where = f"cut algorithm {algorithm}"
    try:
        found = tuple(_load(algorithm)(graph, max_tensors))
    except AgentConfigError:
        raise
    except Exception as error:
        raise AgentConfigError(
            f"it failed: {type(error).__name__}: {error}", where=where, mend="mend the plug-in, or use exact"
        ) from error
    _check(graph, found, max_tensors, where)
    return found


def _load(name: str) -> Algorithm:
    registered: list[EntryPoint] = [point for point in entry_points(group=GROUP) if point.name == name]
    if not registered:
        raise AgentConfigError(
            f"no cut algorithm is named {name!r}", where="--algorithm", mend=f"use {', '.join(names())}"
        )
    if len({point.value for point in registered}) > 1:
        raise AgentConfigError(
            f"{name!r} is registered by {' and '.join(sorted(point.value for point in registered))}",
            where="--algorithm",
            mend="uninstall all but one",
        )
    loaded: Algorithm = registered[0].load()
    return loaded


def _check(graph: Graph, points: Sequence[SplitPoint], max_tensors: int, where: str) -> None:
    """Refuse an answer that is not in order, or a point at which something else crosses than it says."""
    for point in points:
        if not isinstance(point, SplitPoint):
            raise AgentConfigError(f"its answer holds {point!r}, no SplitPoint", where=where, mend="mend the plug-in")
    for earlier, later in pairwise(points):
        if later.position <= earlier.position:
            raise AgentConfigError(
                f"{later.name} (position {later.position}) comes behind {earlier.name} (position {earlier.position})",
                where=where,
                mend="return the points in the graph's order, each once",
            )
    by_position = {point.position: point for point in points}
    sides = Sides(graph)
    for place in sweep(graph):
        if place.position not in by_position:
            continue
        point = by_position.pop(place.position)
        if place.controlled or len(place.live) > max_tensors:
            reason = "a control edge crosses" if place.controlled else f"{len(place.live)} tensors are live"
            raise AgentConfigError(f"{point.name}: {reason} there", where=where, mend="leave this point out")
        true = sides.point(place.position, tuple(place.live.values()))
        if point != true:
            raise AgentConfigError(
                f"{point.name}: what crosses at position {place.position} is {true.name}, or its sums differ",
                where=where,
                mend="build the points with slicebed_agent.model.cuts.points.Sides.point",
            )
    if by_position:
        outside = next(iter(by_position.values()))
        raise AgentConfigError(
            f"{outside.name}: position {outside.position} is no place between {len(graph.operators)} operators",
            where=where,
            mend="leave this point out",
        )
