"""The candidates as points of a space: a coordinate for placement, each split point, codec and knob."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slicebed.split.search.contracts import Candidate

Point = tuple[int, ...]


class Grid:
    """Coordinates of candidates. Not every combination of them need be a candidate.

    Attributes:
        points: of every candidate, by key.
        values: that each coordinate takes, ascending.
        ordered: whether a coordinate's neighbouring values are alike: places of split points, numbers; not names.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        """Number what the candidates differ in; keys are unique."""
        depth = max((len(candidate.cut) for candidate in candidates), default=0)
        knobs = sorted({name for candidate in candidates for name in candidate.knobs})
        columns: list[list[object]] = [[(c.placement, c.hosts) for c in candidates]]
        ordered = [False]
        columns += [[c.places[at] if at < len(c.cut) else -1 for c in candidates] for at in range(depth)]
        ordered += [True] * depth
        columns.append([c.codec for c in candidates])
        ordered.append(False)
        for name in knobs:
            column = [c.knobs.get(name, math.nan) for c in candidates]
            columns.append(list(column))
            ordered.append(all(isinstance(cell, (int, float)) and not math.isnan(cell) for cell in column))
        numbers = [_numbered(column, sort) for column, sort in zip(columns, ordered, strict=True)]
        # Candidates that share all of these are told apart by a coordinate of their own.
        seen: Counter[Point] = Counter()
        self.points: dict[str, Point] = {}
        for at, candidate in enumerate(candidates):
            point = tuple(column[at] for column in numbers)
            self.points[candidate.key] = (*point, seen[point])
            seen[point] += 1
        self.ordered = (*ordered, False)
        self.values = [sorted(set(column)) for column in zip(*self.points.values(), strict=True)]
        self._keys = {point: key for key, point in self.points.items()}
        self._cuts = range(1, 1 + depth)
        self._bytes = {c.key: sum(b.bytes_per_frame for b in c.boundaries) for c in candidates}

    def at(self, point: Point) -> str:
        """The candidate at a point, or the one nearest to it: each coordinate counts the same."""
        if point in self._keys:
            return self._keys[point]
        return min(self.points, key=lambda key: (self._distance(self.points[key], point), key))

    def steps(self, key: str) -> Iterator[str]:
        """The neighbours of a candidate: one coordinate is the next one up or down, or another name.

        Of a split point, also the next on either side at which fewer bytes cross. Where that is no candidate, the
        nearest one that has this coordinate.
        """
        for axis, values in enumerate(self.values):
            at = values.index(self.points[key][axis])
            for side in (values[:at][::-1], values[at + 1 :]):
                near = self._along(key, axis, side)
                fewer = (other for other in near if axis in self._cuts and self._bytes[other] < self._bytes[key])
                yield from (*near[: 1 if self.ordered[axis] else None], *islice(fewer, 1))

    def lines(self, key: str) -> Iterator[str]:
        """All that differ from a candidate in one coordinate, those at which the fewest bytes cross first."""
        found = {other for axis, values in enumerate(self.values) for other in self._along(key, axis, values)}
        yield from sorted(found, key=lambda other: (self._bytes[other], other))

    def settings(self, key: str) -> Iterator[str]:
        """The steps of a candidate that leave its placement and its split points as they are: in codec and knobs."""
        return (other for other in self.steps(key) if self._way(other) == self._way(key))

    def niches(self, ranked: Sequence[str]) -> list[str]:
        """The first of each placement."""
        return self._firsts(ranked, 1)

    def ways(self, ranked: Sequence[str]) -> list[str]:
        """The first of each placement with each split point."""
        return self._firsts(ranked, self._cuts.stop)

    def _firsts(self, ranked: Sequence[str], axes: int) -> list[str]:
        firsts: dict[Point, str] = {}
        for key in ranked:
            firsts.setdefault(self.points[key][:axes], key)
        return list(firsts.values())

    def _way(self, key: str) -> Point:
        return self.points[key][: self._cuts.stop]

    def _along(self, key: str, axis: int, values: Sequence[int]) -> list[str]:
        point = self.points[key]
        near = (self.at((*point[:axis], value, *point[axis + 1 :])) for value in values)
        return [other for other in near if other != key]

    def _distance(self, one: Point, other: Point) -> float:
        apart = 0.0
        for axis, values in enumerate(self.values):
            if one[axis] != other[axis]:
                apart += abs(one[axis] - other[axis]) / len(values) if self.ordered[axis] else 1.0
        return apart


def _numbered(column: Sequence[object], ordered: bool) -> list[int]:  # noqa: FBT001 - the one thing it depends on
    distinct = dict.fromkeys(column)
    order = sorted(distinct) if ordered else distinct  # type: ignore[type-var]
    numbers = {value: at for at, value in enumerate(order)}
    return [numbers[value] for value in column]
