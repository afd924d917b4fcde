"""From the tree found to the tree wanted, in place: what stays is not touched, what changes loses no packet.

Within one device the order is: what packets will meet (classes, leaves, filters) before the link that leads them
there, and what leads packets away before what they met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.host.network.steps import (
    AnyRoot,
    IfbDevice,
    IngressQdisc,
    PeerFilter,
    Spot,
    Step,
    Thing,
    U32Link,
    U32Table,
    Verb,
    WholeGroup,
)
from slicebed_agent.host.network.tree import (
    INGRESS_PARENT,
    INNER_CLASS,
    ROOT_HANDLE,
    Egress,
    Foreign,
    Found,
    Group,
    Ingress,
    KernelDefault,
    LeafQdisc,
    Netem,
    Root,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed_agent.host.network.tree import AddressFilter

Order = list[tuple[Verb, Thing]]


def difference(found: Mapping[str, Found], wanted: Mapping[str, Wanted | None]) -> tuple[Step, ...]:
    """Say what makes every wanted device as wanted; nothing when it is.

    Args:
        found: what there is, by device.
        wanted: what shall be, by device; those left out are left alone. One that is not found is an ifb of ours to be
            made, None one that shall go (the kernel takes what it holds along).
    """
    devices = [(name, then) for name, then in sorted(wanted.items()) if then is not None]
    steps = [Step(Verb.ADD, name, IfbDevice()) for name, _ in devices if name not in found]
    for name, then in devices:
        now = found[name].root if name in found else KernelDefault()
        steps += _steps(name, root_difference(now, then.root))
    # Packets are led to an ifb once it is ready for them, and away from it before it goes.
    for name, then in devices:
        ingress = found[name].ingress if name in found else None
        if ingress is None or isinstance(ingress, Ingress):
            steps += _steps(name, ingress_difference(ingress, then.ingress))
    going = sorted(name for name, then in wanted.items() if then is None and name in found)
    return (*steps, *(Step(Verb.DELETE, name, IfbDevice()) for name in going))


def root_difference(found: Root, wanted: Root | None) -> Order:
    """Compare what is at the root of one device with what shall be; None is the kernel's own."""
    if wanted is None or isinstance(wanted, KernelDefault):
        return _delete_root(found)
    if isinstance(wanted, Foreign):
        if found == wanted:
            return []
        return _delete_root(found) + [(Verb.ADD, each) for each in wanted.replay]
    if isinstance(found, Egress) and not _needs_rebuild(found, wanted):
        return _tree_difference(found, wanted)
    return [*_delete_root(found), (Verb.ADD, wanted.root), *_tree_difference(Egress(), wanted)]


def ingress_difference(found: Ingress | None, wanted: Ingress | None) -> Order:
    """Compare our ingress with the one wanted."""
    if wanted is None:
        return [] if found is None else [(Verb.DELETE, IngressQdisc())]
    order: Order = []
    groups = {} if found is None else found.groups
    if any(group.strange and group.kind == "u32" for group in groups.values()):
        order, groups = [(Verb.DELETE, IngressQdisc())], {}
    if found is None or order:
        order.append((Verb.ADD, IngressQdisc()))
    first, last = _groups_difference(groups, wanted.groups, INGRESS_PARENT)
    return order + first + last


def _steps(device: str, order: Iterable[tuple[Verb, Thing]]) -> list[Step]:
    return [Step(verb, device, thing) for verb, thing in order]


def _delete_root(found: Root) -> Order:
    match found:
        case KernelDefault():
            return []
        case Foreign(kind, handle):
            return [(Verb.DELETE, AnyRoot(kind, handle))]
        case Egress():
            return [(Verb.DELETE, AnyRoot("htb", ROOT_HANDLE))]


def _tree_difference(found: Egress, wanted: Egress) -> Order:
    filters_first, filters_last = _groups_difference(found.groups, wanted.groups, ROOT_HANDLE)
    order: Order = []
    for handle, each in sorted(wanted.classes.items()):
        now = found.classes.get(handle)
        if now != each:
            order.append((Verb.ADD if now is None else Verb.CHANGE, each))
    for parent in sorted(wanted.classes):
        order += _leaf_difference(found.leaves.get(parent), wanted.leaves.get(parent))
    order += filters_first + filters_last
    # Children before their parents: the one parent there is has the lowest number.
    going = sorted((handle for handle in found.classes if handle not in wanted.classes), reverse=True)
    return order + [(Verb.DELETE, found.classes[handle]) for handle in going]


def _needs_rebuild(found: Egress, wanted: Egress) -> bool:
    """Tell whether something is there that cannot be changed in place: only somebody else's edits make it so."""
    if found.root != wanted.root or any(group.strange and group.kind == "u32" for group in found.groups.values()):
        return True
    return any(
        each.parent != (wanted.classes[handle].parent if handle in wanted.classes else INNER_CLASS)
        for handle, each in found.classes.items()
        if handle != INNER_CLASS or handle in wanted.classes
    )


def _leaf_difference(found: LeafQdisc | None, wanted: LeafQdisc | None) -> Order:
    if found == wanted:
        return []
    if found is not None and wanted is not None and found.handle == wanted.handle:
        now, then = found.leaf, wanted.leaf
        # What `extra` holds is not in Slicebed's messages, so that a change would leave it.
        if type(now) is type(then) and not (isinstance(now, Netem) and now.extra):
            return [(Verb.CHANGE, wanted)]
    order: Order = [] if found is None else [(Verb.DELETE, found)]
    return order if wanted is None else [*order, (Verb.ADD, wanted)]


def _groups_difference(found: Mapping[int, Group], wanted: Mapping[int, Group], parent: int) -> tuple[Order, Order]:
    """Give what comes first, and what leads packets away and comes after."""
    first: Order = []
    last: Order = []
    u32 = {prio for prio, group in found.items() if group.kind == "u32"}
    for prio, group in sorted(found.items()):
        if prio in wanted and not _fits(group, wanted[prio]):
            u32.discard(prio)
            first += _delete_group(group, parent, others=bool(u32))
    u32 |= {prio for prio, group in wanted.items() if group.kind == "u32"}
    for prio, group in sorted(wanted.items()):
        now = found.get(prio)
        kept = now if now is not None and _fits(now, group) else None
        spot = Spot(parent, prio, group.protocol)
        before, after = _filters_difference(kept, group, spot)
        first += before
        last += after
    for prio, group in sorted(found.items()):
        if prio not in wanted:
            u32.discard(prio)
            last += _delete_group(group, parent, others=bool(u32))
    return first, last


def _fits(found: Group, wanted: Group) -> bool:
    same = found.kind == wanted.kind and found.protocol in (0, wanted.protocol)
    return same and not found.strange and found.key in (None, wanted.key)


def _delete_group(group: Group, parent: int, *, others: bool) -> Order:
    spot = Spot(parent, group.prio, group.protocol)
    if group.kind != "u32" or not others:
        return [(Verb.DELETE, WholeGroup(spot, group.kind))]
    link = U32Link(spot, group.key, group.link_handle) if group.key is not None else None
    table = U32Table(spot) if group.has_table else None
    return [(Verb.DELETE, each) for each in (link, table) if each is not None]


def _filters_difference(found: Group | None, wanted: Group, spot: Spot) -> tuple[Order, Order]:
    def thing(each: AddressFilter) -> PeerFilter:
        return PeerFilter(spot, wanted.kind, each)

    now: Mapping[int, AddressFilter] = {} if found is None else found.filters
    addresses = {each.address for each in wanted.filters.values()}
    before: Order = []
    after: Order = []
    if wanted.has_table and not (found is not None and found.has_table):
        before.append((Verb.ADD, U32Table(spot)))
    link: Order = [(Verb.ADD, U32Link(spot, wanted.key))] if wanted.key and not (found and found.key) else []
    if found is not None:
        # The kernel takes a u32 preference away with its last filter, tables included: the link keeps it.
        before += link
    for handle, each in sorted(now.items()):
        then = wanted.filters.get(handle)
        if then is None or _match(then) != _match(each):
            # Two filters for one address are refused by flower, and two of one handle by both.
            early = then is not None or each.address in addresses
            (before if early else after).append((Verb.DELETE, thing(each)))
    for handle, each in sorted(wanted.filters.items()):
        old = now.get(handle)
        if old is None or _match(old) != _match(each):
            before.append((Verb.ADD, thing(each)))
        elif old != each:
            before.append((Verb.CHANGE, thing(each)))
    # A new table is led to when it is full.
    return (before if found is not None else before + link), after


def _match(each: AddressFilter) -> tuple[bytes, bool, str | None]:
    return each.address, each.of_source, each.redirect
