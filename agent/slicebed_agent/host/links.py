"""Conditions of a host's outgoing links: a pure planner over what is wanted and what the kernel holds.

Layout on every conditioned interface, so that one host can talk to several peers under different conditions while
everything else on the interface (SSH among it) passes unshaped::

    htb 5b1d:            unclassified packets go straight through (default 0)
      class 5b1d:10+i    one peer each, in the order of their addresses; its rate
        netem 5b2d+i:    delay and jitter, when the peer has any
      u32 filter         destination address of the peer -> its class
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address

ROOT_HANDLE = 0x5B1D0000
_FIRST_CLASS = 0x10
_FIRST_LEAF_MAJOR = 0x5B2D
# What HTB is given where no rate is asked: above any interface here, so that the class never limits.
UNLIMITED_BIT_PER_S = 34_000_000_000
_FRAME_BYTES = 1514
_DEFAULT_LIMIT_PACKETS = 1000
# The kernel's own choices for an interface nobody has configured; anything else at the root is somebody's work.
DEFAULT_ROOTS = frozenset({None, "noqueue", "pfifo_fast", "fq_codel", "fq", "mq", "pfifo"})


@dataclass(frozen=True)
class Condition:
    """What one peer's packets meet on their way out: one-way delay, jitter (standard deviation) and rate."""

    delay_us: int = 0
    jitter_us: int = 0
    rate_bit_per_s: int | None = None

    @property
    def needs_netem(self) -> bool:
        """True when the kernel must hold packets back."""
        return self.delay_us > 0

    @property
    def limit_packets(self) -> int:
        """Packets that netem must be able to hold: rate x (delay + 4 jitter), at least netem's own default.

        Below this, netem drops what is merely on its way, which looks like loss.
        """
        rate = self.rate_bit_per_s or 1_000_000_000
        held_bits = rate * (self.delay_us + 4 * self.jitter_us) / 1e6
        return max(_DEFAULT_LIMIT_PACKETS, int(held_bits / 8 / _FRAME_BYTES) + 1)


@dataclass(frozen=True)
class Wish:
    """The condition wanted towards one peer."""

    interface: str
    peer_address: IPv4Address
    condition: Condition


@dataclass(frozen=True)
class InterfaceState:
    """What the kernel holds on one interface; `peers` are Slicebed's own classes by minor number."""

    root: str | None
    ours: bool
    peers: Mapping[int, tuple[IPv4Address | None, Condition]] = field(default_factory=dict)


class Action(Enum):
    """One message to the kernel."""

    ADD_ROOT = "add root"
    DELETE_ROOT = "delete root"
    ADD_CLASS = "add class"
    CHANGE_CLASS = "change class"
    ADD_LEAF = "add leaf"
    CHANGE_LEAF = "change leaf"
    DELETE_LEAF = "delete leaf"
    ADD_FILTER = "add filter"


@dataclass(frozen=True)
class Step:
    """An action on one interface, with the class and condition that it is about."""

    action: Action
    interface: str
    minor: int = 0
    peer_address: IPv4Address | None = None
    condition: Condition = field(default_factory=Condition)

    def __str__(self) -> str:
        """As shown in a diff: ``to-edge: add leaf 5b1d:10 (10.198.0.2) delay 5000 us jitter 0 us``."""
        text = f"{self.interface}: {self.action.value}"
        if self.peer_address is not None:
            text += f" 5b1d:{self.minor:x} ({self.peer_address})"
        if self.action in (Action.ADD_LEAF, Action.CHANGE_LEAF):
            text += f" delay {self.condition.delay_us} us jitter {self.condition.jitter_us} us"
        if self.action in (Action.ADD_CLASS, Action.CHANGE_CLASS):
            rate = self.condition.rate_bit_per_s
            text += " unlimited" if rate is None else f" rate {rate} bit/s"
        return text


def leaf_handle(minor: int) -> int:
    """Handle of the netem leaf under a class; derived, so that the same wish gives the same handle every time."""
    return (_FIRST_LEAF_MAJOR + minor - _FIRST_CLASS) << 16


def plan(wishes: Iterable[Wish], found: Mapping[str, InterfaceState]) -> tuple[Step, ...]:
    """Say what to do so that the kernel holds what is wanted; nothing when it already does.

    Conditions change in place (no packet is lost); only another set of peers rebuilds an interface. A peer without any
    condition needs no class, so that an interface of such peers alone is left, or made, as the kernel has it.

    Args:
        wishes: the conditions wanted, in any order; at most one per interface and peer.
        found: what the kernel holds on every interface that a wish names.

    Raises:
        HostError: a peer is named twice, an interface is missing, or carries a queueing discipline of somebody else.
    """
    by_interface: dict[str, dict[IPv4Address, Condition]] = {}
    for wish in wishes:
        peers = by_interface.setdefault(wish.interface, {})
        if wish.peer_address in peers:
            raise HostError(
                f"two conditions for {wish.peer_address}", where=wish.interface, mend="give every link one condition"
            )
        peers[wish.peer_address] = wish.condition
    steps: list[Step] = []
    for interface in sorted(by_interface):
        state = found.get(interface)
        if state is None:
            raise HostError("no such interface", where=interface, mend="check slicebed_links in the inventory")
        peers = {peer: asked for peer, asked in by_interface[interface].items() if asked != Condition()}
        if peers and not state.ours and state.root not in DEFAULT_ROOTS:
            raise HostError(
                f"carries a queueing discipline '{state.root}' that Slicebed did not put there",
                where=interface,
                mend=f"remove it first: tc qdisc del dev {interface} root",
            )
        steps += _plan_interface(interface, peers, state)
    return tuple(steps)


def plan_absent(found: Mapping[str, InterfaceState]) -> tuple[Step, ...]:
    """Say what to do so that nothing of Slicebed is left on the interfaces."""
    return tuple(Step(Action.DELETE_ROOT, name) for name in sorted(found) if found[name].ours)


def _plan_interface(interface: str, peers: Mapping[IPv4Address, Condition], state: InterfaceState) -> list[Step]:
    wanted = {_FIRST_CLASS + i: (address, peers[address]) for i, address in enumerate(sorted(peers))}
    if not peers:
        return [Step(Action.DELETE_ROOT, interface)] if state.ours else []
    same_peers = {m: a for m, (a, _) in wanted.items()} == {m: a for m, (a, _) in state.peers.items()}
    steps: list[Step] = []
    if not (state.ours and same_peers):
        if state.ours:
            steps.append(Step(Action.DELETE_ROOT, interface))
        steps.append(Step(Action.ADD_ROOT, interface))
        for minor, (address, condition) in wanted.items():
            steps.append(Step(Action.ADD_CLASS, interface, minor, address, condition))
            if condition.needs_netem:
                steps.append(Step(Action.ADD_LEAF, interface, minor, address, condition))
            steps.append(Step(Action.ADD_FILTER, interface, minor, address, condition))
        return steps
    for minor, (address, condition) in wanted.items():
        now = state.peers[minor][1]
        if condition.rate_bit_per_s != now.rate_bit_per_s:
            steps.append(Step(Action.CHANGE_CLASS, interface, minor, address, condition))
        if (condition.delay_us, condition.jitter_us) != (now.delay_us, now.jitter_us):
            action = Action.CHANGE_LEAF if now.needs_netem else Action.ADD_LEAF
            if not condition.needs_netem:
                action = Action.DELETE_LEAF
            steps.append(Step(action, interface, minor, address, condition))
    return steps
