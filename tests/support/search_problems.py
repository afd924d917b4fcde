"""Problems of search made by hand, and a testbed that answers with what was written down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from slicebed.spec.objective import Objective
from slicebed.split.search.contracts import Boundary, Candidate, Figure, Foretold, Measure, Problem

LATENCY = Objective({"latency": 1.0})
MBIT = 10**6


def point(value):
    return Figure(value, value, value)


def around(value, share):
    return Figure(value, value * (1 - share), value * (1 + share))


def of(**values):
    """Figures without any spread."""
    return {metric: point(value) for metric, value in values.items()}


def cut(place, crossing=100_000, *, rate=100 * MBIT, rtt_s=0.02, **more):
    """The candidate that cuts a model between edge and cloud at a place."""
    fields = {"hosts": ("edge", "cloud"), "cut": (f"point{place}",), "places": (place,), **more}
    return Candidate(
        fields.pop("key", f"cut{place}"),
        boundaries=(Boundary("edge", "cloud", crossing, rate, rtt_s),),
        **fields,
    )


@dataclass
class Testbed:
    """Gives what is written for each key, and notes what it was asked; `dead` keys cannot be measured."""

    __test__ = False
    latency_s: dict[str, float]
    compute_s: dict[str, tuple[float, ...]] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()
    asks: list = field(default_factory=list)

    def __call__(self, ask):
        self.asks.append(ask)
        # Runs end in any order.
        return [
            Measure(key, of(latency=self.latency_s[key], drop_rate=0.0), self.compute_s.get(key, ()), ask.frames)
            for key in reversed(ask.keys)
            if key not in self.dead
        ]


@dataclass
class Chain:
    """Three slices of ten equal operators: a second each on the client, 0.7 s on the edge, 0.5 s on the cloud."""

    speeds: tuple[float, float, float] = (1.0, 0.7, 0.5)

    def compute(self, first, second):
        return tuple(
            count * each for count, each in zip((first, second - first, 10 - second), self.speeds, strict=True)
        )

    def problem(self, **more):
        return Problem(
            tuple(
                Candidate(
                    f"{first}-{second}",
                    cut=(f"op{first}", f"op{second}"),
                    hosts=("client", "edge", "cloud"),
                    places=(first, second),
                    flops=(first, second - first, 10 - second),
                )
                for second in range(2, 10)
                for first in range(1, second)
            ),
            LATENCY,
            **more,
        )

    def testbed(self, **more):
        times = {each.key: self.compute(*each.places) for each in self.problem().candidates}
        return Testbed({key: sum(each) for key, each in times.items()}, times, **more)


@dataclass
class Line:
    """Ten cuts of a model whose edge computes 10 ms per place, its cloud 2 ms per place left.

    Tensors shrink by half every other place from 1.6 MB; the link carries 100 Mbit/s with a round trip of 20 ms.
    """

    count: int = 10
    slow_edge: float = 1.0
    budget: int | None = None

    @property
    def crossing(self):
        return [1_600_000 // 2 ** (place // 2) for place in range(self.count)]

    def compute(self, place):
        return 0.010 * self.slow_edge * (place + 1), 0.002 * (self.count - place)

    def latency(self, place):
        return sum(self.compute(place)) + self.crossing[place] * 8 / (100 * MBIT) + 0.010

    def problem(self, *, profiled=False, **more):
        candidates = tuple(
            cut(
                place,
                self.crossing[place],
                flops=(place + 1, self.count - place),
                compute_s=self.compute(place) if profiled else (),
            )
            for place in range(self.count)
        )
        return Problem(candidates, LATENCY, budget=self.budget, **more)

    def testbed(self, **more):
        return Testbed(
            {f"cut{place}": self.latency(place) for place in range(self.count)},
            {f"cut{place}": self.compute(place) for place in range(self.count)},
            **more,
        )

    @property
    def best(self):
        return f"cut{min(range(self.count), key=self.latency)}"


def foretelling(predicted, share=0.05, correct=None):
    """A predictor that says what is written, with an interval; `correct(measures)` multiplies."""

    def foretell(measures):
        factor = correct(measures) if correct else 1.0
        return {
            key: Foretold(key, {"latency": around(value * factor, share), "drop_rate": point(0.0)})
            for key, value in predicted.items()
        }

    return foretell


def not_a_number():
    return Figure(math.nan, math.nan, math.nan)
