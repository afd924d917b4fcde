"""Reads what the kernel tells of qdiscs and classes into the values of `tree`; the reverse of `encode`."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.host.network.encode import AT_INGRESS, AT_ROOT, HTB_GLOB, HTB_OPT, HTB_RATE, NETEM_OPT, TCM
from slicebed_agent.host.network.netlink import attributes
from slicebed_agent.host.network.tree import ROOT_HANDLE, Fifo, HtbClass, HtbRoot, Leaf, LeafQdisc, Netem, StrangeLeaf
from slicebed_agent.host.network.units import TICK_NS

if TYPE_CHECKING:
    from collections.abc import Mapping

_KIND, _OPTIONS = 1, 2
_OTHER_NETEM = (5, 7, 12, 13)  # loss model, ECN, slots


@dataclass(frozen=True, slots=True)
class Message:
    """One object of a dump: the common head, its kind and its attributes."""

    index: int
    handle: int
    parent: int
    info: int
    kind: str
    attributes: Mapping[int, bytes]

    @property
    def options(self) -> bytes:
        """What only its kind understands."""
        return self.attributes.get(_OPTIONS, b"")

    @property
    def is_root(self) -> bool:
        """True for the qdisc at the root of its device."""
        return self.parent == AT_ROOT

    @property
    def is_ingress(self) -> bool:
        """True for the ingress or clsact of its device."""
        return self.parent == AT_INGRESS


def message(payload: bytes) -> Message:
    """Unpack one message of a dump of qdiscs, classes or filters."""
    _, index, handle, parent, info = TCM.unpack_from(payload)
    found = attributes(payload, TCM.size)
    return Message(index, handle, parent, info, found.get(_KIND, b"").rstrip(b"\0").decode("ascii", "replace"), found)


def htb_root(found: Message) -> HtbRoot:
    """Read HTB's own options."""
    _, rate_to_quantum, default_minor, _, _ = HTB_GLOB.unpack_from(attributes(found.options).get(2, bytes(20)))
    return HtbRoot(default_minor, rate_to_quantum)


def htb_class(found: Message) -> HtbClass:
    """Read one class of HTB."""
    options = attributes(found.options)
    rate, ceil, burst, ceil_burst, quantum, _, priority = HTB_OPT.unpack_from(options[1])
    return HtbClass(
        handle=found.handle,
        # The kernel says so of a class right under the qdisc, however it was named to it.
        parent=ROOT_HANDLE if found.parent == AT_ROOT else found.parent,
        rate=_rate(rate, options.get(6)),
        ceil=_rate(ceil, options.get(7)),
        burst_ticks=burst,
        ceil_burst_ticks=ceil_burst,
        quantum_bytes=quantum,
        priority=priority,
    )


def leaf_qdisc(found: Message) -> LeafQdisc:
    """Read a leaf under one of our classes."""
    leaf: Leaf
    if found.kind == "netem":
        leaf = netem(found.options)
    elif found.kind == "pfifo":
        leaf = Fifo(*struct.unpack_from("=I", found.options))
    else:
        leaf = StrangeLeaf(found.kind)
    return LeafQdisc(found.handle, found.parent, leaf)


def _rate(spec: bytes, wide: bytes | None) -> int:
    return int.from_bytes(wide, sys.byteorder) if wide is not None else int(HTB_RATE.unpack(spec)[5])


def netem(options: bytes) -> Netem:
    """Read the options of a netem, whosever it is."""
    latency, limit, loss, gap, duplicate, jitter = NETEM_OPT.unpack_from(options)
    found = attributes(options, NETEM_OPT.size)
    delay_correlation, loss_correlation, duplicate_correlation = struct.unpack_from("=III", found.get(1, bytes(12)))
    reorder, reorder_correlation = struct.unpack_from("=II", found.get(3, bytes(8)))
    rate, *cells = struct.unpack_from("=IiIi", found.get(6, bytes(16)))
    strange = [found[kind] for kind in _OTHER_NETEM if any(found.get(kind, b""))]
    corruption = found.get(4, bytes(8))
    if any(corruption) or any(cells) or delay_correlation or duplicate_correlation:
        strange.append(corruption + struct.pack("=iIiII", *cells, delay_correlation, duplicate_correlation))
    return Netem(
        latency_ns=struct.unpack("=q", found[10])[0] if 10 in found else latency * TICK_NS,
        jitter_ns=struct.unpack("=q", found[11])[0] if 11 in found else jitter * TICK_NS,
        limit_packets=limit,
        loss=loss,
        loss_correlation=loss_correlation,
        duplicate=duplicate,
        reorder=reorder,
        reorder_correlation=reorder_correlation,
        gap=gap,
        rate=struct.unpack("=Q", found[8])[0] if 8 in found else rate,
        extra=b"".join(strange),
    )
