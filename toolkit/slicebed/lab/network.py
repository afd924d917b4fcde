"""The lab's interfaces: one bridge for management, and a wire per link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.lab.layout import BRIDGE, MANAGEMENT_INTERFACE, WireKind
from slicebed.lab.tools import ip_batch
from slicebed.lab.wires import start_tap_wire

if TYPE_CHECKING:
    from slicebed.lab.layout import LabPlan, LinkEnd


def build_management(plan: LabPlan, lab_id: str) -> None:
    """Namespaces, bridge and management addresses; nothing of this network is ever shaped."""
    commands = [
        f"link add {BRIDGE} type bridge",
        f"addr add {plan.bridge_address} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    for host in plan.hosts:
        commands += [
            f"netns add {host.namespace}",
            f"link add {host.uplink} type veth peer name {MANAGEMENT_INTERFACE} netns {host.namespace}",
            f"link set {host.uplink} master {BRIDGE} up",
        ]
    ip_batch(commands, lab_id)
    for host in plan.hosts:
        ip_batch(
            ["link set lo up", *_raise_interface(MANAGEMENT_INTERFACE, str(host.management))],
            lab_id,
            namespace=host.namespace,
        )


def build_wires(plan: LabPlan, lab_id: str) -> None:
    """Join the two ends of every link, with nothing set on any wire yet."""
    if plan.wire is WireKind.NETEM:
        ip_batch([_veth_command(plan, *link.ends) for link in plan.links], lab_id)
    else:
        for link in plan.links:
            start_tap_wire(plan, link, lab_id)
    for host in plan.hosts:
        commands = [line for end in host.links for line in _raise_interface(end.interface, str(end.address))]
        ip_batch(commands, lab_id, namespace=host.namespace)


def _veth_command(plan: LabPlan, left: LinkEnd, right: LinkEnd) -> str:
    return (
        f"link add {left.interface} netns {plan.host(left.host).namespace} type veth "
        f"peer name {right.interface} netns {plan.host(right.host).namespace}"
    )


def _raise_interface(interface: str, address: str) -> list[str]:
    commands = [f"addr add {address} dev {interface}", f"link set {interface} up"]
    if Path("/proc/sys/net/ipv6").exists():
        # The lab speaks IPv4; without this every wire carries the kernel's own IPv6 chatter.
        commands.insert(0, f"link set {interface} addrgenmode none")
    return commands
