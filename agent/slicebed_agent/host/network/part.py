"""The network part of a host's conditions: reads, plans, saves, applies and restores in the caller's namespace."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.change import PartPlan
from slicebed_agent.host.network import changes, foreign, reader, tcp
from slicebed_agent.host.network.arrange import arrange
from slicebed_agent.host.network.control import control_addresses
from slicebed_agent.host.network.demand import Demand, demands
from slicebed_agent.host.network.devices import read_devices, route_index
from slicebed_agent.host.network.difference import difference
from slicebed_agent.host.network.execute import execute
from slicebed_agent.host.network.kernel import kernel_features
from slicebed_agent.host.network.netlink import NetlinkSocket
from slicebed_agent.host.network.steps import IngressQdisc, PeerFilter, U32Link, U32Table, WholeGroup
from slicebed_agent.host.network.tree import (
    INGRESS_PARENT,
    Device,
    Foreign,
    ForeignIngress,
    Found,
    Ingress,
    KernelDefault,
    Wanted,
    ifb_name,
    is_our_ifb,
)
from slicebed_agent.host.state import GIVE_UP

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slicebed_agent.host.change import Change
    from slicebed_agent.host.network.kernel import KernelFeatures
    from slicebed_agent.host.network.steps import Step
    from slicebed_agent.host.wish import Address, NetworkWish


@dataclass(frozen=True)
class NetworkPlan(PartPlan):
    """A plan with what was found: to which `Network.apply` goes back when the kernel refuses a step."""

    found: Mapping[str, Found] = field(default_factory=dict)


class Network:
    """Conditions of this host's links, by Slicebed's own netlink messages."""

    name = changes.PART

    def plan(self, wish: NetworkWish, apart: Collection[str] = ()) -> NetworkPlan:
        """Say what would make the links as wished; an empty wish takes everything of ours away.

        Args:
            wish: of links.
            apart: devices that `plan_restore` puts back meanwhile; what of ours is on them is left to it.

        Raises:
            HostError: the wish contradicts itself, the way in, this host's interfaces and routes, or what its kernel
                can do; or somebody else's tree is in the way that could not be put back exactly.
        """
        with NetlinkSocket() as netlink:
            devices = read_devices(netlink)
            wanted_links = _demands(netlink, wish, devices)
            found = reader.read(netlink, devices, _concerned(wanted_links))
        taken_back = {*apart, *(ifb_name(devices[name].index) for name in apart if name in devices)}
        found = {name: each for name, each in found.items() if name not in taken_back}
        features = _features(wish, wanted_links)
        found = _proven(found, wanted_links)
        wanted = arrange(wanted_links, wish.uplink_bit_per_s, features, found)
        return _with_tcp(_plan(found, wanted, wanted_links), tcp.plan(wish.tcp, tcp.read()))

    def names(self, wish: NetworkWish) -> Collection[str]:
        """Give the devices that the wish's links go through, the ifb devices that they need, and settings of TCP."""
        with NetlinkSocket() as netlink:
            return {*_concerned(_demands(netlink, wish, read_devices(netlink))), *tcp.names(wish.tcp)}

    def save(self, wish: NetworkWish, also: Iterable[str] = ()) -> dict[str, Any]:
        """Give what `plan_restore` needs, by device or setting of TCP.

        Our own tree is never an original: without it the kernel's is.
        """
        spoken = {*tcp.names(wish.tcp), *also}
        with NetlinkSocket() as netlink:
            devices = read_devices(netlink)
            wanted_links = _demands(netlink, wish, devices)
            found = reader.read(netlink, devices, {*_concerned(wanted_links), *spoken}, in_full=False)
        saved: dict[str, Any] = tcp.save(spoken, tcp.read())
        for name, each in found.items():
            if is_our_ifb(each.device):
                saved[name] = {"absent": True}
            elif isinstance(each.root, Foreign):
                saved[name] = {"root": foreign.to_plain(each.root)}
            else:
                saved[name] = {"root": None}
        for name, demand in wanted_links.items():
            if demand.of_source:
                saved[name] = {"absent": True}
        return saved

    def apply(self, plan: PartPlan) -> None:
        """Do the steps. What this call did is undone when the kernel refuses one.

        Raises:
            HostError: which step, on which device, what the kernel said.
        """
        if not plan.steps:
            return
        if not isinstance(plan, NetworkPlan):
            raise HostError("not a plan of this part", where=plan.part, mend="give the plan that Network.plan made")
        settings = [step for step in plan.steps if isinstance(step, tcp.Setting)]
        tcp.write(settings)
        try:
            with NetlinkSocket() as netlink:
                execute(netlink, plan.steps[len(settings) :], plan.found)
        except HostError:
            tcp.put_back(settings)
            raise

    def plan_restore(self, saved: Mapping[str, Any]) -> NetworkPlan:
        """Say what would put back what `save` gave; devices that are gone took their state along.

        Raises:
            HostError: somebody else's tree can no longer be put back exactly, or what was saved is damaged.
        """
        with NetlinkSocket() as netlink:
            devices = read_devices(netlink)
            ifbs = {ifb_name(devices[name].index) for name in saved if name in devices}
            found = reader.read(netlink, devices, {*saved, *ifbs})
            for name in saved:
                now = found.get(name)
                left = ifb_name(now.device.index) if now is not None else ""
                if (
                    now is not None
                    and isinstance(now.ingress, ForeignIngress)
                    and left in saved
                    and left not in devices
                ):
                    # Somebody deleted our ifb device: the redirect to it is ours all the same, and leads nowhere.
                    found[name] = replace(now, ingress=Ingress({}))
        wanted: dict[str, Wanted | None] = dict.fromkeys(name for name in ifbs if name in found)
        for name, original in saved.items():
            if name not in found:
                continue
            if original == {"absent": True}:
                wanted[name] = None
                continue
            tree, now = _saved_root(name, original), found[name]
            if tree is None:
                wanted[name] = Wanted()
            else:
                wanted[name] = Wanted(now.root if now.root == tree else foreign.prove(tree, now.device))
        return _with_tcp(_plan(found, wanted, {}), tcp.plan_restore(saved, tcp.read()))


def _demands(netlink: NetlinkSocket, wish: NetworkWish, devices: Mapping[str, Device]) -> dict[str, Demand]:
    def route(address: Address) -> tuple[int, bool]:
        return route_index(netlink, address)

    return demands(wish, devices, route, control_addresses())


def _concerned(wanted_links: Mapping[str, Demand]) -> set[str]:
    return set(wanted_links) | {demand.interface.name for demand in wanted_links.values()}


def _features(wish: NetworkWish, wanted_links: Mapping[str, Demand]) -> KernelFeatures:
    features = kernel_features()
    needed = {"htb"}
    if any(link.condition.delay_us or link.condition.loss or link.condition.duplicate for link in wish.links):
        needed.add("netem")
    if any(demand.of_source for demand in wanted_links.values()):
        needed |= {"ifb", "ingress", "mirred"}
    if wish.links and not all(features.can(each) for each in needed):
        # A module may have been installed since; better look again than refuse.
        features = kernel_features(fresh=True)
        for each in sorted(needed - {"netem"}):
            if not features.can(each):
                raise HostError(
                    f"the kernel refused {each}: {features.refusals[each]}",
                    where="network",
                    mend="load its module, or use a kernel that has it",
                )
    return features


def _proven(found: Mapping[str, Found], wanted_links: Mapping[str, Demand]) -> dict[str, Found]:
    """Prove of every tree of somebody else's that is in the way that it can be put back."""
    proven = dict(found)
    for name in wanted_links:
        now = found.get(name)
        if now is not None and isinstance(now.root, Foreign):
            proven[name] = replace(now, root=foreign.prove(now.root, now.device))
    return proven


def _plan(
    found: Mapping[str, Found], wanted: Mapping[str, Wanted | None], wanted_links: Mapping[str, Demand]
) -> NetworkPlan:
    steps = difference(found, wanted)
    touched = {step.device for step in steps}
    led = {step.device for step in steps if _is_of_ingress(step)}
    rooted = {step.device for step in steps if not _is_of_ingress(step)}
    by_ifb = {ifb_name(each.device.index): each.device for each in found.values()}
    told: list[Change] = []
    for name in sorted(touched):
        device = by_ifb.get(name) or found[name].device
        if name in rooted:
            then = wanted[name]
            now = found[name].root if name in found else None
            root = None if then is None else then.root or KernelDefault()
            names = _names(wanted_links.get(name))
            told += changes.root_changes(device, name, now, root, names) or [changes.edited(name)]
        if name in led:
            ifb = ifb_name(device.index)
            names = _names(wanted_links.get(ifb))
            told += changes.inbound_changes(
                device, (found.get(name), found.get(ifb)), (wanted.get(name), wanted.get(ifb)), names
            )
    devices = {by_ifb[name].name if name in by_ifb else name for name in touched}
    return NetworkPlan(changes.PART, tuple(dict.fromkeys(told)), steps, frozenset(devices | touched), found)


def _with_tcp(plan: NetworkPlan, settings: tuple[tcp.Setting, ...]) -> NetworkPlan:
    """Settings come before the links' steps."""
    told = tuple(setting.change(changes.PART) for setting in settings)
    return replace(plan, changes=(*told, *plan.changes), steps=(*settings, *plan.steps))


def _names(demand: Demand | None) -> dict[bytes, str]:
    return {} if demand is None else {address.packed: peer for address, peer in demand.names.items()}


def _is_of_ingress(step: Step) -> bool:
    match step.thing:
        case IngressQdisc():
            return True
        case WholeGroup(spot=spot) | U32Table(spot=spot) | U32Link(spot=spot) | PeerFilter(spot=spot):
            return spot.parent == INGRESS_PARENT
        case _:
            return False


def _saved_root(name: str, original: Any) -> Foreign | None:
    """Read the root that `save` gave: somebody else's, or None for the kernel's own."""
    try:
        return None if original["root"] is None else foreign.from_plain(original["root"])
    except (KeyError, TypeError, ValueError) as error:
        raise HostError("the saved original is not as Slicebed writes it", where=name, mend=GIVE_UP) from error
