"""A genetic search over the whole space, placement, split points, codec and knobs; then steps from the best found."""

from __future__ import annotations

import random
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.grid import Grid
from slicebed.split.search.objective import best_of, ranked
from slicebed.split.search.options import Kind, count, read

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Measure, Problem
    from slicebed.split.search.grid import Point

# How many a tournament for a parent is between; more settle sooner on what is good so far.
_RIVALS: Final = 3
# Share of the mutations of an ordered coordinate that draw it anew instead of taking a step.
_LEAPS: Final = 0.2
# How often a child that was measured before is mutated again until another is drawn at random.
_ATTEMPTS: Final = 10


def genetic(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """Generations bred from the best measured; then what is around the best; then generations again.

    The best are kept from one generation to the next. Parents win tournaments; a child takes each coordinate from one
    of its two, and one of them mutates in the mean. Around the best are their steps, which change one coordinate a
    little; the lines through them, which hold everything that one coordinate can be; and other codecs and knobs for
    ways of cutting that are not among the best as they were measured. Whenever something better is found, steps from
    there come first again; what evaluations are left after all that go to more generations.

    Options: ``evaluations``, the most candidates measured (300); ``population`` (24); ``breeding``, the share of the
    evaluations for the first generations (20 %); ``steps``, around how many of the best (5).
    """
    kinds = {"evaluations": Kind.COUNT, "population": Kind.COUNT, "breeding": Kind.SHARE, "steps": Kind.COUNT}
    options = read(problem, kinds)
    most = min(count(options, "evaluations", 300), problem.budget or len(problem.candidates), len(problem.candidates))
    bred = round(most * min(1.0, options.get("breeding", 0.2)))
    population = count(options, "population", 24)
    breeder = _Breeder(Grid(problem.candidates), random.Random(problem.seed))  # noqa: S311 - no secret hangs on it
    found: dict[str, Measure] = {}
    wanted = breeder.spread(min(population, most))
    generations = 0
    while wanted:
        found |= {measure.key: measure for measure in (yield Ask(tuple(wanted)))}
        generations += 1
        best = [measure.key for _, measure in ranked(found.values(), problem.objective)]
        wanted = breeder.children(best[:population], min(population, bred - len(breeder.tried)))
    starts = count(options, "steps", 5)
    while (left := most - len(breeder.tried)) > 0:
        wanted = breeder.neighbours(best, starts, left) or breeder.children(best[:population], min(population, left))
        if not wanted:
            break
        found |= {measure.key: measure for measure in (yield Ask(tuple(wanted)))}
        best = [measure.key for _, measure in ranked(found.values(), problem.objective)]
    return Choice(
        best_of(found.values(), problem.objective).key,
        f"the best of {len(found)} measured of {len(problem.candidates)}, in {generations} generations, "
        f"around the best and between them",
    )


class _Breeder:
    """Draws candidates that were not drawn before.

    Attributes:
        tried: keys of all that were drawn.
    """

    def __init__(self, grid: Grid, draw: random.Random) -> None:
        self._grid, self._draw = grid, draw
        self.tried: set[str] = set()

    def spread(self, wanted: int) -> list[str]:
        """Candidates that take every value of every coordinate about equally often (a Latin hypercube)."""
        columns = []
        for values in self._grid.values:
            column = [values[at * len(values) // wanted] for at in range(wanted)]
            self._draw.shuffle(column)
            columns.append(column)
        return [self._new(point) for point in zip(*columns, strict=True)]

    def children(self, parents: Sequence[str], wanted: int) -> list[str]:
        """Up to `wanted`, none where that is not positive or nobody could be measured; `parents` are the best first."""
        if not parents:
            return []
        return [self._new(self._child(parents)) for _ in range(min(wanted, self._left()))]

    def neighbours(self, best: Sequence[str], starts: int, wanted: int) -> list[str]:
        """At most `wanted` of what is left around the best, `starts` of them first."""
        grid = self._grid
        niches, ways = grid.niches(best), grid.ways(best)
        around = chain(
            map(grid.steps, best[:starts]),
            map(grid.lines, niches[:1]),
            map(grid.settings, ways[:starts]),
            map(grid.lines, niches),
            map(grid.settings, ways),
        )
        for near in around:
            fresh = list(islice((key for key in dict.fromkeys(near) if key not in self.tried), wanted))
            if fresh:
                self.tried.update(fresh)
                return fresh
        return []

    def _child(self, parents: Sequence[str]) -> Point:
        one, other = (self._grid.points[self._winner(parents)] for _ in range(2))
        return self._mutated(tuple(self._draw.choice(pair) for pair in zip(one, other, strict=True)))

    def _winner(self, parents: Sequence[str]) -> str:
        return parents[min(self._draw.randrange(len(parents)) for _ in range(_RIVALS))]

    def _mutated(self, point: Point) -> Point:
        axes = [axis for axis, values in enumerate(self._grid.values) if len(values) > 1]
        child = list(point)
        for axis in axes:
            if self._draw.random() * len(axes) < 1:
                child[axis] = self._other(axis, child[axis])
        return tuple(child)

    def _other(self, axis: int, value: int) -> int:
        values: Sequence[int] = self._grid.values[axis]
        at = values.index(value)
        if self._grid.ordered[axis] and self._draw.random() >= _LEAPS:
            # Mostly the next one, sometimes a few on.
            step = 1
            while self._draw.random() < 0.5:
                step += 1
            at += step if self._draw.random() < 0.5 else -step
            at = max(0, min(at, len(values) - 1))
        else:
            at = (at + self._draw.randrange(1, len(values))) % len(values)
        return values[at]

    def _new(self, point: Point) -> str:
        """The candidate at the point or near it; a mutant of it, where that was drawn before."""
        for _ in range(_ATTEMPTS):
            key = self._grid.at(point)
            if key not in self.tried:
                break
            point = self._mutated(point)
        else:
            key = self._draw.choice([key for key in self._grid.points if key not in self.tried])
        self.tried.add(key)
        return key

    def _left(self) -> int:
        return len(self._grid.points) - len(self.tried)
