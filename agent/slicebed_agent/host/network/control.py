"""The way in: addresses and interfaces that carry the SSH connection this process was started through."""

from __future__ import annotations

import os
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.devices import read_devices, route_index
from slicebed_agent.host.network.netlink import NetlinkSocket

if TYPE_CHECKING:
    from slicebed_agent.host.wish import Address

_VARIABLE = "SSH_CONNECTION"


def control_addresses() -> frozenset[Address]:
    """Give the addresses that this host is being controlled from; none when it is not through SSH.

    sudo drops the variable that sshd sets, so the processes above this one are asked when it is not here.
    """
    return frozenset(address for address, _ in _clients())


def control_devices() -> frozenset[str]:
    """Give the interfaces through which this host answers those addresses, as its routes say now."""
    clients = _clients()
    if not clients:
        return frozenset()
    with NetlinkSocket() as netlink:
        names = {device.index: name for name, device in read_devices(netlink).items()}
        return frozenset(zone or names[route_index(netlink, address)[0]] for address, zone in clients)


def _clients() -> list[tuple[Address, str]]:
    """Give every client's address with the interface that SSH names beside a link-local one."""
    value = os.environ.get(_VARIABLE) or _from_parents(os.getppid())
    if not value:
        return []
    text, _, zone = value.split()[0].partition("%")
    try:
        address = ip_address(text)
    except ValueError as error:
        raise HostError(
            f"not understood: {value!r}",
            where=_VARIABLE,
            mend="expected: client address and port, own address and port",
        ) from error
    # A dual-stack sshd names IPv4 clients as ::ffff:192.0.2.1, but their packets are IPv4.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return [(mapped or address, zone)]


def _from_parents(process: int) -> str | None:
    prefix = f"{_VARIABLE}=".encode()
    while process > 0:
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            # Another user's process, or one that has just ended: nothing above it can be followed.
            return None
        for variable in environment:
            if variable.startswith(prefix):
                return variable.removeprefix(prefix).decode()
        # The command's name in the middle may hold blanks and parentheses.
        process = int(status.rpartition(")")[2].split()[1])
    return None
