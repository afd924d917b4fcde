"""An operator's own tree at the root of a device: kept as the kernel tells it, and put back by telling the kernel.

Some trees cannot be put back exactly (what the kernel tells is not all that it was given). Which, is found by trial on
a device of a throwaway network namespace, before the tree is touched.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.network import decode
from slicebed_agent.host.network.devices import read_devices
from slicebed_agent.host.network.encode import GET_CLASS, GET_FILTER, GET_QDISC, TCM, encode
from slicebed_agent.host.network.kernel import add_trial_device, in_throwaway_namespace
from slicebed_agent.host.network.netlink import NetlinkSocket, RefusedError, attribute, attributes
from slicebed_agent.host.network.steps import AnyRoot, Step, Verb
from slicebed_agent.host.network.tree import Device, Foreign, Raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Attributes that say what the object is: kind, options, size table, chain, blocks. The others are counters.
_DESCRIBING = (1, 2, 8, 11, 13, 14)
# The classes of other kinds come with their qdisc.
_MADE_CLASSES = frozenset({"htb", "hfsc", "drr", "qfq", "cbq"})
_U32_COUNTERS, _U32_FLAGS, _U32_DIVISOR, _U32_ACTIONS = 9, 11, 4, 7
_DESCRIBING_ACTION = (1, 2, 6, 7)  # kind, options, cookie, flags
_IN_HARDWARE = 0xC  # TCA_CLS_FLAGS_IN_HW | TCA_CLS_FLAGS_NOT_IN_HW: the kernel's answer, refused as a question
_U32_ROOT_TABLES = 0x80000000
_CODEL_TIMES = {b"codel\0": (1, 3, 5), b"fq_codel\0": (1, 3, 7)}  # target, interval, CE threshold
_TRIAL = "trial"


def read(netlink: NetlinkSocket, index: int, root: decode.Message, qdiscs: Iterable[decode.Message]) -> Foreign:
    """Read everything below a root that is not ours."""
    told = [each for each in qdiscs if each.handle and not each.is_ingress]
    classes = [decode.message(each.payload) for each in netlink.dump(GET_CLASS, TCM.pack(0, index, 0, 0, 0))]
    made = [each for each in classes if each.kind in _MADE_CLASSES]
    objects = [_raw("qdisc", each) for each in told] + [_raw("class", each) for each in made]
    for parent in [each.handle for each in told] + [each.handle for each in made]:
        for reply in netlink.dump(GET_FILTER, TCM.pack(0, index, 0, parent, 0)):
            each = decode.message(reply.payload)
            if each.handle and not _is_root_table(each):
                objects.append(_raw("filter", each))
    return Foreign(root.kind, root.handle, tuple(objects))


def prove(tree: Foreign, device: Device) -> Foreign:
    """Find an order in which the tree can be put back; the result has it as `replay`.

    Raises:
        HostError: it cannot be put back exactly.
    """
    reason = _unreadable(tree)
    if reason is not None:
        raise _cannot(tree, device, reason)
    return in_throwaway_namespace(lambda netlink: _try(netlink, tree, device))


def to_plain(tree: Foreign) -> dict[str, Any]:
    """As JSON holds it."""
    objects = [[r.kind, r.handle, r.parent, r.info, base64.b64encode(r.options).decode()] for r in tree.objects]
    return {"kind": tree.kind, "handle": tree.handle, "objects": objects}


def from_plain(plain: Mapping[str, Any]) -> Foreign:
    """Read what `to_plain` gave."""
    objects = (Raw(k, h, p, i, base64.b64decode(options)) for k, h, p, i, options in plain["objects"])
    return Foreign(plain["kind"], plain["handle"], tuple(objects))


def _try(netlink: NetlinkSocket, tree: Foreign, device: Device) -> Foreign:
    add_trial_device(netlink, _TRIAL, device.mtu_bytes, device.queue_packets, device.queues)
    index = read_devices(netlink)[_TRIAL].index
    refused: RefusedError | None = None
    for replay in _orders(tree):
        try:
            netlink.send([encode(Step(Verb.ADD, _TRIAL, each), lambda _: index) for each in replay])
        except RefusedError as error:
            refused = error
        qdiscs = [decode.message(each.payload) for each in netlink.dump(GET_QDISC, TCM.pack(0, 0, 0, 0, 0))]
        here = [each for each in qdiscs if each.index == index]
        root = next((each for each in here if each.is_root and each.handle), None)
        if root is None:
            continue
        if read(netlink, index, root, here) == tree:
            return replace(tree, replay=replay)
        netlink.send([encode(Step(Verb.DELETE, _TRIAL, AnyRoot(root.kind, root.handle)), lambda _: index)])
    reason = "the kernel tells a copy of it differently" if refused is None else f"it refused: {refused.reason}"
    raise _cannot(tree, device, reason)


def _orders(tree: Foreign) -> Iterable[tuple[Raw, ...]]:
    """Give likely orders in which somebody made the tree: the kernel tells newer things of one hash bucket first."""
    yield _parents_first(tree, sorted(tree.objects, key=lambda each: each.handle))
    yield _parents_first(tree, list(reversed(tree.objects)))
    yield _parents_first(tree, list(tree.objects))


def _parents_first(tree: Foreign, objects: list[Raw]) -> tuple[Raw, ...]:
    made = [each for each in tree.objects if each.handle == tree.handle and each.kind == "qdisc"]
    placed = {tree.handle}
    waiting = [each for each in objects if each.kind != "filter" and each not in made]
    while waiting:
        ready = next((each for each in waiting if _has_parent(each, placed)), waiting[0])
        waiting.remove(ready)
        made.append(ready)
        placed.add(ready.handle)
    # By preference; within one, hash tables before the filters that lead to them, the last one told first.
    filters = [each for each in tree.objects if each.kind == "filter"]
    tables = [each for each in reversed(filters) if _is_table(each)]
    rest = [each for each in filters if not _is_table(each)]
    made += sorted(tables + rest, key=lambda each: (each.parent, each.info >> 16))
    return tuple(_question(each) for each in made)


def _question(each: Raw) -> Raw:
    """Ask for what the kernel told; CoDel rounds its times down twice: to 1024 ns when asked, to us when it tells."""
    told = attributes(each.options)
    times = _CODEL_TIMES.get(told.get(1, b""), ())
    if not times or 2 not in told:
        return each
    options = attributes(told[2])
    for number in times:
        if number in options:
            (told_us,) = struct.unpack("=I", options[number])
            kept = -(-told_us * 1000 // 1024)
            options[number] = struct.pack("=I", -(-kept * 1024 // 1000))
    told[2] = b"".join(attribute(number, value) for number, value in options.items())
    return replace(each, options=b"".join(attribute(number, value) for number, value in told.items()))


def _has_parent(each: Raw, placed: set[int]) -> bool:
    return each.parent in placed or (each.kind == "class" and each.parent == 0xFFFFFFFF)


def _is_table(each: Raw) -> bool:
    told = attributes(each.options)
    return told.get(1) == b"u32\0" and _U32_DIVISOR in attributes(told.get(2, b""))


def _is_root_table(each: decode.Message) -> bool:
    if each.kind != "u32" or each.handle < _U32_ROOT_TABLES:
        return False
    return attributes(each.options).get(_U32_DIVISOR) == struct.pack("=I", 1)


def _raw(kind: str, told: decode.Message) -> Raw:
    options = dict(told.attributes)
    if 2 in options:
        options[2] = _described(kind, told.kind, options[2])
    packed = b"".join(attribute(each, options[each]) for each in _DESCRIBING if each in options)
    return Raw(kind, told.handle, told.parent, told.info if kind == "filter" else 0, packed)


def _described(kind: str, name: str, options: bytes) -> bytes:
    """Take the counters out of the options."""
    if (kind, name) == ("qdisc", "htb"):
        told = attributes(options)
        told[2] = told[2][:16] + bytes(4)  # tc_htb_glob.direct_pkts
        # The kernel tells 3.17 and wants to hear 3.
        told[2] = struct.pack("=I", struct.unpack_from("=I", told[2])[0] >> 16) + told[2][4:]
    elif name == "u32":
        told = attributes(options)
        told.pop(_U32_COUNTERS, None)
        if _U32_FLAGS in told:
            flags = struct.unpack("=I", told.pop(_U32_FLAGS))[0] & ~_IN_HARDWARE
            told |= {_U32_FLAGS: struct.pack("=I", flags)} if flags else {}
        if _U32_ACTIONS in told:
            actions = attributes(told[_U32_ACTIONS]).items()
            told[_U32_ACTIONS] = b"".join(attribute(each, _action(value)) for each, value in actions)
    else:
        return options
    return b"".join(attribute(each, value) for each, value in told.items())


def _action(told: bytes) -> bytes:
    """Take the counters out of an action; of other kinds than these two nothing is known, so that all of it stays."""
    parts = attributes(told)
    if parts.get(1) not in (b"mirred\0", b"gact\0"):
        return told
    options = attributes(parts[2])
    options.pop(1, None)  # TCA_MIRRED_TM, TCA_GACT_TM
    options[2] = options[2][:12] + bytes(8) + options[2][20:]  # tc_gen.refcnt and bindcnt
    parts[2] = b"".join(attribute(each, value) for each, value in options.items())
    return b"".join(attribute(each, parts[each]) for each in _DESCRIBING_ACTION if each in parts)


def _unreadable(tree: Foreign) -> str | None:
    for each in tree.objects:
        told = attributes(each.options)
        if told.get(1) == b"netem\0" and decode.netem(told[2]).jitter_ns:
            return "the kernel does not tell which distribution a netem with jitter was given"
    return None


def _cannot(tree: Foreign, device: Device, reason: str) -> HostError:
    return HostError(
        f"carries a queueing discipline '{tree.kind}' that cannot be put back exactly: {reason}",
        where=device.name,
        mend=f"remove it first: tc qdisc del dev {device.name} root",
    )
