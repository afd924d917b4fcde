"""Reads what the kernel tells of filters into the values of `tree`; the reverse of `encode`."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from slicebed_agent.host.network.encode import (
    ETH_P_ALL,
    FLOWER_ACTION,
    FLOWER_CLASS,
    FLOWER_FLAGS,
    FLOWER_KEYS,
    MIRRED,
    SELECTOR,
    SELECTOR_KEY,
    U32_OFFSETS,
    U32_VERSIONS,
)
from slicebed_agent.host.network.netlink import attributes
from slicebed_agent.host.network.tree import ETH_P_IP, U32_PRIO, AddressFilter, Group, HashKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed_agent.host.network.decode import Message

_FLOWER_ETH_TYPE, _FLOWER_IN_HW_COUNT = 8, 86
_U32_CLASS, _U32_TABLE, _U32_LINK, _U32_DIVISOR, _U32_SELECTOR, _U32_ACTION = 1, 2, 3, 4, 5, 7
_U32_COUNTERS, _U32_FLAGS = 9, 11
_U32_NEVER = frozenset({6, 8, 10})  # police, input device, mark
_U32_OF_LINK = frozenset({_U32_TABLE, _U32_LINK, _U32_SELECTOR, _U32_COUNTERS, _U32_FLAGS})
_ROOT_TABLES = 0x80000000
_SHIFTS = {0xFF << shift: shift for shift in (0, 8, 16, 24)}
_PROTOCOLS = {version: protocol for protocol, version in U32_VERSIONS.items()}
# By offset of the first word and number of words, what a u32 selector of ours matches: (is IPv4, of source).
_U32_FIELDS = {(offset, 1 if side[0] else 4): side for side, offset in U32_OFFSETS.items()}


def groups(found: Iterable[Message], names: Mapping[int, str]) -> dict[int, Group]:
    """Read every filter under one parent, by the prio of their group.

    Args:
        found: the dump, in its order.
        names: the devices' names by their index, for redirections.
    """
    by_spot: dict[tuple[int, int], list[Message]] = {}
    for each in found:
        by_spot.setdefault((each.info >> 16, socket.ntohs(each.info & 0xFFFF)), []).append(each)
    read: dict[int, Group] = {}
    for (prio, protocol), members in sorted(by_spot.items()):
        if (prio, protocol, members[0].kind) == (U32_PRIO, ETH_P_ALL, "u32"):
            read |= _u32_groups(members, names)
        elif members[0].kind == "u32":
            read[prio] = Group(prio, protocol, "u32", {}, strange=True)
        else:
            read[prio] = _flower_group(prio, protocol, members, names)
    return read


def _u32_groups(members: list[Message], names: Mapping[int, str]) -> dict[int, Group]:
    tables: set[int] = set()
    links: dict[int, tuple[int, HashKey, int]] = {}
    filters: dict[int, dict[int, AddressFilter]] = {}
    strange = False
    for member in members:
        options = attributes(member.options)
        number, is_in_root = member.handle >> 20, member.handle >= _ROOT_TABLES
        if not member.handle or (is_in_root and _U32_DIVISOR in options):
            continue  # The preference itself, and the root table that it always has.
        if _U32_DIVISOR in options:
            tables.add(number)
        elif is_in_root:
            link = _u32_link(options)
            strange = strange or link is None or link[0] in links
            if link is not None:
                links[link[0]] = (member.handle, link[1], link[2])
        else:
            wanted = _u32_filter(member.handle, options, names)
            strange = strange or wanted is None
            if wanted is not None:
                filters.setdefault(number, {})[member.handle] = wanted
    read = {}
    for number in tables:
        handle, key, protocol = links.get(number, (0, None, 0))
        inside = filters.get(number, {})
        if not protocol:
            # An unfinished table: its filters say what it is for.
            lengths = {len(each.address) for each in inside.values()}
            protocol = ETH_P_IP if lengths == {4} else _PROTOCOLS[b"\x60\0\0\0"] if lengths == {16} else 0
        read[number] = Group(number, protocol, "u32", inside, key, True, handle, strange)  # noqa: FBT003
    if strange and not read:
        read[U32_PRIO] = Group(U32_PRIO, ETH_P_ALL, "u32", {}, strange=True)
    return read


def _u32_link(options: Mapping[int, bytes]) -> tuple[int, HashKey, int] | None:
    """Give the number of the table, the octet and the protocol; None for anything but a link of ours."""
    if not {_U32_LINK, _U32_SELECTOR} <= set(options) <= _U32_OF_LINK:
        return None
    flags, _, keys, _, _, _, offset, mask = SELECTOR.unpack_from(options[_U32_SELECTOR])
    if flags or keys != 1:
        return None
    value_mask, value, *at = SELECTOR_KEY.unpack_from(options[_U32_SELECTOR], SELECTOR.size)
    shift = _SHIFTS.get(socket.ntohl(mask))
    if value_mask != b"\xf0\0\0\0" or any(at) or value not in _PROTOCOLS or shift is None:
        return None
    return struct.unpack("=I", options[_U32_LINK])[0] >> 20, HashKey(offset, shift), _PROTOCOLS[value]


def _u32_filter(handle: int, options: Mapping[int, bytes], names: Mapping[int, str]) -> AddressFilter | None:
    if _U32_SELECTOR not in options or set(options) & _U32_NEVER:
        return None
    selector = options[_U32_SELECTOR]
    flags, _, count, _, _, _, hash_offset, mask = SELECTOR.unpack_from(selector)
    address, offsets = b"", []
    for i in range(count):
        value_mask, value, offset, varying = SELECTOR_KEY.unpack_from(selector, SELECTOR.size + i * SELECTOR_KEY.size)
        if value_mask != b"\xff\xff\xff\xff" or varying:
            return None
        address += value
        offsets.append(offset)
    side = _U32_FIELDS.get((offsets[0], count)) if offsets else None
    if side is None or flags != 1 or hash_offset or mask or offsets != list(range(offsets[0], offsets[-1] + 1, 4)):
        return None
    class_id = struct.unpack("=I", options[_U32_CLASS])[0] if _U32_CLASS in options else 0
    redirect = _redirect(options[_U32_ACTION], names) if _U32_ACTION in options else None
    if _U32_ACTION in options and redirect is None:
        return None
    return AddressFilter(handle, address, side[1], class_id, redirect)


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
