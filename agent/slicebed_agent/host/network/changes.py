"""What a reader of a plan sees: the condition of every link, found and wanted, property by property."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from slicebed_agent.host.change import Change
from slicebed_agent.host.network import units
from slicebed_agent.host.network.compile import minors_by_address
from slicebed_agent.host.network.steps import handle_text
from slicebed_agent.host.network.tree import (
    INNER_CLASS,
    ROOT_HANDLE,
    UNLIMITED_BYTE_PER_S,
    Egress,
    Fifo,
    Foreign,
    KernelDefault,
    Netem,
    Root,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.host.change import Value
    from slicebed_agent.host.network.tree import Device

PART = "network"
_UNSHAPED: dict[str, Value] = {
    "delay_us": 0,
    "jitter_us": 0,
    "distribution": None,
    "loss": 0.0,
    "loss_correlation": 0.0,
    "duplicate": 0.0,
    "reorder": 0.0,
    "reorder_correlation": 0.0,
    "rate_bit_per_s": None,
    "queue_packets": None,
}


def root_changes(
    device: Device, carrier: str, found: Root | None, wanted: Root | None, names: Mapping[bytes, str]
) -> list[Change]:
    """Compare what is at the root of one device with what shall be.

    Args:
        device: the interface that leads to the peers.
        carrier: the device that has the root: the interface, or its ifb.
        found: None where the device is not there yet.
        wanted: None where the kernel's own comes back, or the device goes.
        names: peers by address; one that is unknown is called by its address.
    """
    inbound = carrier != device.name
    changes = []
    if inbound and (found is None or wanted is None) and found is not wanted:
        now, then = (None if each is None else carrier for each in (found, wanted))
        changes.append(Change(PART, device.name, "inbound_device", now, then))
    if (now_text := _root_text(found, inbound)) != (then_text := _root_text(wanted, inbound)):
        changes.append(Change(PART, carrier, "root_qdisc", now_text, then_text))
    now_cap, then_cap = _cap(found), _cap(wanted)
    if now_cap != then_cap:
        changes.append(Change(PART, carrier, "uplink_bit_per_s", now_cap, then_cap))
    now_links, then_links = _links(found, device), _links(wanted, device)
    for packed in sorted(now_links.keys() | then_links.keys(), key=lambda each: (len(each), each)):
        where = f"link {names.get(packed, ip_address(packed))} ({device.name}, {ip_address(packed)})"
        if inbound:
            where += " inbound"
        changes += _link_changes(where, now_links.get(packed), then_links.get(packed))
    return changes


def edited(device: str) -> Change:
    """Give the change of a device whose links read as wanted, but whose tree is not as Slicebed makes it."""
    return Change(PART, device, "kernel_state", "edited", "as planned")


def _link_changes(where: str, now: dict[str, Value] | None, then: dict[str, Value] | None) -> list[Change]:
    found = _UNSHAPED if now is None else now
    changes = []
    for what, unshaped in _UNSHAPED.items():
        wanted = None if then is None else then[what]
        # A link that goes is told by what it had.
        same = found[what] == (unshaped if then is None else wanted)
        if not same:
            changes.append(Change(PART, where, what, found[what], wanted))
    return changes


def _root_text(root: Root | None, inbound: bool) -> str | None:  # noqa: FBT001 - one caller
    match root:
        case Egress():
            return f"htb {handle_text(ROOT_HANDLE)}"
        case Foreign(kind, handle):
            return f"{kind} {handle_text(handle)}"
        case KernelDefault():
            # An ifb's own is of no interest: the device is ours.
            return None if inbound else "kernel default"
        case None:
            return None if inbound else "kernel default"


def _cap(root: Root | None) -> Value:
    inner = root.classes.get(INNER_CLASS) if isinstance(root, Egress) else None
    return None if inner is None or inner.rate >= UNLIMITED_BYTE_PER_S else inner.rate * 8


def _links(root: Root | None, device: Device) -> dict[bytes, dict[str, Value]]:
    if not isinstance(root, Egress):
        return {}
    return {
        packed: _link(root, ROOT_HANDLE | minor, device.mtu_bytes) for packed, minor in minors_by_address(root).items()
    }


def _link(tree: Egress, handle: int, mtu_bytes: int) -> dict[str, Value]:
    told = dict(_UNSHAPED)
    inner = tree.classes.get(INNER_CLASS)
    ceil = tree.classes[handle].ceil
    if ceil < min(UNLIMITED_BYTE_PER_S, UNLIMITED_BYTE_PER_S if inner is None else inner.rate):
        told["rate_bit_per_s"] = ceil * 8
    leaf = tree.leaves.get(handle)
    match None if leaf is None else leaf.leaf:
        case Fifo(limit_packets):
            told["queue_packets"] = limit_packets
        case Netem() as netem:
            told |= _netem(netem, mtu_bytes)
            if netem.rate == 0 and ceil < UNLIMITED_BYTE_PER_S:
                told["rate_bit_per_s"] = ceil * 8
    return told


def _netem(netem: Netem, mtu_bytes: int) -> dict[str, Value]:
    delay_us, jitter_us = netem.latency_ns // 1000, netem.jitter_ns // 1000
    rate = netem.rate * 8 or None
    in_flight = units.packets_in_flight(delay_us, jitter_us, rate, mtu_bytes)
    number = netem.jitter_ns % 1000
    known = jitter_us > 0 and number < len(units.DISTRIBUTIONS)
    return {
        "delay_us": delay_us,
        "jitter_us": jitter_us,
        "distribution": units.DISTRIBUTIONS[number].value if known else None,
        "loss": units.share(netem.loss),
        "loss_correlation": units.share(netem.loss_correlation),
        "duplicate": units.share(netem.duplicate),
        "reorder": units.share(netem.reorder),
        "reorder_correlation": units.share(netem.reorder_correlation),
        "rate_bit_per_s": rate,
        "queue_packets": units.queue_of_limit(netem.limit_packets, in_flight),
    }
