"""Addresses as an agent is given them."""

from __future__ import annotations

from slicebed_agent.errors import AgentConfigError


def split(address: str) -> tuple[str, int]:
    """Host and port of host:port.

    Raises:
        AgentConfigError: it is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise AgentConfigError(f"not an address: {address!r}", mend="give HOST:PORT, for example 10.0.0.1:7071")
    return host, int(port)
