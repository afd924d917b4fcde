"""Compiles the links wanted on one device to the tree that carries them: pure, and deterministic.

From nothing, classes are numbered in the order of their addresses. A peer that is already there keeps its class and
its filter, new ones take the lowest that are free: a new peer disturbs nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.network import hashing, units
from slicebed_agent.host.network.tree import (
    ETH_P_IP,
    ETH_P_IPV6,
    FIRST_MINOR,
    INNER_CLASS,
    LAST_MINOR,
    ROOT_HANDLE,
    UNLIMITED_BYTE_PER_S,
    AddressFilter,
    Egress,
    Fifo,
    Group,
    HtbClass,
    HtbRoot,
    Ingress,
    Leaf,
    LeafQdisc,
    Netem,
    leaf_handle,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed_agent.host.wish import Address, LinkCondition

# What a peer may send without borrowing while a cap is shared: next to nothing, so that the cap holds them all.
_BORROWING_BYTE_PER_S = 1
_QUANTUM_BYTES = 1514
_PRIOS = {ETH_P_IP: (1, 3), ETH_P_IPV6: (2, 4)}


@dataclass(frozen=True)
class Facts:
    """What the compiler must know of a device and its kernel.

    Attributes:
        device: its name, for errors.
        mtu_bytes: the largest packet without the Ethernet header.
        has_netem: everything of a link goes into netem; without it only rate and queue can be had.
        netem_refusal: what the kernel said when netem was tried.
        has_flower: filters are flower, otherwise u32.
        duplicate_refusal: what the kernel said when a netem that duplicates was put beside another one.
        of_source: the device sees packets on their way in, so that peers are their source.
    """

    device: str
    mtu_bytes: int = 1500
    has_netem: bool = True
    netem_refusal: str = ""
    has_flower: bool = True
    duplicate_refusal: str = ""
    of_source: bool = False


def compile_egress(
    peers: Mapping[Address, LinkCondition], cap_bit_per_s: int | None, facts: Facts, found: Egress | None
) -> Egress | None:
    """Give the tree for the peers of one device; None where no peer meets anything and there is no tree to have.

    Args:
        peers: the condition of every peer; those that meet nothing get no class.
        cap_bit_per_s: what all of them share; None is no cap.
        facts: of the device and its kernel.
        found: our own tree that is there; its numbers are kept.

    Raises:
        HostError: the kernel cannot do it, or the peers are too many.
    """
    shaped = {address: condition for address, condition in peers.items() if not condition.is_unshaped}
    if cap_bit_per_s is not None:
        shaped = dict(peers)
    if not shaped:
        return None
    _refuse_duplicates(shaped, facts)
    minors = _number(shaped, facts, found)
    cap = UNLIMITED_BYTE_PER_S if cap_bit_per_s is None else units.byte_rate(cap_bit_per_s)
    burst = units.burst_ticks(cap)
    classes = {INNER_CLASS: HtbClass(INNER_CLASS, ROOT_HANDLE, cap, cap, burst, burst, _QUANTUM_BYTES)}
    leaves: dict[int, LeafQdisc] = {}
    for address, minor in minors.items():
        handle = ROOT_HANDLE | minor
        rate, leaf = _shape(shaped[address], address, facts)
        classes[handle] = _peer_class(handle, rate, cap, is_shared=cap_bit_per_s is not None)
        if leaf is not None:
            leaves[handle] = LeafQdisc(leaf_handle(minor), handle, leaf)
    targets = {address: (minor, ROOT_HANDLE | minor) for address, minor in minors.items()}
    groups = _compile_groups(targets, facts, {} if found is None else found.groups, redirect=None)
    return Egress(HtbRoot(), classes, leaves, groups)


def compile_ingress(wanted: Egress, ifb: str, facts: Facts, found: Ingress | None) -> Ingress:
    """Give the filters that redirect packets from the peers of an ifb device's tree to it."""
    from_address = {each.address: each.class_id for group in wanted.groups.values() for each in group.filters.values()}
    targets = {ip_address(packed): (class_id & 0xFFFF, 0) for packed, class_id in from_address.items()}
    return Ingress(_compile_groups(targets, facts, {} if found is None else found.groups, redirect=ifb))


def minors_by_address(found: Egress) -> dict[bytes, int]:
    """Give the class of every address that a tree's filters name, where that class is there too."""
    numbered: dict[bytes, int] = {}
    for _, group in sorted(found.groups.items()):
        if group.kind != "flower" and group.key is None:
            continue  # Without the link to the hash table no packet gets there.
        for _, each in sorted(group.filters.items()):
            if each.class_id in found.classes and each.address not in numbered:
                numbered[each.address] = each.class_id & 0xFFFF
    return numbered


def _number(peers: Iterable[Address], facts: Facts, found: Egress | None) -> dict[Address, int]:
    held = {} if found is None else minors_by_address(found)
    taken = set(held.values())
    numbered: dict[Address, int] = {}
    used: set[int] = set()
    free = FIRST_MINOR
    for address in sorted(peers, key=lambda each: (each.version, int(each))):
        minor = held.get(address.packed)
        if minor is None or not FIRST_MINOR <= minor <= LAST_MINOR or minor in used:
            while free in taken or free in used:
                free += 1
            minor = free
        if minor > LAST_MINOR:
            raise HostError(
                f"more peers than classes ({LAST_MINOR - FIRST_MINOR + 1})",
                where=facts.device,
                mend="spread them over several interfaces",
            )
        used.add(minor)
        numbered[address] = minor
    return numbered


def _refuse_duplicates(peers: Mapping[Address, LinkCondition], facts: Facts) -> None:
    duplicating = [address for address, condition in peers.items() if condition.duplicate]
    if facts.has_netem and facts.duplicate_refusal and duplicating and len(peers) > 1:
        raise HostError(
            f"duplication beside other links on one device, which this kernel refused: {facts.duplicate_refusal}",
            where=f"link to {duplicating[0]} on {facts.device}",
            mend="shape this link alone on its device, or without duplication",
        )


def _peer_class(handle: int, rate: int, cap: int, *, is_shared: bool) -> HtbClass:
    ceil = min(rate, cap)
    burst = units.burst_ticks(ceil)
    assured = _BORROWING_BYTE_PER_S if is_shared else ceil
    return HtbClass(handle, INNER_CLASS, assured, ceil, burst, burst, _QUANTUM_BYTES)


def _shape(condition: LinkCondition, address: Address, facts: Facts) -> tuple[int, Leaf | None]:
    """Divide a condition between the class's rate and its leaf."""
    rate = condition.rate_bit_per_s
    if condition.is_unshaped:
        return UNLIMITED_BYTE_PER_S, None  # Only the shared cap is there to be met.
    if facts.has_netem:
        return UNLIMITED_BYTE_PER_S, _netem(condition, facts)
    if condition.delay_us or condition.loss or condition.duplicate:
        raise HostError(
            f"delay, loss and duplication need sch_netem, which this kernel refused: {facts.netem_refusal}",
            where=f"link to {address} on {facts.device}",
            mend="load or build it (modprobe sch_netem, or a kernel with it)",
        )
    leaf = None if condition.queue_packets is None else Fifo(condition.queue_packets)
    return UNLIMITED_BYTE_PER_S if rate is None else units.byte_rate(rate), leaf


def _netem(condition: LinkCondition, facts: Facts) -> Netem:
    if condition.jitter_us > units.LARGEST_JITTER_US:
        raise HostError(
            f"jitter of {condition.jitter_us} us is more than netem can hold",
            where=facts.device,
            mend=f"allowed: 0 to {units.LARGEST_JITTER_US} us",
        )
    in_flight = units.packets_in_flight(
        condition.delay_us, condition.jitter_us, condition.rate_bit_per_s, facts.mtu_bytes
    )
    return Netem(
        latency_ns=condition.delay_us * 1000,
        jitter_ns=units.jitter_ns(condition.jitter_us, condition.distribution),
        limit_packets=units.netem_limit(in_flight, condition.queue_packets),
        loss=units.share_of_32_bits(condition.loss),
        loss_correlation=units.share_of_32_bits(condition.loss_correlation),
        duplicate=units.share_of_32_bits(condition.duplicate),
        reorder=units.share_of_32_bits(condition.reorder),
        reorder_correlation=units.share_of_32_bits(condition.reorder_correlation),
        gap=1 if condition.reorder else 0,
        rate=0 if condition.rate_bit_per_s is None else units.byte_rate(condition.rate_bit_per_s),
    )


def _compile_groups(
    targets: Mapping[Address, tuple[int, int]], facts: Facts, found: Mapping[int, Group], *, redirect: str | None
) -> dict[int, Group]:
    """One group for each address family: every address to its (minor, class)."""
    groups = {}
    for version, protocol in ((4, ETH_P_IP), (6, ETH_P_IPV6)):
        filters = {
            address.packed: AddressFilter(minor, address.packed, facts.of_source, class_id, redirect)
            for address, (minor, class_id) in targets.items()
            if address.version == version
        }
        if not filters:
            continue
        kind = "flower" if facts.has_flower else "u32"
        held = [found[prio] for prio in _PRIOS[protocol] if prio in found]
        kept = next((group for group in held if _can_be_kept(group, protocol, kind)), None)
        prio = kept.prio if kept else next((p for p in _PRIOS[protocol] if p not in found), _PRIOS[protocol][0])
        if kind == "flower":
            groups[prio] = Group(prio, protocol, kind, {each.handle: each for each in filters.values()})
            continue
        key = hashing.choose_key(list(filters), kept.key if kept else None, of_source=facts.of_source)
        if key is None:
            raise HostError(
                f"no octet spreads {len(filters)} addresses over a u32 hash table ({hashing.LARGEST_BUCKET} a bucket)",
                where=facts.device,
                mend="use a kernel with cls_flower, or fewer peers",
            )
        if kept and kept.key not in (None, key):
            # Another octet must choose the bucket: build beside what is there, so that no packet goes astray.
            prio, kept = sum(_PRIOS[protocol]) - prio, None
        groups[prio] = _hashed(Group(prio, protocol, kind, {}, key, has_table=True), filters, kept, facts)
    return groups


def _can_be_kept(group: Group, protocol: int, kind: str) -> bool:
    return group.protocol in (0, protocol) and group.kind == kind and not group.strange


def _hashed(empty: Group, filters: Mapping[bytes, AddressFilter], kept: Group | None, facts: Facts) -> Group:
    if empty.key is None:
        raise AssertionError(empty)
    held = {each.address: each.handle for each in kept.filters.values()} if kept else {}
    places = hashing.place(list(filters), empty.key, empty.prio, held, of_source=facts.of_source)
    return replace(
        empty, filters={places[address]: replace(each, handle=places[address]) for address, each in filters.items()}
    )
