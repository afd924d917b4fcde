"""What can be done to a device: one step is one netlink message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from slicebed_agent.host.network.tree import (
    ETH_P_IP,
    INGRESS_PARENT,
    ROOT_HANDLE,
    AddressFilter,
    Fifo,
    HashKey,
    HtbClass,
    HtbRoot,
    LeafQdisc,
    Netem,
    Raw,
    StrangeLeaf,
)


class Verb(Enum):
    """What happens to the thing; CHANGE happens in place and loses no packet."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where filters hang: under what, at which preference (in which hash table), for which protocol."""

    parent: int
    prio: int
    protocol: int


@dataclass(frozen=True, slots=True)
class AnyRoot:
    """Whatever is at the root of the device; with it goes all below."""

    kind: str
    handle: int


@dataclass(frozen=True, slots=True)
class IngressQdisc:
    """The ingress of the device."""


@dataclass(frozen=True, slots=True)
class IfbDevice:
    """An ifb device of Slicebed's own; it is up from the start."""


@dataclass(frozen=True, slots=True)
class WholeGroup:
    """Every filter at one spot; of u32, every one under the parent."""

    spot: Spot
    kind: str


@dataclass(frozen=True, slots=True)
class U32Table:
    """The hash table of 256 buckets at a spot; its number is the spot's."""

    spot: Spot


@dataclass(frozen=True, slots=True)
class U32Link:
    """The entry of the root table that sends every packet to its bucket; the kernel chooses the handle."""

    spot: Spot
    key: HashKey
    handle: int = 0


@dataclass(frozen=True, slots=True)
class PeerFilter:
    """One address's filter at a spot, as ``flower`` or ``u32``."""

    spot: Spot
    kind: str
    filter: AddressFilter


Thing = (
    HtbRoot
    | AnyRoot
    | HtbClass
    | LeafQdisc
    | IngressQdisc
    | IfbDevice
    | WholeGroup
    | U32Table
    | U32Link
    | PeerFilter
    | Raw
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to one device."""

    verb: Verb
    device: str
    thing: Thing

    def __str__(self) -> str:
        """As an error quotes it: ``add netem leaf 5b2d: under 5b1d:10 on to-edge``."""
        return f"{self.verb.value} {_text(self.thing)} on {self.device}"


def _text(thing: Thing) -> str:  # noqa: C901, PLR0911 - one line for each kind of thing
    match thing:
        case HtbRoot():
            return f"root htb {handle_text(ROOT_HANDLE)}"
        case AnyRoot(kind, handle):
            return f"root {kind} {handle_text(handle)}"
        case HtbClass(handle=handle):
            return f"htb class {handle_text(handle)}"
        case LeafQdisc(handle, parent, leaf):
            return f"{leaf_kind(leaf)} leaf {handle_text(handle)} under {handle_text(parent)}"
        case IngressQdisc():
            return "ingress"
        case IfbDevice():
            return "ifb device"
        case WholeGroup(spot, kind):
            return f"{kind} filters at {_spot_text(spot)}"
        case U32Table(spot):
            return f"u32 hash table at {_spot_text(spot)}"
        case U32Link(spot):
            return f"u32 hash key at {_spot_text(spot)}"
        case PeerFilter(spot, kind, wanted):
            side = "from" if wanted.of_source else "to"
            return f"{kind} filter {side} {ip_address(wanted.address)} at {_spot_text(spot)}"
        case Raw(kind, handle, parent):
            return f"saved {kind} {handle_text(handle)} under {handle_text(parent)}"


def handle_text(handle: int) -> str:
    """Write a handle as tc does: ``5b1d:10``."""
    major, minor = handle >> 16, handle & 0xFFFF
    return f"{major:x}:{minor:x}" if minor else f"{major:x}:"


def leaf_kind(leaf: Netem | Fifo | StrangeLeaf) -> str:
    """Name the qdisc of a leaf."""
    if isinstance(leaf, Netem):
        return "netem"
    return "pfifo" if isinstance(leaf, Fifo) else leaf.kind


def _spot_text(spot: Spot) -> str:
    side = "ingress" if spot.parent == INGRESS_PARENT else handle_text(spot.parent)
    return f"{side} prio {spot.prio} ({'IPv4' if spot.protocol == ETH_P_IP else 'IPv6'})"
