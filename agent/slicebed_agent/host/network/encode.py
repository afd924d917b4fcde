"""Packs steps as netlink messages (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/if_link.h)."""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING

from slicebed_agent.host.network.distributions import table
from slicebed_agent.host.network.netlink import FLAG_CHANGE, FLAG_CREATE_NEW, Request, attribute
from slicebed_agent.host.network.steps import (
    AnyRoot,
    IfbDevice,
    IngressQdisc,
    PeerFilter,
    Spot,
    Step,
    U32Link,
    U32Table,
    Verb,
    WholeGroup,
)
from slicebed_agent.host.network.tree import (
    ETH_P_IP,
    ETH_P_IPV6,
    INGRESS_PARENT,
    ROOT_HANDLE,
    U32_PRIO,
    Fifo,
    HtbClass,
    HtbRoot,
    LeafQdisc,
    Netem,
    Raw,
)
from slicebed_agent.host.network.units import DISTRIBUTIONS, TICK_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.host.network.tree import AddressFilter, HashKey

NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_QDISC, DELETE_QDISC, GET_QDISC = 36, 37, 38
NEW_CLASS, DELETE_CLASS, GET_CLASS = 40, 41, 42
NEW_FILTER, DELETE_FILTER, GET_FILTER = 44, 45, 46
TCM = struct.Struct("=BxxxiIII")
LINK = struct.Struct("=BxHiII")
AT_ROOT, AT_INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_U32_MAX = 0xFFFFFFFF
_KIND, _OPTIONS = 1, 2
_BUCKETS = 256

HTB_RATE = struct.Struct("=BBHhHI")
HTB_OPT = struct.Struct("=12s12sIIIII")
HTB_GLOB = struct.Struct("=IIIII")
NETEM_OPT = struct.Struct("=IIIIII")
SELECTOR = struct.Struct("=BBBxHHhhI")
SELECTOR_KEY = struct.Struct("=4s4sii")
MIRRED = struct.Struct("=IIiiiII")
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: HTB then needs no rate table
_HTB_VERSION = 3
_SELECTOR_TERMINAL = 1
_ACT_STOLEN, _EGRESS_REDIRECT = 4, 1
_IFF_UP = 1
ETH_P_ALL = 3

FLOWER_CLASS, FLOWER_ACTION, FLOWER_ETH_TYPE, FLOWER_FLAGS = 1, 3, 8, 22
# By (is IPv4, of source): the key; its mask is the next number.
FLOWER_KEYS = {(True, True): 10, (True, False): 12, (False, True): 14, (False, False): 16}
# Offset of the address in the IP header.
U32_OFFSETS = {(True, True): 12, (True, False): 16, (False, True): 8, (False, False): 24}
# First word of the IP header, masked.
U32_VERSIONS = {ETH_P_IP: b"\x40\0\0\0", ETH_P_IPV6: b"\x60\0\0\0"}


def encode(step: Step, index_of: Callable[[str], int]) -> Request:
    """Pack one step.

    Args:
        step: what to do.
        index_of: the index of a device by its name; asked late, as an ifb device gets its index when it is made.
    """
    thing, adding = step.thing, step.verb is not Verb.DELETE
    flags = FLAG_CREATE_NEW if step.verb is Verb.ADD else FLAG_CHANGE
    if isinstance(thing, IfbDevice):
        return _ifb(step.device, adding=adding, flags=flags)
    index = index_of(step.device)
    match thing:
        case PeerFilter() | U32Link() | U32Table() | WholeGroup():
            return _filter(thing, index, index_of, adding=adding, flags=flags)
        case HtbClass():
            head = TCM.pack(0, index, thing.handle, thing.parent, 0)
            body = _kind("htb") + attribute(_OPTIONS, _htb_class(thing)) if adding else b""
            return Request(NEW_CLASS if adding else DELETE_CLASS, flags, head + body)
        case Raw():
            return _raw(thing, index)
        case HtbRoot():
            options = attribute(2, HTB_GLOB.pack(_HTB_VERSION, thing.rate_to_quantum, thing.default_minor, 0, 0))
            parent, handle, body = AT_ROOT, ROOT_HANDLE, _kind("htb") + attribute(_OPTIONS, options)
        case AnyRoot():
            parent, handle, body = AT_ROOT, thing.handle, b""
        case IngressQdisc():
            parent, handle, body = AT_INGRESS, INGRESS_PARENT, _kind("ingress")
        case LeafQdisc():
            parent, handle, body = thing.parent, thing.handle, _leaf(thing) if adding else b""
    head = TCM.pack(0, index, handle, parent, 0)
    return Request(NEW_QDISC if adding else DELETE_QDISC, flags, head + body)


def _kind(name: str) -> bytes:
    return attribute(_KIND, name.encode() + b"\0")


def _word(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, sys.byteorder))


def _ifb(name: str, *, adding: bool, flags: int) -> Request:
    head = LINK.pack(0, 0, 0, _IFF_UP if adding else 0, _IFF_UP if adding else 0)
    body = attribute(3, name.encode() + b"\0")
    if adding:
        # Where HTB makes its own leaves they are as long as the device's queue; an ifb's own choice, 32, is too short.
        body += _word(13, 1000) + attribute(18, attribute(1, b"ifb\0"))
    return Request(NEW_LINK if adding else DELETE_LINK, flags, head + body)


def _htb_class(wanted: HtbClass) -> bytes:
    rate, ceil = (HTB_RATE.pack(0, _ETHERNET, 0, 0, 0, min(value, _U32_MAX)) for value in (wanted.rate, wanted.ceil))
    parameters = HTB_OPT.pack(
        rate, ceil, wanted.burst_ticks, wanted.ceil_burst_ticks, wanted.quantum_bytes, 0, wanted.priority
    )
    body = attribute(1, parameters)
    if wanted.rate > _U32_MAX:
        body += attribute(6, struct.pack("=Q", wanted.rate))
    if wanted.ceil > _U32_MAX:
        body += attribute(7, struct.pack("=Q", wanted.ceil))
    return body


def _leaf(wanted: LeafQdisc) -> bytes:
    match wanted.leaf:
        case Fifo(limit_packets):
            return _kind("pfifo") + _word(_OPTIONS, limit_packets)
        case Netem() as netem:
            return _kind("netem") + attribute(_OPTIONS, _netem(netem))
        case _:
            raise AssertionError(wanted)  # Nobody wants a leaf that is not ours.


def _netem(wanted: Netem) -> bytes:
    latency, jitter = (min(ns // TICK_NS, _U32_MAX) for ns in (wanted.latency_ns, wanted.jitter_ns))
    pair = struct.Struct("=II")
    body = NETEM_OPT.pack(latency, wanted.limit_packets, wanted.loss, wanted.gap, wanted.duplicate, jitter)
    # What is left out keeps its old value when netem is changed: everything goes in, zeros among it.
    body += attribute(1, struct.pack("=III", 0, wanted.loss_correlation, 0))
    body += attribute(3, pair.pack(wanted.reorder, wanted.reorder_correlation))
    body += attribute(4, pair.pack(0, 0))
    body += attribute(6, struct.pack("=IiIi", min(wanted.rate, _U32_MAX), 0, 0, 0))
    if wanted.rate > _U32_MAX:
        body += attribute(8, struct.pack("=Q", wanted.rate))
    body += attribute(10, struct.pack("=q", wanted.latency_ns)) + attribute(11, struct.pack("=q", wanted.jitter_ns))
    if wanted.jitter_ns:
        body += attribute(2, table(DISTRIBUTIONS[wanted.jitter_ns % 1000]))
    return body


def _filter(
    thing: PeerFilter | U32Link | U32Table | WholeGroup,
    index: int,
    index_of: Callable[[str], int],
    *,
    adding: bool,
    flags: int,
) -> Request:
    spot = thing.spot
    message = NEW_FILTER if adding else DELETE_FILTER
    is_u32 = isinstance(thing, (U32Link, U32Table)) or thing.kind == "u32"
    prio, protocol = (U32_PRIO, ETH_P_ALL) if is_u32 else (spot.prio, spot.protocol)
    info = prio << 16 | socket.htons(protocol)

    def head(handle: int) -> bytes:
        return TCM.pack(0, index, handle, spot.parent, info)

    match thing:
        case WholeGroup():
            return Request(message, flags, head(0))
        case U32Table():
            body = _kind("u32") + (attribute(_OPTIONS, _word(4, _BUCKETS)) if adding else b"")
            return Request(message, flags, head(spot.prio << 20) + body)
        case U32Link():
            body = _kind("u32") + (attribute(_OPTIONS, _link(spot, thing.key)) if adding else b"")
            return Request(message, flags, head(thing.handle) + body)
        case PeerFilter(kind=kind, filter=wanted):
            body = _kind(kind)
            if adding:
                action = b"" if wanted.redirect is None else _redirect(index_of(wanted.redirect))
                body += attribute(_OPTIONS, _flower(wanted, action) if kind == "flower" else _u32(wanted, action))
            return Request(message, flags, head(wanted.handle) + body)


def _link(spot: Spot, key: HashKey) -> bytes:
    # Matches the version of the IP header, then goes on in the bucket that the key's octet names.
    mask = socket.htonl(0xFF << key.shift)
    version = SELECTOR_KEY.pack(b"\xf0\0\0\0", U32_VERSIONS[spot.protocol], 0, 0)
    selector = SELECTOR.pack(0, 0, 1, 0, 0, 0, key.offset, mask) + version
    return _word(3, spot.prio << 20) + attribute(5, selector)


def _u32(wanted: AddressFilter, action: bytes) -> bytes:
    address = wanted.address
    offset = U32_OFFSETS[len(address) == 4, wanted.of_source]
    selector = SELECTOR.pack(_SELECTOR_TERMINAL, 0, len(address) // 4, 0, 0, 0, 0, 0) + b"".join(
        SELECTOR_KEY.pack(b"\xff\xff\xff\xff", address[at : at + 4], offset + at, 0) for at in range(0, len(address), 4)
    )
    body = _word(2, wanted.handle & 0xFFFFF000) + attribute(5, selector)
    if wanted.class_id:
        body += _word(1, wanted.class_id)
    return body + (attribute(7, action) if action else b"")


def _flower(wanted: AddressFilter, action: bytes) -> bytes:
    is_ipv4 = len(wanted.address) == 4
    key = FLOWER_KEYS[is_ipv4, wanted.of_source]
    protocol = ETH_P_IP if is_ipv4 else ETH_P_IPV6
    body = attribute(FLOWER_ETH_TYPE, struct.pack("!H", protocol))
    body += attribute(key, wanted.address) + attribute(key + 1, b"\xff" * len(wanted.address))
    if wanted.class_id:
        body += _word(FLOWER_CLASS, wanted.class_id)
    return body + (attribute(FLOWER_ACTION, action) if action else b"")


def _redirect(index: int) -> bytes:
    # All filters that lead to one ifb share an action. Its number is far from those that the kernel hands out, which an
    # operator's saved tree may need again, and dies with the ifb: a new one never meets an action that leads nowhere.
    number = ROOT_HANDLE | index & 0xFFFF
    parameters = MIRRED.pack(number, 0, _ACT_STOLEN, 0, 0, _EGRESS_REDIRECT, index)
    return attribute(1, attribute(1, b"mirred\0") + attribute(2, attribute(2, parameters)))


def _raw(saved: Raw, index: int) -> Request:
    kind = {"qdisc": NEW_QDISC, "class": NEW_CLASS, "filter": NEW_FILTER}[saved.kind]
    return Request(kind, FLAG_CREATE_NEW, TCM.pack(0, index, saved.handle, saved.parent, saved.info) + saved.options)
