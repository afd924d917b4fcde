"""Tables of delay for netem: 4,096 equally likely deviations in units of 1/8192 of the jitter.

Every table has mean 0 and standard deviation 8192, so that the jitter asked *is* the standard deviation. iproute2's
own tables come close for the normal distribution and miss it for the Pareto ones (6715 in its pareto.dist).
"""

from __future__ import annotations

import struct
from functools import cache
from math import sqrt
from statistics import NormalDist, fmean, pstdev
from typing import TYPE_CHECKING

from slicebed_agent.host.wish import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = 4096
SCALE = 8192  # NETEM_DIST_SCALE in linux/pkt_sched.h
_LARGEST = 32_767
# iproute2's netem/pareto.c: Pareto distribution of shape 3; paretonormal.c: a quarter normal, three quarters Pareto.
_PARETO_SHAPE = 3.0
_NORMAL_SHARE = 0.25
_ROUNDS = 200


def _normal(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _uniform(share: float) -> float:
    return share


def _pareto(share: float) -> float:
    return float((1 - share) ** (-1 / _PARETO_SHAPE))


def _pareto_normal(share: float) -> float:
    # Both parts at the same quantile, each with standard deviation 1.
    deviation = sqrt(_PARETO_SHAPE / (_PARETO_SHAPE - 2)) / (_PARETO_SHAPE - 1)
    return _NORMAL_SHARE * _normal(share) + (1 - _NORMAL_SHARE) * _pareto(share) / deviation


_QUANTILES: dict[Distribution, Callable[[float], float]] = {
    Distribution.NORMAL: _normal,
    Distribution.UNIFORM: _uniform,
    Distribution.PARETO: _pareto,
    Distribution.PARETO_NORMAL: _pareto_normal,
}


@cache
def table(distribution: Distribution) -> bytes:
    """Give the table as TCA_NETEM_DELAY_DIST takes it: 16-bit signed deviations in ascending order."""
    quantile = _QUANTILES[distribution]
    values = [quantile((i + 0.5) / ENTRIES) for i in range(ENTRIES)]
    # 16 bits cut a long tail at 4 standard deviations, which shrinks the deviation: stretch until it is right again.
    for _ in range(_ROUNDS):
        mean, deviation = fmean(values), pstdev(values)
        values = [(value - mean) / deviation * SCALE for value in values]
        if max(map(abs, values)) <= _LARGEST + 0.5:
            break
        values = [max(-_LARGEST, min(_LARGEST, value)) for value in values]
    return struct.pack(f"={ENTRIES}h", *(max(-_LARGEST, min(_LARGEST, round(value))) for value in values))
