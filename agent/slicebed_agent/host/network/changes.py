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
    Ingress,
    KernelDefault,
    Netem,
    Root,
    ifb_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.host.change import Value
    from slicebed_agent.host.network.tree import Device, ForeignIngress, Found, Wanted

    Names = Mapping[bytes, str]

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


def root_changes(device: Device, carrier: str, found: Root | None, wanted: Root | None, names: Names) -> list[Change]:
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
    for packed in sorted(now_links.keys() | then_links.keys(), key=_order):
        where = _place(device, packed, names, inbound=inbound)
        now_link, then_link = now_links.get(packed), then_links.get(packed)
        told = _link_changes(where, now_link, then_link)
        if not told and (now_link is None) != (then_link is None):
            # Nothing of its own is wished of this peer: what comes or goes is its share of the cap.
            shares = (None if link is None else cap for link, cap in ((now_link, now_cap), (then_link, then_cap)))
            told = [Change(PART, where, "uplink_bit_per_s", *shares)]
        changes += told
    return changes


def inbound_changes(
    device: Device, found: tuple[Found | None, Found | None], wanted: tuple[Wanted | None, Wanted | None], names: Names
) -> list[Change]:
    """Tell what leads incoming packets to the ifb, where that comes, goes or is not as Slicebed makes it.

    Filters that come or go with their peer's own link are told by that link alone.

    Args:
        device: the interface.
        found: what the interface and its ifb hold; None where it is not there.
        wanted: what they shall hold.
        names: peers by address.
    """
    carrier = ifb_name(device.index)
    now, then = (None if each is None else each.ingress for each in (found[0], wanted[0]))
    if (now is None) != (then is None):
        ends = (None if each is None else carrier for each in (now, then))
        return [Change(PART, device.name, "inbound_redirect", *ends)]
    led, shall = _redirected(now, carrier), _redirected(then, carrier)
    linked, wished = (_linked(None if each is None else each.root) for each in (found[1], wanted[1]))
    changes = [
        Change(
            PART,
            _place(device, packed, names, inbound=True),
            "inbound_redirect",
            carrier if packed in led else None,
            carrier if packed in shall else None,
        )
        for packed in sorted(led ^ shall, key=_order)
        if (packed in led) != (packed in linked) or (packed in shall) != (packed in wished)
    ]
    is_strange = isinstance(now, Ingress) and any(group.strange for group in now.groups.values())
    return changes or ([edited(device.name)] if led == shall or is_strange else [])


def edited(device: str) -> Change:
    """Give the change of a device whose links read as wanted, but whose tree is not as Slicebed makes it."""
    return Change(PART, device, "kernel_state", "edited", "as planned")


def _place(device: Device, packed: bytes, names: Names, *, inbound: bool) -> str:
    where = f"link {names.get(packed, ip_address(packed))} ({device.name}, {ip_address(packed)})"
    return f"{where} inbound" if inbound else where


def _order(packed: bytes) -> tuple[int, bytes]:
    return len(packed), packed


def _redirected(ingress: Ingress | ForeignIngress | None, carrier: str) -> set[bytes]:
    groups = ingress.groups.values() if isinstance(ingress, Ingress) else ()
    return {
        each.address
        for group in groups
        # Without the link to the hash table no packet gets to its filters.
        if group.kind == "flower" or group.key is not None
        for each in group.filters.values()
        if each.redirect == carrier
    }


def _linked(root: Root | None) -> set[bytes]:
    return set(minors_by_address(root)) if isinstance(root, Egress) else set()


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
