"""What a candidate gives if nothing waits: from times of computing and of transfer, as earlier work estimates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.split.search.contracts import Figure
from slicebed.split.search.walk import transfer_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.split.search.contracts import Candidate


def estimate(candidate: Candidate, compute_s: Sequence[float], rate_per_s: float) -> Mapping[str, Figure]:
    """Latency as a sum, throughput by the slowest stage; no queue, no encoding, no spread: the intervals are points.

    Args:
        candidate: whose boundaries are crossed.
        compute_s: of each slice.
        rate_per_s: of the source; 0: it is as fast as the slowest stage.
    """
    latency = sum(compute_s) + transfer_s(candidate)
    sends = [b.sent_bytes * 8 / b.rate_bit_per_s for b in candidate.boundaries if b.rate_bit_per_s]
    slowest = max((*compute_s, *sends), default=0.0)
    throughput = min(1 / slowest if slowest else float("inf"), rate_per_s or float("inf"))
    found = {
        "latency": latency,
        "latency_p95": latency,
        "throughput": throughput,
        "drop_rate": max(0.0, 1 - throughput / rate_per_s) if rate_per_s else 0.0,
        "bytes": sum(boundary.sent_bytes for boundary in candidate.boundaries),
    }
    return {metric: Figure(number, number, number) for metric, number in found.items()}
