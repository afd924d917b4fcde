"""Which device carries which link: routes looked up, contradictions and the way in refused before anything changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.tree import Device, ForeignIngress, Found, ifb_name, is_our_ifb
from slicebed_agent.host.wish import ShapeAt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slicebed_agent.host.wish import Address, LinkCondition, LinkWish, NetworkWish


_NETWORK_BYTES = {4: 3, 6: 8}


@dataclass(frozen=True)
class Demand:
    """The links of one interface in one direction.

    Attributes:
        interface: the one that leads to the peers.
        device: the one that holds packets back: the interface, or its ifb.
        of_source: packets come from the peers.
        peers: the condition of every peer.
        names: of the peers.
    """

    interface: Device
    device: str
    of_source: bool
    peers: Mapping[Address, LinkCondition]
    names: Mapping[Address, str]


def master_of(interface: str) -> str | None:
    """Give the bridge or bond that an interface is a port of; None where it is of none."""
    try:
        return Path("/sys/class/net", interface, "master").readlink().name
    except OSError:
        return None


def demands(
    wish: NetworkWish,
    devices: Mapping[str, Device],
    route: Callable[[Address], tuple[int, bool]],
    control: frozenset[Address],
    master: Callable[[str], str | None] = master_of,
) -> dict[str, Demand]:
    """Sort the links by the device that holds their packets back.

    Where a link names its interface, the routes must agree: packets that leave by another one would never be held
    back. Asking for each of 5,000 peers would cost more than all else that is planned, so one peer stands for those
    of its /24 (IPv6: /64) on the same interface; a route to a smaller network inside goes unnoticed. By which
    interface packets come from a peer, routes of this host do not say: there only the address is checked.

    Args:
        wish: of this host.
        devices: of this host.
        route: gives the index of the interface that leads to an address, and whether it is this host's own.
        control: addresses that this host is controlled from.
        master: gives the bridge or bond above an interface: what leaves by that may be held back at a port.

    Raises:
        HostError: two conditions for one peer and direction, an interface that is missing or that the routes do not
            take, an address that no route leads to or that is this host's own, or the address that the SSH connection
            comes from.
    """
    names = {device.index: name for name, device in devices.items()}
    peers: dict[str, dict[Address, LinkWish]] = {}
    interfaces: dict[str, Device] = {}
    asked: set[tuple[str, ShapeAt, bytes]] = set()
    for link in wish.links:
        if link.peer_address in control and not wish.shape_control_path:
            raise HostError(
                f"{link.peer_address} is where the SSH connection to this host comes from",
                where=f"link {link.peer}",
                mend="use another network for the link, or set shape_control_path",
            )
        interface = link.interface
        if interface is None:
            interface = names[_routed(link, route)]
        elif interface not in devices:
            raise HostError(
                f"there is no interface {interface}",
                where=f"link {link.peer}",
                mend=f"there are: {', '.join(sorted(devices))}",
            )
        elif (place := (interface, link.at, _network(link.peer_address))) not in asked:
            asked.add(place)
            taken = names[_routed(link, route)]
            if not _agrees(link, interface, taken, master):
                raise _elsewhere(link, taken)
        incoming = link.at is ShapeAt.RECEIVER
        name = ifb_name(devices[interface].index) if incoming else interface
        interfaces[name] = devices[interface]
        other = peers.setdefault(name, {}).setdefault(link.peer_address, link)
        if other is not link:
            raise _twice(other, link)
    return {
        name: Demand(
            interfaces[name],
            name,
            of_source=name != interfaces[name].name,
            peers={address: link.condition for address, link in links.items()},
            names={address: link.peer for address, link in links.items()},
        )
        for name, links in sorted(peers.items())
    }


def refuse_foreign_ingress(demand: Demand, found: Found, ifb: Found | None) -> None:
    """Refuse to shape at the receiver where somebody else already has an ingress, or a device of our ifb's name.

    Raises:
        HostError: so it is.
    """
    if demand.of_source and ifb is not None and not is_our_ifb(ifb.device):
        raise HostError(
            f"the name {demand.device} is taken by a device of another kind", where=found.device.name, mend="rename it"
        )
    if demand.of_source and isinstance(found.ingress, ForeignIngress):
        raise HostError(
            f"has a {found.ingress.kind} qdisc that Slicebed did not put there",
            where=found.device.name,
            mend=f"shape at the sender, or remove it first: tc qdisc del dev {found.device.name} {found.ingress.kind}",
        )


def _routed(link: LinkWish, route: Callable[[Address], tuple[int, bool]]) -> int:
    try:
        index, is_local = route(link.peer_address)
    except HostError as error:
        raise HostError(error.what, where=f"link {link.peer}", mend=error.mend) from error
    if is_local:
        raise HostError(
            f"{link.peer_address} is an address of this very host",
            where=f"link {link.peer}",
            mend="give the peer's own address",
        )
    return index


def _network(address: Address) -> bytes:
    return address.packed[: _NETWORK_BYTES[address.version]]


def _agrees(link: LinkWish, interface: str, taken: str, master: Callable[[str], str | None]) -> bool:
    # A link-local address is behind every interface: without the interface's name a route to it says nothing.
    if link.at is ShapeAt.RECEIVER or (link.peer_address.version == 6 and link.peer_address.is_link_local):
        return True
    above: str | None = interface
    while above not in (None, taken):
        above = master(above)
    return above == taken


def _elsewhere(link: LinkWish, taken: str) -> HostError:
    return HostError(
        f"packets to {link.peer_address} leave by {taken}, not by {link.interface}, and would never be shaped there",
        where=f"link {link.peer}",
        mend=f"name {taken}, leave the interface out, or give this host a route to the peer by {link.interface}",
    )


def _twice(first: LinkWish, second: LinkWish) -> HostError:
    direction = "from" if second.at is ShapeAt.RECEIVER else "to"
    return HostError(
        f"two conditions for packets {direction} {second.peer_address}: "
        f"of {first.peer} ({first.condition}) and of {second.peer} ({second.condition})",
        where=f"link {second.peer}",
        mend="give every peer address one condition and direction",
    )
