"""Reads what the devices of this network namespace hold: one dump of qdiscs, classes and filters only where needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slicebed_agent.host.network import decode, decode_filters, foreign
from slicebed_agent.host.network.devices import read_devices
from slicebed_agent.host.network.encode import GET_CLASS, GET_FILTER, GET_QDISC, TCM
from slicebed_agent.host.network.steps import leaf_kind
from slicebed_agent.host.network.tree import (
    INGRESS_PARENT,
    ROOT_HANDLE,
    Device,
    Egress,
    ForeignIngress,
    Found,
    Group,
    Ingress,
    KernelDefault,
    LeafQdisc,
    Root,
    StrangeLeaf,
    ifb_name,
    is_our_ifb,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from slicebed_agent.host.network.netlink import NetlinkSocket


def read(
    netlink: NetlinkSocket, devices: Mapping[str, Device], concerned: Collection[str], *, in_full: bool = True
) -> dict[str, Found]:
    """Read the devices that are concerned, and every other one that holds something of ours.

    Args:
        netlink: in the namespace to read.
        devices: all of the namespace.
        concerned: names; those that do not exist are left out.
        in_full: our own trees with all that is in them; otherwise only that they are there.
    """
    names = {device.index: name for name, device in devices.items()}
    qdiscs: dict[str, list[decode.Message]] = {}
    for reply in netlink.dump(GET_QDISC, TCM.pack(0, 0, 0, 0, 0)):
        told = decode.message(reply.payload)
        if told.index in names:
            qdiscs.setdefault(names[told.index], []).append(told)
    found = {}
    for name, device in sorted(devices.items()):
        held = qdiscs.get(name, [])
        root = next((each for each in held if each.is_root), None)
        ours = root is not None and root.kind == "htb" and root.handle == ROOT_HANDLE
        if ours or name in concerned or is_our_ifb(device) or ifb_name(device.index) in devices:
            if ours and not in_full:
                found[name] = Found(device, Egress(), None)
            else:
                found[name] = Found(device, _root(netlink, device, held), _ingress(netlink, device, held, names))
    return found


def read_all(netlink: NetlinkSocket, concerned: Collection[str]) -> dict[str, Found]:
    """Read the interfaces first, then as `read`."""
    return read(netlink, read_devices(netlink), concerned)


def _root(netlink: NetlinkSocket, device: Device, held: list[decode.Message]) -> Root:
    root = next((each for each in held if each.is_root), None)
    if root is None or not root.handle:
        return KernelDefault(root.kind if root else "noqueue")
    if root.kind == "htb" and root.handle == ROOT_HANDLE:
        return _egress(netlink, device, root, held)
    return foreign.read(netlink, device.index, root, held)


def _egress(netlink: NetlinkSocket, device: Device, root: decode.Message, held: list[decode.Message]) -> Egress:
    told = [decode.message(each.payload) for each in netlink.dump(GET_CLASS, TCM.pack(0, device.index, 0, 0, 0))]
    classes = {each.handle: decode.htb_class(each) for each in told if each.handle >> 16 == ROOT_HANDLE >> 16}
    leaves: dict[int, LeafQdisc] = {}
    majors = {each.parent >> 16 for each in held}
    for each in held:
        if each.parent in classes:
            leaf = decode.leaf_qdisc(each)
            # Somebody's qdisc below our leaf makes it another thing.
            is_odd = each.handle >> 16 in majors
            leaves[each.parent] = replace(leaf, leaf=StrangeLeaf(leaf_kind(leaf.leaf))) if is_odd else leaf
    return Egress(decode.htb_root(root), classes, leaves, _groups(netlink, device, ROOT_HANDLE, {}))


def _ingress(
    netlink: NetlinkSocket, device: Device, held: list[decode.Message], names: Mapping[int, str]
) -> Ingress | ForeignIngress | None:
    ingress = next((each for each in held if each.is_ingress), None)
    if ingress is None:
        return None
    # The ifb device comes before the ingress and goes after it, so that it tells whose the ingress is.
    if ingress.kind != "ingress" or ifb_name(device.index) not in names.values():
        return ForeignIngress(ingress.kind)
    return Ingress(_groups(netlink, device, INGRESS_PARENT, names))


def _groups(netlink: NetlinkSocket, device: Device, parent: int, names: Mapping[int, str]) -> dict[int, Group]:
    replies = netlink.dump(GET_FILTER, TCM.pack(0, device.index, 0, parent, 0))
    return decode_filters.groups([decode.message(each.payload) for each in replies], names)
