"""Reads what the kernel tells of qdiscs, classes and filters into the values of `tree`; the reverse of `encode`."""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.host.network.encode import (
    AT_INGRESS,
    AT_ROOT,
    FLOWER_ACTION,
    FLOWER_CLASS,
    FLOWER_FLAGS,
    FLOWER_KEYS,
    HTB_GLOB,
    HTB_OPT,
    HTB_RATE,
    MIRRED,
    NETEM_OPT,
    SELECTOR,
    SELECTOR_KEY,
    TCM,
    U32_OFFSETS,
)
from slicebed_agent.host.network.netlink import attributes
from slicebed_agent.host.network.tree import (
    ETH_P_IP,
    ROOT_HANDLE,
    AddressFilter,
    Fifo,
    Group,
    HashKey,
    HtbClass,
    HtbRoot,
    Leaf,
    LeafQdisc,
    Netem,
    StrangeLeaf,
)
from slicebed_agent.host.network.units import TICK_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KIND, _OPTIONS = 1, 2
_U32_MAX = 0xFFFFFFFF
_OTHER_NETEM = (5, 7, 12, 13)  # loss model, ECN, slots
_FLOWER_ETH_TYPE, _FLOWER_IN_HW_COUNT = 8, 86
_U32_NEVER = frozenset({6, 8, 10})  # police, input device, mark
_ROOT_TABLES = 0x80000000
# By offset of the first word and number of words: what a u32 selector of ours matches.
_U32_FIELDS = {(offset, 1 if is_ipv4 else 4): source for (is_ipv4, source), offset in U32_OFFSETS.items()}


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


def groups(found: Iterable[Message], names: Mapping[int, str]) -> dict[int, Group]:
    """Read every filter under one parent, by preference.

    Args:
        found: the dump, in its order.
        names: the devices' names by their index, for redirections.
    """
    by_spot: dict[tuple[int, int], list[Message]] = {}
    for each in found:
        by_spot.setdefault((each.info >> 16, socket.ntohs(each.info & 0xFFFF)), []).append(each)
    return {
        prio: _u32_group(prio, protocol, members, names)
        if members[0].kind == "u32"
        else _flower_group(prio, protocol, members, names)
        for (prio, protocol), members in sorted(by_spot.items())
    }


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


def _u32_group(prio: int, protocol: int, members: list[Message], names: Mapping[int, str]) -> Group:
    filters: dict[int, AddressFilter] = {}
    key: HashKey | None = None
    link_handle, has_table, strange = 0, False, False
    for member in members:
        options = attributes(member.options)
        if not member.handle:
            continue  # The announcement of the preference itself.
        if 4 in options:
            is_ours = member.handle == prio << 20
            has_table = has_table or is_ours
            # Every u32 preference has a root table of one bucket.
            strange = strange or not (is_ours or member.handle >= _ROOT_TABLES)
        elif 3 in options and key is None and member.handle >= _ROOT_TABLES:
            key, link_handle = _hash_key(options, prio), member.handle
            strange = strange or key is None
        else:
            wanted = _u32_filter(member.handle, options, names)
            if wanted is None or member.handle >> 20 != prio:
                strange = True
            else:
                filters[member.handle] = wanted
    return Group(prio, protocol, "u32", filters, key, has_table, link_handle, strange)


def _hash_key(options: Mapping[int, bytes], prio: int) -> HashKey | None:
    flags, _, keys, _, _, _, offset, mask = SELECTOR.unpack_from(options[5])
    value, value_mask, _, _ = SELECTOR_KEY.unpack_from(options[5], SELECTOR.size)
    shift = {0xFF << each: each for each in (0, 8, 16, 24)}.get(socket.ntohl(mask))
    plain = not flags and keys == 1 and not any(value + value_mask) and not set(options) - {3, 5, 2, 9, 11}
    if not plain or shift is None or struct.unpack("=I", options[3])[0] != prio << 20:
        return None
    return HashKey(offset, shift)


def _u32_filter(handle: int, options: Mapping[int, bytes], names: Mapping[int, str]) -> AddressFilter | None:
    if 5 not in options or set(options) & _U32_NEVER:
        return None
    flags, _, count, _, _, _, hash_offset, mask = SELECTOR.unpack_from(options[5])
    address, offsets = b"", []
    for i in range(count):
        value_mask, value, offset, varying = SELECTOR_KEY.unpack_from(options[5], SELECTOR.size + i * SELECTOR_KEY.size)
        if value_mask != b"\xff\xff\xff\xff" or varying:
            return None
        address += value
        offsets.append(offset)
    of_source = _U32_FIELDS.get((offsets[0], count)) if offsets else None
    if of_source is None or flags != 1 or hash_offset or mask or offsets != list(range(offsets[0], offsets[-1] + 1, 4)):
        return None
    class_id = struct.unpack("=I", options[1])[0] if 1 in options else 0
    redirect = _redirect(options[7], names) if 7 in options else None
    if 7 in options and redirect is None:
        return None
    return AddressFilter(handle, address, of_source, class_id, redirect)


def _flower_group(prio: int, protocol: int, members: list[Message], names: Mapping[int, str]) -> Group:
    filters: dict[int, AddressFilter] = {}
    strange = members[0].kind != "flower"
    for member in members:
        if not member.handle:
            continue
        wanted = None if strange else _flower_filter(member.handle, protocol, attributes(member.options), names)
        strange = strange or wanted is None
        if wanted is not None:
            filters[member.handle] = wanted
    return Group(prio, protocol, members[0].kind, filters, strange=strange)


def _flower_filter(
    handle: int, protocol: int, options: Mapping[int, bytes], names: Mapping[int, str]
) -> AddressFilter | None:
    is_ipv4 = protocol == ETH_P_IP
    for (key_is_ipv4, of_source), key in FLOWER_KEYS.items():
        if key_is_ipv4 != is_ipv4 or key not in options:
            continue
        known = {FLOWER_CLASS, FLOWER_ACTION, FLOWER_FLAGS, _FLOWER_ETH_TYPE, _FLOWER_IN_HW_COUNT, key, key + 1}
        redirect = _redirect(options[FLOWER_ACTION], names) if FLOWER_ACTION in options else None
        odd = set(options) - known or set(options.get(key + 1, b"")) != {0xFF}
        if odd or (FLOWER_ACTION in options and redirect is None):
            return None
        class_id = struct.unpack("=I", options[FLOWER_CLASS])[0] if FLOWER_CLASS in options else 0
        return AddressFilter(handle, options[key], of_source, class_id, redirect)
    return None


def _redirect(actions: bytes, names: Mapping[int, str]) -> str | None:
    found = attributes(actions)
    first = attributes(found.get(1, b""))
    if len(found) != 1 or first.get(1) != b"mirred\0":
        return None
    parameters = attributes(first.get(2, b"")).get(2)
    if parameters is None:
        return None
    _, _, verdict, _, _, direction, index = MIRRED.unpack_from(parameters)
    return names.get(index) if (verdict, direction) == (4, 1) else None
