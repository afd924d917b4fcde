"""What a search minimises: one metric, or a weighted sum of several, under constraints."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS = MappingProxyType(
    {
        "latency": "s",
        "latency_p95": "s",
        "drop_rate": "",
        "throughput": "frame/s",
        "bytes": "B",
        "energy": "J",
    }
)
"""Metric -> unit. `throughput` is the only one of which more is better."""


@dataclass(frozen=True)
class Objective:
    """Weighted sum of metrics to be minimised, under limits.

    Attributes:
        weights: by metric, above 0; a single metric has weight 1. Of several, each is divided by its `scales` entry.
        scales: what one unit of a metric counts as, by metric, above 0: 0.1 s, 10 %, 1 MB.
        limits: by metric, in its unit: at most this, of `throughput` at least this.
    """

    weights: Mapping[str, float]
    scales: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def metric(self) -> str | None:
        """The only metric; None where several are weighed."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None
