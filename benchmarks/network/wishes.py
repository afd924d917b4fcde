"""What every way is asked for: so many destinations on one interface, each with a rate and perhaps a delay."""

from __future__ import annotations

from dataclasses import dataclass, replace

DEVICE = "near"
OWN_ADDRESS = "10.250.0.1"
PREFIX_BITS = 16
_BLOCK = 250
_MEGABIT = 1_000_000


@dataclass(frozen=True)
class Peer:
    """One destination and what its packets meet: a rate, and a one-way delay (0 is none)."""

    address: str
    rate_mbit_per_s: int = 100
    delay_ms: int = 0

    @property
    def rate_bit_per_s(self) -> int:
        """The rate in bit/s."""
        return self.rate_mbit_per_s * _MEGABIT


def peers(count: int, delay_ms: int) -> tuple[Peer, ...]:
    """So many destinations in 10.250.0.0/16, none of them this host's own address.

    Args:
        count: at most 63,500.
        delay_ms: one-way delay of each; 0 on a kernel that cannot delay.
    """
    return tuple(Peer(f"10.250.{1 + i // _BLOCK}.{1 + i % _BLOCK}", delay_ms=delay_ms) for i in range(count))


def with_first_changed(asked: tuple[Peer, ...], turn: int) -> tuple[Peer, ...]:
    """The same destinations with another condition on the first one: its delay where it has one, else its rate.

    Args:
        asked: the destinations as they are.
        turn: even turns give the first destination its other value, odd turns the value it had.
    """
    first = asked[0]
    if turn % 2:
        return asked
    if first.delay_ms:
        return (replace(first, delay_ms=first.delay_ms + 2), *asked[1:])
    return (replace(first, rate_mbit_per_s=first.rate_mbit_per_s // 2), *asked[1:])
