"""What every host and every wire of the lab is to be told: a testbed and an inventory, compiled into plain JSON.

Pure, and on the lowest floor: the lab writes it into its inventory, the testbed's verbs send it to hosts.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

from slicebed.errors import SpecError
from slicebed.spec.links import condition_to_plain
from slicebed.spec.problems import SpecErrors
from slicebed.spec.tcp import tcp_plain
from slicebed.spec.testbed_model import TcpMode
from slicebed.spec.units import shown_us
from slicebed_agent.host.wish import CpuWish, LinkCondition, ShapeAt, WorkloadWish

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from slicebed.spec.testbed import Host, Link, Testbed

NETEM = "netem"
TAP = "tap"
PARTS = frozenset({"network", "cpu", "workload"})
# What remains the sending host's on a wire that delays, loses and repeats packets by itself.
_HOST_SIDE = ("rate_bit_per_s", "queue_packets")


class InventoryLink(Protocol):
    """One end of a link as an inventory has it; ``wire`` is `NETEM` or `TAP`."""

    @property
    def peer(self) -> str: ...  # noqa: D102 - what the inventory calls it

    @property
    def interface(self) -> str | None: ...  # noqa: D102 - None lets the host's routes say

    @property
    def peer_address(self) -> str: ...  # noqa: D102 - as the inventory writes it

    @property
    def wire(self) -> str: ...  # noqa: D102 - what delays the packets


class InventoryEntry(Protocol):
    """A host as an inventory has it."""

    @property
    def links(self) -> Sequence[InventoryLink]: ...  # noqa: D102 - those that end at the host


def host_wishes(
    testbed: Testbed,
    hosts: Mapping[str, InventoryEntry],
    *,
    parts: Collection[str] = PARTS,
    base_rtt_us: Mapping[tuple[str, str], float] | None = None,
    shape_control_path: bool = False,
) -> dict[str, dict[str, Any]]:
    """The wish of every host of the testbed, as `slicebed_agent.host.wish.parse_wish` reads it, by its name.

    A directed link is wished of the host that shapes it; one without a condition is left out, so that a host whose
    links have none gets an empty network part, which means: nothing is shaped. A part of which the testbed says
    nothing is None: left alone.

    Args:
        testbed: what is asked.
        hosts: the inventory; hosts that the testbed does not name are not looked at.
        parts: which parts to compile, of `PARTS`.
        base_rtt_us: round-trip time of each pair found before shaping, in either order of its ends; needed for the
            links that say ``compensate``.
        shape_control_path: allow a link to the address that the SSH connection comes from.

    Raises:
        SpecErrors: where testbed and inventory do not fit, every mistake with file:line.
    """
    directed = list(_directed(testbed, hosts, base_rtt_us or {})) if "network" in parts else []
    return {
        host.name: {
            "host": host.name,
            "network": _network(testbed, host, directed, shape_control_path=shape_control_path)
            if "network" in parts
            else None,
            "cpu": cpu_wish(host) if "cpu" in parts else None,
            "workload": workload_wish(host) if "workload" in parts else None,
        }
        for host in testbed.hosts
    }


def wire_wishes(
    testbed: Testbed,
    hosts: Mapping[str, InventoryEntry],
    *,
    base_rtt_us: Mapping[tuple[str, str], float] | None = None,
) -> list[dict[str, Any]]:
    """The setting of every wire of the lab that delays packets by itself, as `slicebed.lab.set_wire` takes it.

    Each is ``{"a", "b", "forward", "backward"}``; a wire without a condition is among them, with all zeros, and so is
    one between the testbed's hosts that it has no link for: another testbed may have left something there.

    Raises:
        SpecErrors: as `host_wishes`.
    """
    _require_fit(testbed, hosts)
    wires = []
    for link in testbed.links:
        if _end(hosts, link.a, link.b).wire != NETEM:
            forward, backward = _compensated(testbed, link, base_rtt_us or {})
            wires.append({"a": link.a, "b": link.b, "forward": _wire_side(forward), "backward": _wire_side(backward)})
    linked = {frozenset((link.a, link.b)) for link in testbed.links}
    bare = _wire_side(LinkCondition())
    for a, b in combinations(testbed.host_names, 2):
        if frozenset((a, b)) not in linked and any(end.peer == b and end.wire != NETEM for end in hosts[a].links):
            wires.append({"a": a, "b": b, "forward": bare, "backward": bare})
    return wires


def _directed(
    testbed: Testbed, hosts: Mapping[str, InventoryEntry], base_rtt_us: Mapping[tuple[str, str], float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The host that shapes, and the link as its wish holds it."""
    _require_fit(testbed, hosts)
    for link in testbed.links:
        forward, backward = _compensated(testbed, link, base_rtt_us)
        for sender, receiver, condition in ((link.a, link.b, forward), (link.b, link.a, backward)):
            at_sender = link.shape_at is ShapeAt.SENDER
            shaper, peer = (sender, receiver) if at_sender else (receiver, sender)
            end = _end(hosts, shaper, peer)
            own = condition if end.wire == NETEM else _host_side(condition)
            # Under a cap of what the host sends, a link without a condition of its own says which interface is capped.
            capped = at_sender and testbed.host(shaper).uplink_bit_per_s is not None
            if capped or not own.is_unshaped:
                wish = {
                    "peer": peer,
                    "peer_address": end.peer_address,
                    "interface": end.interface,
                    "at": link.shape_at.value,
                    "condition": condition_to_plain(own),
                }
                yield shaper, wish
            if not at_sender and testbed.host(sender).uplink_bit_per_s is not None:
                there = _end(hosts, sender, receiver)
                bare = {"peer": receiver, "peer_address": there.peer_address, "interface": there.interface}
                yield sender, {**bare, "at": ShapeAt.SENDER.value, "condition": condition_to_plain(LinkCondition())}


def _host_side(condition: LinkCondition) -> LinkCondition:
    return LinkCondition(**{name: getattr(condition, name) for name in _HOST_SIDE})


def _wire_side(condition: LinkCondition) -> dict[str, object]:
    plain = condition_to_plain(condition)
    return {name: value for name, value in plain.items() if name not in _HOST_SIDE}


def _network(
    testbed: Testbed, host: Host, directed: list[tuple[str, dict[str, Any]]], *, shape_control_path: bool
) -> dict[str, Any]:
    wish = {
        "links": [link for shaper, link in directed if shaper == host.name],
        "uplink_bit_per_s": host.uplink_bit_per_s,
        "shape_control_path": shape_control_path,
    }
    return {**wish, "tcp": tcp_plain(testbed, host.name)} if testbed.tcp is TcpMode.STREAMING else wish


def cpu_wish(host: Host) -> dict[str, Any] | None:
    """What is wished of a host's processors; None where nothing is."""
    named = {"frequency_khz": "cpu_frequency_khz", "min_khz": "cpu_min_khz", "max_khz": "cpu_max_khz"}
    return _some({field.name: getattr(host, named.get(field.name, field.name)) for field in fields(CpuWish)})


def workload_wish(host: Host) -> dict[str, Any] | None:
    """What is wished of a host's workload; None where nothing is."""
    values = {field.name: getattr(host, field.name) for field in fields(WorkloadWish)}
    return _some({**values, "cores": None if host.cores is None else list(host.cores)})


def _some(values: dict[str, Any]) -> dict[str, Any] | None:
    given = {name: value for name, value in values.items() if value is not None}
    return given or None


def _compensated(
    testbed: Testbed, link: Link, base_rtt_us: Mapping[tuple[str, str], float]
) -> tuple[LinkCondition, LinkCondition]:
    """Both directions, less half the base round trip each; what one has too little of, the other gives up."""
    if not link.compensate:
        return link.forward, link.backward
    place = testbed.place_of_link(link.a, link.b, "compensate")
    base = base_rtt_us.get((link.a, link.b), base_rtt_us.get((link.b, link.a)))
    if base is None:
        raise SpecError(
            f"compensate: the round trip between {link.a} and {link.b} was not measured before shaping",
            where=place,
            mend="apply the testbed by slicebed apply, which measures it, or leave compensate out",
        )
    base_us, asked_us = round(base), link.asked.rtt_us
    if base_us > asked_us:
        raise SpecError(
            f"compensate: the unshaped round trip {shown_us(base_us)} is longer than the {shown_us(asked_us)} asked",
            where=place,
            mend=f"ask for at least {shown_us(base_us)}, or leave compensate out",
        )
    from_backward = min(base_us // 2, link.backward.delay_us)
    from_forward = min(base_us - from_backward, link.forward.delay_us)
    directions = (
        (link.forward, from_forward),
        (link.backward, base_us - from_forward),
    )
    for condition, less_us in directions:
        if condition.jitter_us > condition.delay_us - less_us:
            left = shown_us(condition.delay_us - less_us)
            raise SpecError(
                f"compensate: jitter {shown_us(condition.jitter_us)} is above the delay left, {left}",
                where=place,
                mend="ask for less jitter or more delay, or leave compensate out",
            )
    forward, backward = (replace(each, delay_us=each.delay_us - less_us) for each, less_us in directions)
    return forward, backward


def _end(hosts: Mapping[str, InventoryEntry], host: str, peer: str) -> InventoryLink:
    return next(link for link in hosts[host].links if link.peer == peer)


def _require_fit(testbed: Testbed, hosts: Mapping[str, InventoryEntry]) -> None:
    errors = [*_host_misfits(testbed, hosts), *_link_misfits(testbed, hosts)]
    if errors:
        raise SpecErrors([str(error) for error in errors])


def _host_misfits(testbed: Testbed, hosts: Mapping[str, InventoryEntry]) -> Iterator[SpecError]:
    known = ", ".join(hosts) or "none"
    for host in testbed.hosts:
        place = testbed.place_of_host(host.name)
        if host.name not in hosts:
            yield SpecError(f'host "{host.name}" is not in the inventory', where=place, mend=f"allowed: {known}")
            continue
        peers = [link.peer for link in hosts[host.name].links]
        for peer in dict.fromkeys(peers):
            if peer not in hosts:
                what = f'the inventory links {host.name} to "{peer}", which it does not have'
                yield SpecError(what, where=place, mend=f"allowed: {known}")
            elif peers.count(peer) > 1:
                what = f"the inventory links {host.name} to {peer} {peers.count(peer)} times"
                linked = testbed.link(host.name, peer) is not None
                where = testbed.place_of_link(host.name, peer) if linked else place
                yield SpecError(what, where=where, mend="allowed: one entry of slicebed_links for a peer")


def _link_misfits(testbed: Testbed, hosts: Mapping[str, InventoryEntry]) -> Iterator[SpecError]:
    for link in testbed.links:
        wires: set[str] = set()
        for host, peer in ((link.a, link.b), (link.b, link.a)):
            ends = [each for each in hosts[host].links if each.peer == peer] if host in hosts else []
            wires.update(end.wire for end in ends)
            if not ends and host in hosts:
                what = f"the inventory has no link from {host} to {peer}"
                mend = f"add it to slicebed_links of {host}, or take the link out of the testbed"
                yield SpecError(what, where=testbed.place_of_link(link.a, link.b), mend=mend)
        if len(wires) > 1 or not wires <= {NETEM, TAP}:
            what = f"the inventory's wire of {link.a}-{link.b} is {' and '.join(sorted(wires))}"
            mend = f"allowed: {NETEM} or {TAP}, the same at both ends"
            yield SpecError(what, where=testbed.place_of_link(link.a, link.b), mend=mend)
