"""From a testbed to the names and addresses of its lab: pure, so the same testbed always gives the same lab."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.spec.testbed_model import DataPlane
from slicebed.spec.wishes import host_wishes, wire_wishes

if TYPE_CHECKING:
    from slicebed.spec.testbed import LabNetworks, Link, Testbed

BRIDGE = "sb-mgmt"
MANAGEMENT_INTERFACE = "mgmt"
NAMESPACE_PREFIX = "sb-"
UPLINK_PREFIX = "sbm-"
# IFNAMSIZ - 1, include/uapi/linux/if.h
INTERFACE_NAME_BYTES = 15
LINK_PREFIX_BITS = 30


# Clock and cores of the machine are shared by every host of the lab.
LAB_PARTS = frozenset({"network", "workload"})


class WireKind(Enum):
    """How the two ends of a link are joined; every result of the lab says which."""

    NETEM = "netem"
    """A veth pair; delay, jitter and rate are set inside the hosts by the kernel's netem."""
    TAP = "tap"
    """A tap in each host and a process between them that holds packets back, for kernels without netem."""


@dataclass(frozen=True)
class LinkEnd:
    """One host's end of a link."""

    host: str
    peer: str
    interface: str
    address: IPv4Interface
    peer_address: IPv4Address


@dataclass(frozen=True)
class LinkPlan:
    """One link; ``index`` is its place in the testbed and names its directory."""

    index: int
    ends: tuple[LinkEnd, LinkEnd]

    @property
    def between(self) -> tuple[str, str]:
        """The two hosts, in the order of the testbed file."""
        return self.ends[0].host, self.ends[1].host


@dataclass(frozen=True)
class HostPlan:
    """One namespace host."""

    name: str
    role: str
    tier: int
    namespace: str
    uplink: str
    management: IPv4Interface
    links: tuple[LinkEnd, ...]


@dataclass(frozen=True)
class LabPlan:
    """Everything the lab is made of, before anything is made.

    `host_wishes` and `wire_wishes` are facts of the inventory, applied as on any testbed (`slicebed.spec.wishes`);
    `data_plane` is one as well.
    """

    name: str
    wire: WireKind
    management: IPv4Network
    data: IPv4Network
    bridge_address: IPv4Interface
    hosts: tuple[HostPlan, ...]
    links: tuple[LinkPlan, ...]
    host_wishes: dict[str, Any]
    wire_wishes: list[Any]
    data_plane: DataPlane = DataPlane.TLS

    def host(self, name: str) -> HostPlan:
        """The host of that name; raises SpecError naming those there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise SpecError(f'unknown host "{name}"', where=f"lab {self.name}", mend=f"hosts of this lab: {known}")

    def link(self, a: str, b: str) -> LinkPlan:
        """The link between two hosts, whichever comes first; raises SpecError when there is none."""
        for link in self.links:
            if set(link.between) == {a, b}:
                return link
        known = ", ".join("-".join(link.between) for link in self.links)
        raise SpecError(f"no link between {a} and {b}", where=f"lab {self.name}", mend=f"links of this lab: {known}")

    def same_network(self, other: LabPlan) -> bool:
        """Whether both are the same hosts, links and addresses; the rest are facts of the inventory."""
        return self._network() == other._network()

    def _network(self) -> tuple[object, ...]:
        hosts = tuple((host.name, host.management, host.links) for host in self.hosts)
        return self.name, self.wire, self.bridge_address, self.data, hosts, tuple(link.ends for link in self.links)


@dataclass(frozen=True)
class _EndFacts:
    """One end of a link as the lab's inventory will have it."""

    end: LinkEnd
    kind: WireKind

    @property
    def peer(self) -> str:
        return self.end.peer

    @property
    def interface(self) -> str:
        return self.end.interface

    @property
    def peer_address(self) -> str:
        return str(self.end.peer_address)

    @property
    def wire(self) -> str:
        return self.kind.value


@dataclass(frozen=True)
class _Entry:
    links: tuple[_EndFacts, ...]


def plan_lab(testbed: Testbed, wire: WireKind) -> LabPlan:
    """Name and address everything of the lab.

    The bridge gets the first address of the management network and the hosts the next ones in tier order; every
    link gets the next /30 of the data network.

    Raises:
        SpecError: the networks overlap each other, or are too small for this many hosts or links.
    """
    networks = _networks(testbed)
    if networks.management.overlaps(networks.data):
        raise SpecError(
            f"management network {networks.management} overlaps data network {networks.data}",
            where=f"testbed {testbed.name}",
            mend="give the lab two ranges that share no address",
        )
    addresses = networks.management.hosts()
    links = _plan_links(testbed)
    try:
        bridge_address = _interface(next(addresses), networks.management)
        hosts = tuple(
            HostPlan(
                name=host.name,
                role=host.role,
                tier=host.tier,
                namespace=f"{NAMESPACE_PREFIX}{host.name}",
                uplink=interface_name(UPLINK_PREFIX, host.name),
                management=_interface(next(addresses), networks.management),
                links=tuple(end for link in links for end in link.ends if end.host == host.name),
            )
            for host in testbed.hosts
        )
    except (StopIteration, RuntimeError):
        raise SpecError(
            f"management network {networks.management} is too small for {len(testbed.hosts)} hosts and their bridge",
            where=f"testbed {testbed.name}",
            mend="give lab.management a shorter prefix",
        ) from None
    ends = {host.name: _Entry(tuple(_EndFacts(end, wire) for end in host.links)) for host in hosts}
    # The round trip before shaping is known only once it was measured: what compensates for it is `slicebed apply`.
    unmeasured = {(link.a, link.b): 0.0 for link in testbed.links}
    return LabPlan(
        name=testbed.name,
        wire=wire,
        management=networks.management,
        data=networks.data,
        bridge_address=bridge_address,
        hosts=hosts,
        links=links,
        host_wishes=host_wishes(testbed, ends, parts=LAB_PARTS, base_rtt_us=unmeasured),
        wire_wishes=wire_wishes(testbed, ends, base_rtt_us=unmeasured),
        data_plane=networks.data_plane,
    )


def interface_name(prefix: str, host: str) -> str:
    """``prefix + host`` cut to what the kernel allows; a cut name ends in a hash of the whole, so it stays unique."""
    name = f"{prefix}{host}"
    if len(name) <= INTERFACE_NAME_BYTES:
        return name
    digest = hashlib.sha256(host.encode()).hexdigest()[:6]
    return f"{name[: INTERFACE_NAME_BYTES - 7]}-{digest}"


def _networks(testbed: Testbed) -> LabNetworks:
    if testbed.lab is None:
        raise SpecError(
            'no "lab" section', where=str(testbed.path), mend="give lab.management and lab.data an address range each"
        )
    return testbed.lab


def _plan_links(testbed: Testbed) -> tuple[LinkPlan, ...]:
    data = _networks(testbed).data
    room = 0 if data.prefixlen > LINK_PREFIX_BITS else 1 << (LINK_PREFIX_BITS - data.prefixlen)
    if len(testbed.links) > room:
        raise SpecError(
            f"data network {data} holds {room} links, {len(testbed.links)} are wanted",
            where=f"testbed {testbed.name}",
            mend="give lab.data a shorter prefix",
        )
    subnets = data.subnets(new_prefix=LINK_PREFIX_BITS) if testbed.links else iter(())
    return tuple(
        _plan_link(index, link, subnet)
        for index, (link, subnet) in enumerate(zip(testbed.links, subnets, strict=False))
    )


def _plan_link(index: int, link: Link, subnet: IPv4Network) -> LinkPlan:
    a, b = link.a, link.b
    address_a, address_b = (_interface(address, subnet) for address in subnet.hosts())
    return LinkPlan(
        index=index,
        ends=(
            LinkEnd(a, b, interface_name("to-", b), address_a, address_b.ip),
            LinkEnd(b, a, interface_name("to-", a), address_b, address_a.ip),
        ),
    )


def _interface(address: IPv4Address, network: IPv4Network) -> IPv4Interface:
    return IPv4Interface(f"{address}/{network.prefixlen}")
