"""Conversions between a link's condition and what HTB and netem take."""

from __future__ import annotations

from slicebed_agent.host.wish import Distribution

# The kernel's scheduler tick (PSCHED_SHIFT 6 in net/pkt_sched.h).
TICK_NS = 64
_TICKS_PER_S = 1_000_000_000 // TICK_NS
_U32_MAX = 0xFFFFFFFF
# Below HTB's timer precision a burst would limit more than the rate; above it, it would hide the limit. On a busy
# machine the timer is late: of 20 Mbit/s, buckets of 1 to 4 ms let 98.5 to 99.9 % through, 10 ms 99.96 % (3 each).
_BURST_DIVISOR_PER_S = 100
_SMALLEST_BURST_BYTES = 1600
# netem keeps the jitter in a signed 32-bit number of ns.
LARGEST_JITTER_US = 2_147_483
# The kernel does not tell which distribution table netem holds; the jitter's last three digits (ns) do.
DISTRIBUTIONS = (Distribution.NORMAL, Distribution.UNIFORM, Distribution.PARETO, Distribution.PARETO_NORMAL)
_ETHERNET_HEADER_BYTES = 14
_DEFAULT_QUEUE_PACKETS = 1000
# Where no rate is asked, as many packets as this rate brings must fit into the delay.
_ASSUMED_RATE_BIT_PER_S = 10_000_000_000


def byte_rate(rate_bit_per_s: int) -> int:
    """Byte per second, at least one."""
    return max(1, rate_bit_per_s // 8)


def burst_ticks(rate_byte_per_s: int) -> int:
    """Time that HTB's bucket takes to fill at the rate: 10 ms of it, at least one large packet."""
    burst_bytes = max(_SMALLEST_BURST_BYTES, rate_byte_per_s // _BURST_DIVISOR_PER_S)
    return max(1, min(_U32_MAX, burst_bytes * _TICKS_PER_S // rate_byte_per_s))


def share_of_32_bits(share: float) -> int:
    """Give a share of 0 to 1 as the kernel's probability."""
    return round(share * _U32_MAX)


def share(bits: int) -> float:
    """Give the kernel's probability as a share, to nine digits (finer than its own steps)."""
    return round(bits / _U32_MAX, 9)


def jitter_ns(jitter_us: int, distribution: Distribution) -> int:
    """Jitter with the distribution's number in the last three digits; 0 is none."""
    return jitter_us * 1000 + DISTRIBUTIONS.index(distribution) if jitter_us else 0


def packets_in_flight(delay_us: int, jitter_us: int, rate_bit_per_s: int | None, mtu_bytes: int) -> int:
    """Full frames that the delay and four times the jitter hold at the rate, rounded up.

    With less room netem drops what is merely on its way, which looks like loss.
    """
    bits = (rate_bit_per_s or _ASSUMED_RATE_BIT_PER_S) * (delay_us + 4 * jitter_us)
    return -(-bits // (8_000_000 * (mtu_bytes + _ETHERNET_HEADER_BYTES)))


def netem_limit(in_flight: int, queue_packets: int | None) -> int:
    """Room of a netem leaf: what is in flight, and the queue."""
    return min(_U32_MAX, in_flight + (queue_packets or _DEFAULT_QUEUE_PACKETS))


def queue_of_limit(limit_packets: int, in_flight: int) -> int | None:
    """Give the queue of a netem leaf; None where it is what the planner chooses."""
    queue = limit_packets - in_flight
    return None if queue == _DEFAULT_QUEUE_PACKETS else queue
