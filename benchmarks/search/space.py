"""A space of 5,040 configurations by simulation: cuts, codecs, cores, frequency, placement, with a known best one.

A model of 36 segments on a client, an edge and a cloud. Times are those of a frame that waits for nothing: segments
computed one after the other, faster with cores as far as Amdahl's law and a cost per core and segment allow, codecs
that trade computing for bytes, bytes over the link's rate, half its round trip. Energy is the first host's: cores at
the cube of their frequency while it computes, and a cost per byte sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from slicebed.spec.objective import Objective
from slicebed.split.search.contracts import Ask, Boundary, Candidate, Figure, Measure, Problem
from slicebed.split.search.objective import score

if TYPE_CHECKING:
    from collections.abc import Mapping

CUTS: Final = 35
CODECS: Final = ("raw", "lossless", "8 bit")
CORES: Final = (1, 2, 4, 8)
FREQUENCIES_GHZ: Final = (1.2, 1.8, 2.4, 3.1)
PLACEMENTS: Final = (("client", "cloud"), ("client", "edge"), ("edge", "cloud"))
OBJECTIVES: Final[Mapping[str, Objective]] = MappingProxyType(
    {
        "latency": Objective({"latency": 1.0}),
        "latency and energy": Objective({"latency": 1.0, "energy": 1.0}, {"latency": 0.1, "energy": 1.0}),
    }
)
# Of the one that may have 1 to 8 cores at 1.2 to 3.1 GHz, beside a reference core of 1 GHz.
_SPEED: Final = MappingProxyType({"client": 0.6, "edge": 1.0, "cloud": 12.0})
_SHARE_OF_BYTES: Final = MappingProxyType({"raw": 1.0, "lossless": 0.7, "8 bit": 0.25})
_S_PER_BYTE: Final = MappingProxyType({"raw": 0.0, "lossless": 6e-9, "8 bit": 2e-9})


@dataclass(frozen=True)
class Space:
    """One drawn model on drawn links.

    Attributes:
        problem: its candidates, to be searched for `objective`.
        true: figures of every candidate, by key.
        noise: relative standard deviation of what is measured.
    """

    problem: Problem
    true: Mapping[str, Mapping[str, float]]
    noise: float = 0.0

    def measure(self, ask: Ask) -> list[Measure]:
        """What runs would give; the same each time."""
        measures = []
        for key in ask.keys:
            draw = random.Random(f"{self.problem.seed}/{key}")  # noqa: S311 - a simulation
            figures = {name: value * max(0.5, draw.gauss(1.0, self.noise)) for name, value in self.true[key].items()}
            measures.append(Measure(key, {name: Figure(value, value, value) for name, value in figures.items()}))
        return measures

    def worth(self, key: str) -> float:
        """The true score of a candidate."""
        return score(self.problem.objective, {name: Figure(v, v, v) for name, v in self.true[key].items()})

    @property
    def best(self) -> float:
        """The true score of the best one, by looking at all."""
        return min(self.worth(key) for key in self.true)


def drawn(seed: int, objective: Objective, noise: float = 0.0) -> Space:
    """A space of its own for each seed."""
    draw = random.Random(seed)  # noqa: S311 - as above
    # A convolutional network: times of all sizes, tensors that shrink along the way and now and then grow.
    segments = [draw.lognormvariate(-4.6, 0.9) for _ in range(CUTS + 1)]
    tensors = [int(draw.lognormvariate(14.5 - 4.0 * at / CUTS, 0.7)) for at in range(CUTS)]
    serial = draw.uniform(0.05, 0.3)
    links = {hosts: (draw.choice((20, 50, 100)) * 10**6, draw.uniform(0.002, 0.06)) for hosts in PLACEMENTS}
    candidates, true = [], {}
    for hosts, place, codec, cores, ghz in product(PLACEMENTS, range(CUTS), CODECS, CORES, FREQUENCIES_GHZ):
        rate, rtt_s = links[hosts]
        key = f"{'-'.join(hosts)}/{place}/{codec}/{cores}/{ghz:g}"
        candidates.append(
            Candidate(
                key,
                cut=(f"segment{place}",),
                hosts=hosts,
                places=(place,),
                placement="-".join(hosts),
                codec=codec,
                knobs=MappingProxyType({"first.cores": float(cores), "first.frequency": ghz}),
                boundaries=(Boundary(*hosts, tensors[place], rate, rtt_s),),
            )
        )
        amdahl = serial + (1 - serial) / cores
        first = sum(segments[: place + 1]) * amdahl / (ghz * _SPEED[hosts[0]]) + 2e-4 * cores * (place + 1)
        first += tensors[place] * _S_PER_BYTE[codec] / amdahl
        sent = tensors[place] * _SHARE_OF_BYTES[codec]
        true[key] = {
            "latency": first + sent * 8 / rate + rtt_s / 2 + sum(segments[place + 1 :]) / _SPEED[hosts[1]],
            "energy": first * (2 + cores * 0.25 * ghz**3) + 4e-7 * sent,
        }
    return Space(Problem(tuple(candidates), objective, seed=seed), MappingProxyType(true), noise)
