"""What a device of this host holds, found or wanted: queueing disciplines, classes and filters as plain values.

Layout on every conditioned device, so that one host can talk to several peers under different conditions while all
else on the device (SSH among it) passes unshaped::

    htb 5b1d:              unclassified packets go straight through (default 0)
      class 5b1d:1         the cap that all peers share; unlimited where none is asked
        class 5b1d:10+i    one peer; its rate, where netem does not hold it
          netem 5b2d+i:    everything else (or pfifo, where only a queue length is asked)
      flower or u32        the peer's address -> its class, found by hash

Packets that a *receiver* holds back are redirected, by the same filters on the source address under the interface's
ingress, to an ifb device of Slicebed's own that carries the same layout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT_HANDLE = 0x5B1D0000
INNER_CLASS = ROOT_HANDLE | 1
FIRST_MINOR = 0x10
_FIRST_LEAF_MAJOR = 0x5B2D
# Majors up to 0xFFFE are leaves' (0xFFFF is the kernel's ingress).
LAST_MINOR = 0xFFFE - _FIRST_LEAF_MAJOR + FIRST_MINOR
INGRESS_PARENT = 0xFFFF0000
# HTB's "never limits": one terabit per second, in bytes.
UNLIMITED_BYTE_PER_S = 125_000_000_000
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
# All u32 filters of one parent share one preference: hash tables outlive theirs, out of sight, while there is another.
U32_PRIO = 9


def leaf_handle(minor: int) -> int:
    """Handle of the leaf under a class; derived, so that the same class has the same leaf every time."""
    return (_FIRST_LEAF_MAJOR + minor - FIRST_MINOR) << 16


@dataclass(frozen=True, slots=True)
class Netem:
    """A netem leaf. Times in ns, `rate` in byte/s (0 is not limited), shares and correlations of 2**32 - 1.

    The kernel never says which distribution table it was given, so `jitter_ns` carries it in its last three digits
    (see `compile.jitter_ns`); `extra` holds what Slicebed never asks for (a loss model, slots, corruption).
    """

    latency_ns: int
    jitter_ns: int
    limit_packets: int
    loss: int = 0
    loss_correlation: int = 0
    duplicate: int = 0
    reorder: int = 0
    reorder_correlation: int = 0
    gap: int = 0
    rate: int = 0
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Fifo:
    """A pfifo leaf."""

    limit_packets: int


@dataclass(frozen=True, slots=True)
class StrangeLeaf:
    """A leaf that somebody else put under one of our classes."""

    kind: str


Leaf = Netem | Fifo | StrangeLeaf


@dataclass(frozen=True, slots=True)
class LeafQdisc:
    """A leaf with its handle and the class above it."""

    handle: int
    parent: int
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class HtbRoot:
    """The root; anything but these defaults was edited by somebody."""

    default_minor: int = 0
    rate_to_quantum: int = 10


@dataclass(frozen=True, slots=True)
class HtbClass:
    """A class of the root. Rates in byte/s, bursts in the kernel's ticks of 64 ns at their rate."""

    handle: int
    parent: int
    rate: int
    ceil: int
    burst_ticks: int
    ceil_burst_ticks: int
    quantum_bytes: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """Packets to (or from) one address go to a class, or are redirected to another device.

    Attributes:
        handle: the filter's own; a flower filter has the class's minor, a u32 one its place in the hash table.
        address: 4 or 16 bytes.
        of_source: matches the source address instead of the destination.
        class_id: the class, 0 under ingress.
        redirect: the ifb device, None where the filter only classifies.
    """

    handle: int
    address: bytes
    of_source: bool
    class_id: int
    redirect: str | None = None


@dataclass(frozen=True, slots=True)
class HashKey:
    """Which octet of the IP header chooses a u32 bucket: its word's offset and its mask within the word."""

    offset: int
    shift: int


@dataclass(frozen=True, slots=True)
class Group:
    """All filters of one kind and address family under one parent.

    Attributes:
        prio: the preference (tc's prio) of flower filters; the number of u32's hash table.
        protocol: Ethertype; 0 for a u32 table in which nothing says what it is for.
        kind: ``flower``, ``u32``, or another one, which is somebody else's.
        filters: by handle.
        key: u32 only; None until the link from the root table to the hash table is there.
        has_table: u32 only.
        link_handle: u32 only; the kernel chooses it.
        strange: holds something that Slicebed does not write.
    """

    prio: int
    protocol: int
    kind: str
    filters: Mapping[int, AddressFilter]
    key: HashKey | None = None
    has_table: bool = False
    link_handle: int = field(default=0, compare=False)
    strange: bool = False


@dataclass(frozen=True, slots=True)
class Egress:
    """Our tree at the root of a device, found or wanted: classes by handle, leaves by class, groups by their prio."""

    root: HtbRoot = HtbRoot()
    classes: Mapping[int, HtbClass] = field(default_factory=lambda: MappingProxyType({}))
    leaves: Mapping[int, LeafQdisc] = field(default_factory=lambda: MappingProxyType({}))
    groups: Mapping[int, Group] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Raw:
    """One object of somebody else's tree, as the kernel told it and as a request makes it again.

    Attributes:
        kind: ``qdisc``, ``class`` or ``filter``.
        handle: its own.
        parent: what it hangs under.
        info: preference and protocol of a filter, otherwise 0.
        options: attributes without counters.
    """

    kind: str
    handle: int
    parent: int
    info: int
    options: bytes


@dataclass(frozen=True, slots=True)
class KernelDefault:
    """Nobody has configured the root: the kernel's own choice, which comes back by itself."""

    kind: str = "noqueue"


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's tree.

    Attributes:
        kind: of its root.
        handle: of its root.
        objects: everything, in the order in which the kernel told it.
        replay: the same in an order that makes the kernel tell it like that again; empty until that was proven.
    """

    kind: str
    handle: int
    objects: tuple[Raw, ...]
    replay: tuple[Raw, ...] = field(default=(), compare=False)


Root = Egress | KernelDefault | Foreign


@dataclass(frozen=True, slots=True)
class Ingress:
    """Our ingress: groups of redirecting filters, by prio."""

    groups: Mapping[int, Group] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ForeignIngress:
    """An ingress or clsact of somebody else."""

    kind: str


@dataclass(frozen=True, slots=True)
class Device:
    """A network interface."""

    name: str
    index: int
    mtu_bytes: int = 1500
    queue_packets: int = 1000
    queues: int = 1
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What one device holds."""

    device: Device
    root: Root
    ingress: Ingress | ForeignIngress | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one device shall hold; `root` is None where the kernel's own shall come back, or what was found."""

    root: Root | None = None
    ingress: Ingress | None = None


def ifb_name(index: int) -> str:
    """Name of the ifb device that takes the incoming packets of the interface with this index."""
    return f"sbi-{index}"


def is_our_ifb(device: Device) -> bool:
    """Tell an ifb device that Slicebed made."""
    return device.kind == "ifb" and device.name.startswith("sbi-") and device.name[4:].isdigit()
