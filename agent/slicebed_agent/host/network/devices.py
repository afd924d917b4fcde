"""The host's network interfaces and routes, read through netlink."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.encode import GET_LINK, LINK
from slicebed_agent.host.network.netlink import attribute, attributes
from slicebed_agent.host.network.tree import Device

if TYPE_CHECKING:
    from slicebed_agent.host.network.netlink import NetlinkSocket
    from slicebed_agent.host.wish import Address

_NAME, _MTU, _QUEUE_PACKETS, _LINK_INFO, _QUEUES = 3, 4, 13, 18, 31
_GET_ROUTE = 26
_ROUTE = struct.Struct("=BBBBBBBBI")
_ROUTE_DESTINATION, _ROUTE_INTERFACE = 1, 4
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES})
_LOCAL = 2  # RTN_LOCAL


def read_devices(netlink: NetlinkSocket) -> dict[str, Device]:
    """Read every interface of this network namespace, by name."""
    found = {}
    for reply in netlink.dump(GET_LINK, LINK.pack(0, 0, 0, 0, 0)):
        index = LINK.unpack_from(reply.payload)[2]
        told = attributes(reply.payload, LINK.size)
        name = told[_NAME].rstrip(b"\0").decode()
        kind = attributes(told.get(_LINK_INFO, b"")).get(1, b"").rstrip(b"\0").decode()
        found[name] = Device(
            name=name,
            index=index,
            mtu_bytes=_number(told, _MTU, 1500),
            queue_packets=_number(told, _QUEUE_PACKETS, 1000),
            queues=_number(told, _QUEUES, 1),
            kind=kind,
        )
    return found


def route_index(netlink: NetlinkSocket, address: Address) -> tuple[int, bool]:
    """Give the index of the interface through which this host reaches an address, and whether it is this host's own.

    Raises:
        HostError: no route leads there.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    head = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    try:
        reply = netlink.ask(_GET_ROUTE, head + attribute(_ROUTE_DESTINATION, address.packed))
    except OSError as error:
        if error.errno not in _UNREACHABLE:
            raise
        raise HostError(
            f"no route leads to {address} ({error.strerror})",
            where=f"IPv{address.version} routes",
            mend="name the link's interface, or give this host a route",
        ) from error
    told = attributes(reply.payload, _ROUTE.size)
    return _number(told, _ROUTE_INTERFACE, 0), _ROUTE.unpack_from(reply.payload)[7] == _LOCAL


def _number(told: dict[int, bytes], kind: int, otherwise: int) -> int:
    value = told.get(kind)
    return otherwise if value is None else int(struct.unpack("=I", value)[0])
