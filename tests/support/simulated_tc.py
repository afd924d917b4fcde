"""A kernel's traffic control as far as the network part uses it, with the rules by which the real one refuses."""

from __future__ import annotations

from dataclasses import replace

from slicebed_agent.host.network.steps import (
    AnyRoot,
    IfbDevice,
    IngressQdisc,
    PeerFilter,
    U32Link,
    U32Table,
    Verb,
    WholeGroup,
)
from slicebed_agent.host.network.tree import (
    ETH_P_IP,
    INGRESS_PARENT,
    INNER_CLASS,
    ROOT_HANDLE,
    Device,
    Egress,
    Found,
    Group,
    HtbClass,
    HtbRoot,
    Ingress,
    KernelDefault,
    LeafQdisc,
    Netem,
)


class Refused(Exception):  # noqa: N818 - what the kernel does
    """The kernel would have answered with an error."""


def demand(condition, text):
    if not condition:
        raise Refused(text)


class SimulatedKernel:
    """Devices with their trees; `do` is one netlink message."""

    def __init__(self, names, *, has_netem=True):
        self.has_netem = has_netem
        self.devices = {name: Device(name, index) for index, name in enumerate(names, start=2)}
        self.roots = {name: KernelDefault() for name in names}
        self.ingresses = {}

    def found(self):
        """What reading would give; immutable."""
        return {
            name: Found(device, self.roots[name], self.ingresses.get(name)) for name, device in self.devices.items()
        }

    def do(self, step):
        """One message; raises Refused and changes nothing when the real kernel would refuse it."""
        thing, name = step.thing, step.device
        if isinstance(thing, IfbDevice):
            self._device(step.verb, name)
            return
        demand(name in self.devices, f"ENODEV {step}")
        match thing:
            case HtbRoot():
                demand(step.verb is Verb.ADD and isinstance(self.roots[name], KernelDefault), f"EEXIST {step}")
                self.roots[name] = Egress(thing)
            case AnyRoot():
                demand(step.verb is Verb.DELETE and not isinstance(self.roots[name], KernelDefault), f"ENOENT {step}")
                self.roots[name] = KernelDefault()
            case IngressQdisc():
                demand((step.verb is Verb.ADD) == (name not in self.ingresses), f"EEXIST {step}")
                if step.verb is Verb.ADD:
                    self.ingresses[name] = Ingress()
                else:
                    del self.ingresses[name]
            case HtbClass():
                self._class(step.verb, self._tree(name), thing, name)
            case LeafQdisc():
                self._leaf(step.verb, self._tree(name), thing, name)
            case _:
                self._filter(step, name)

    def class_of(self, name, address, *, of_source=False):
        """The class that a packet with this address goes to; None goes straight through."""
        found = self._lookup(self.roots[name].groups, address, of_source=of_source)
        return None if found is None else found.class_id

    def redirected(self, name, address):
        """The ifb that a packet from this address is led to; None is not."""
        found = self._lookup(self.ingresses[name].groups, address, of_source=True) if name in self.ingresses else None
        return None if found is None else found.redirect

    def _lookup(self, groups, address, *, of_source):
        for _, group in sorted(groups.items()):
            if (group.protocol == ETH_P_IP) != (len(address) == 4) or (group.kind == "u32" and group.key is None):
                continue
            for handle, each in sorted(group.filters.items()):
                if (each.address, each.of_source) != (address, of_source):
                    continue
                if group.kind == "flower" or (handle >> 12) & 0xFF == self._bucket(group, each):
                    return each
        return None

    def _bucket(self, group, each):
        start = {(4, True): 12, (4, False): 16, (16, True): 8, (16, False): 24}[len(each.address), each.of_source]
        return each.address[group.key.offset - start + 3 - group.key.shift // 8]

    def _tree(self, name):
        demand(isinstance(self.roots[name], Egress), "EINVAL no root")
        return self.roots[name]

    def _device(self, verb, name):
        demand((verb is Verb.ADD) == (name not in self.devices), f"EEXIST {name}")
        if verb is Verb.ADD:
            index = max(device.index for device in self.devices.values()) + 1
            self.devices[name] = Device(name, index, kind="ifb")
            self.roots[name] = KernelDefault("pfifo_fast")
        else:
            del self.devices[name], self.roots[name]

    def _class(self, verb, tree, wanted, name):
        now = tree.classes.get(wanted.handle)
        classes, leaves = dict(tree.classes), dict(tree.leaves)
        demand((verb is Verb.ADD) == (now is None), f"EEXIST or ENOENT class {wanted}")
        demand(wanted.parent == ROOT_HANDLE or wanted.parent in classes, f"ENOENT parent of {wanted}")
        if verb is Verb.DELETE:
            demand(not any(each.parent == wanted.handle for each in classes.values()), "EBUSY class has children")
            bound = (each.class_id for group in tree.groups.values() for each in group.filters.values())
            demand(wanted.handle not in bound, "EBUSY filters lead to the class")
            del classes[wanted.handle]
            leaves.pop(wanted.handle, None)
        else:
            demand(verb is Verb.ADD or now.parent == wanted.parent, "a class is not moved")
            classes[wanted.handle] = wanted
        self.roots[name] = replace(tree, classes=classes, leaves=leaves)

    def _leaf(self, verb, tree, wanted, name):
        now, leaves = tree.leaves.get(wanted.parent), dict(tree.leaves)
        demand(wanted.parent in tree.classes and wanted.parent != INNER_CLASS, "ENOENT class of leaf")
        demand(self.has_netem or not isinstance(wanted.leaf, Netem), "ENOENT netem")
        if verb is Verb.ADD:
            taken = {each.handle for each in leaves.values()}
            demand(now is None and wanted.handle not in taken, "EEXIST leaf")
        else:
            demand(now is not None and now.handle == wanted.handle, "ENOENT leaf")
        if verb is Verb.CHANGE:
            demand(type(now.leaf) is type(wanted.leaf), "EINVAL kind of leaf")
        if verb is Verb.DELETE:
            del leaves[wanted.parent]
        else:
            leaves[wanted.parent] = wanted
        self.roots[name] = replace(tree, leaves=leaves)

    def _filter(self, step, name):
        spot = step.thing.spot
        if spot.parent == INGRESS_PARENT:
            demand(name in self.ingresses, "EINVAL no ingress")
            self.ingresses[name] = Ingress(self._groups(step, dict(self.ingresses[name].groups), None))
        else:
            tree = self._tree(name)
            self.roots[name] = replace(tree, groups=self._groups(step, dict(tree.groups), tree))

    def _groups(self, step, groups, tree):
        thing, verb = step.thing, step.verb
        spot = thing.spot
        if isinstance(thing, WholeGroup):
            demand(verb is Verb.DELETE and spot.prio in groups, f"ENOENT {step}")
            return {
                prio: group
                for prio, group in groups.items()
                if prio != spot.prio and not thing.kind == group.kind == "u32"
            }
        kind = thing.kind if isinstance(thing, PeerFilter) else "u32"
        empty = Group(spot.prio, spot.protocol, kind, {}) if verb is Verb.ADD else None
        group = groups.get(spot.prio, empty)
        demand(group is not None, f"ENOENT {step}")
        demand((group.protocol, group.kind) == (spot.protocol, kind), f"EINVAL {step}")
        if isinstance(thing, U32Table):
            demand(group.has_table == (verb is Verb.DELETE), f"EEXIST or ENOENT {step}")
            demand(verb is Verb.ADD or group.key is None, "EBUSY table is linked")
            if verb is Verb.DELETE:
                del groups[spot.prio]
                return groups
            group = replace(group, has_table=True)
        elif isinstance(thing, U32Link):
            demand(group.has_table and (group.key is None) == (verb is Verb.ADD), f"EEXIST or ENOENT {step}")
            group = replace(group, key=thing.key if verb is Verb.ADD else None)
        else:
            group = self._peer(verb, group, thing.filter, tree)
        groups[spot.prio] = group
        # The kernel takes a preference away with its last filter; all of u32's share one.
        if verb is Verb.DELETE and kind == "flower" and not group.filters:
            del groups[spot.prio]
        hashed = [each for each in groups.values() if each.kind == "u32"]
        if verb is Verb.DELETE and kind == "u32" and not any(each.filters or each.key for each in hashed):
            groups = {prio: each for prio, each in groups.items() if each.kind != "u32"}
        return groups

    def _peer(self, verb, group, wanted, tree):
        filters = dict(group.filters)
        now = filters.get(wanted.handle)
        match = (wanted.address, wanted.of_source)
        demand((verb is Verb.ADD) == (now is None), f"EEXIST or ENOENT {wanted}")
        demand(group.kind == "flower" or group.has_table, "EINVAL no hash table")
        if wanted.redirect is not None:
            demand(wanted.redirect in self.devices, "ENODEV redirect")
        if verb is Verb.DELETE:
            del filters[wanted.handle]
            return replace(group, filters=filters)
        demand(tree is None or wanted.class_id in tree.classes, f"EINVAL no class for {wanted}")
        if verb is Verb.CHANGE:
            demand((now.address, now.of_source, now.redirect) == (*match, wanted.redirect), "EINVAL key changed")
        elif group.kind == "flower":
            demand(match not in {(each.address, each.of_source) for each in filters.values()}, "EEXIST flower key")
        else:
            demand(wanted.handle & 0xFFF > 0 and wanted.handle >> 20 == group.prio, f"EINVAL handle of {wanted}")
        filters[wanted.handle] = wanted
        return replace(group, filters=filters)
