"""Reads and writes link conditions through netlink (pyroute2). One step of the planner is one message to the kernel."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from slicebed_agent.errors import HostError
from slicebed_agent.host.links import (
    ROOT_HANDLE,
    UNLIMITED_BIT_PER_S,
    Action,
    Condition,
    InterfaceState,
    Step,
    leaf_handle,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ETH_P_IP = 0x0800
_U32_HOST_MASK = 0xFFFFFFFF
_IPV4_DESTINATION_OFFSET = 16
_PSCHED_TICK_US = 0.064  # pyroute2 reads netem's delay back in scheduler ticks of 64 ns


class Netlink(Protocol):
    """The part of pyroute2's IPRoute used here; a NetNS serves as well."""

    def link_lookup(self, **kwargs: Any) -> list[int]: ...  # noqa: D102 - pyroute2's

    def tc(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102 - pyroute2's

    def get_qdiscs(self, **kwargs: Any) -> Iterable[Any]: ...  # noqa: D102 - pyroute2's

    def get_classes(self, **kwargs: Any) -> Iterable[Any]: ...  # noqa: D102 - pyroute2's

    def get_filters(self, **kwargs: Any) -> Iterable[Any]: ...  # noqa: D102 - pyroute2's


def open_netlink() -> Any:
    """Open a netlink socket in the caller's network namespace; the caller closes it."""
    return IPRoute()


def read(netlink: Netlink, interfaces: Iterable[str]) -> dict[str, InterfaceState]:
    """Read what the kernel holds on the interfaces; one that does not exist is left out."""
    states = {}
    for name in sorted(set(interfaces)):
        indexes = netlink.link_lookup(ifname=name)
        if indexes:
            states[name] = _read_interface(netlink, indexes[0])
    return states


def apply(netlink: Netlink, steps: Iterable[Step]) -> None:
    """Send the steps in order. The first one that the kernel refuses takes Slicebed's root off that interface again.

    Raises:
        HostError: which message, on which interface, what the kernel said, and the module that is missing if any.
    """
    for step in steps:
        index = netlink.link_lookup(ifname=step.interface)[0]
        try:
            _send(netlink, index, step)
        except NetlinkError as error:
            if any(q["handle"] == ROOT_HANDLE for q in netlink.get_qdiscs(index=index)):
                netlink.tc("del", "htb", index, handle=ROOT_HANDLE)
            mend = f"the kernel said: {error}; conditions of {step.interface} were removed again"
            if step.action is Action.ADD_LEAF and error.code == errno.ENOENT:
                mend = "this kernel has no sch_netem: load or build it (modprobe sch_netem, or a kernel with it)"
            raise HostError(f"refused: {step}", mend=mend) from error


def _send(netlink: Netlink, index: int, step: Step) -> None:
    class_id = ROOT_HANDLE + step.minor
    condition = step.condition
    match step.action:
        case Action.ADD_ROOT:
            netlink.tc("add", "htb", index, handle=ROOT_HANDLE, default=0)
        case Action.DELETE_ROOT:
            netlink.tc("del", "htb", index, handle=ROOT_HANDLE)
        case Action.ADD_CLASS | Action.CHANGE_CLASS:
            verb = "add-class" if step.action is Action.ADD_CLASS else "change-class"
            rate = (condition.rate_bit_per_s or UNLIMITED_BIT_PER_S) // 8
            # A burst of 10 ms at the rate: enough for the kernel's timer, too little to hide the limit.
            burst = max(1600, rate // 100)
            netlink.tc(
                verb, "htb", index, handle=class_id, parent=ROOT_HANDLE, rate=rate, ceil=rate, burst=burst, cburst=burst
            )
        case Action.ADD_LEAF | Action.CHANGE_LEAF:
            netlink.tc(
                "add" if step.action is Action.ADD_LEAF else "change",
                "netem",
                index,
                handle=leaf_handle(step.minor),
                parent=class_id,
                delay=condition.delay_us,
                jitter=condition.jitter_us,
                limit=condition.limit_packets,
            )
        case Action.DELETE_LEAF:
            netlink.tc("del", "netem", index, handle=leaf_handle(step.minor), parent=class_id)
        case Action.ADD_FILTER:
            key = f"0x{int(_known(step.peer_address)):08x}/0x{_U32_HOST_MASK:08x}+{_IPV4_DESTINATION_OFFSET}"
            netlink.tc(
                "add-filter",
                "u32",
                index,
                parent=ROOT_HANDLE,
                prio=step.minor,
                protocol=_ETH_P_IP,
                target=class_id,
                keys=[key],
            )


def _known(address: IPv4Address | None) -> IPv4Address:
    if address is None:
        raise HostError("a filter without an address", mend="this is a defect of the planner: please report it")
    return address


def _read_interface(netlink: Netlink, index: int) -> InterfaceState:
    root_kind: str | None = None
    ours = False
    leaves: dict[int, tuple[int, int]] = {}
    for qdisc in netlink.get_qdiscs(index=index):
        kind = qdisc.get_attr("TCA_KIND")
        if qdisc["parent"] == 0xFFFFFFFF:
            root_kind, ours = kind, kind == "htb" and qdisc["handle"] == ROOT_HANDLE
        elif kind == "netem":
            options = qdisc.get_attr("TCA_OPTIONS")
            leaves[qdisc["parent"] - ROOT_HANDLE] = (
                round(options["delay"] * _PSCHED_TICK_US),
                round(options["jitter"] * _PSCHED_TICK_US),
            )
    if not ours:
        return InterfaceState(root_kind, ours=False)
    rates = {}
    for htb_class in netlink.get_classes(index=index):
        if htb_class.get_attr("TCA_KIND") == "htb":
            rate = htb_class.get_attr("TCA_OPTIONS").get_attr("TCA_HTB_PARMS")["rate"] * 8
            rates[htb_class["handle"] - ROOT_HANDLE] = None if rate == UNLIMITED_BIT_PER_S else rate
    addresses = _read_filters(netlink, index)
    peers: Mapping[int, tuple[IPv4Address | None, Condition]] = {
        minor: (addresses.get(minor), Condition(*leaves.get(minor, (0, 0)), rate)) for minor, rate in rates.items()
    }
    return InterfaceState("htb", ours=True, peers=peers)


def _read_filters(netlink: Netlink, index: int) -> dict[int, IPv4Address]:
    addresses = {}
    for u32 in netlink.get_filters(index=index, parent=ROOT_HANDLE):
        options = u32.get_attr("TCA_OPTIONS")
        if options is None or options.get_attr("TCA_U32_SEL") is None:
            continue
        # pyroute2 0.9 shifts the four words of a key by one field; the address is the word that is none of the others.
        words = set(options.get_attr("TCA_U32_SEL")["keys"][0].values()) - {0, _U32_HOST_MASK, _IPV4_DESTINATION_OFFSET}
        if len(words) == 1:
            network_order = struct.pack("=I", words.pop())
            addresses[options.get_attr("TCA_U32_CLASSID") - ROOT_HANDLE] = IPv4Address(socket.inet_ntoa(network_order))
    return addresses
