"""Ansible filter: joins a host's links with the conditions wanted for them."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

# What says where to act: this end's interface, or the wire's other end.
_NAMES = {"netem": ("interface", "peer_address"), "vde": ("peer",)}


def slicebed_conditioned(
    links: list[dict[str, Any]], conditions: list[dict[str, Any]], host: str, wire: str
) -> list[dict[str, Any]]:
    """Give the host's links of one kind of wire with delay_us, jitter_us and rate_bit_per_s filled in.

    A netem wire is shaped at both ends; a vde wire is one thing, so only the end whose name sorts first gets it.

    Raises:
        AnsibleFilterError: a condition for a pair that this host's links do not have, or two for one pair.
    """
    wanted: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        ends = condition["between"]
        if host not in ends:
            continue
        peer = ends[1] if ends[0] == host else ends[0]
        if peer in wanted:
            raise AnsibleFilterError(f"two conditions for the link {host} - {peer}; give every link one")
        wanted[peer] = condition
    unknown = sorted(set(wanted) - {link["peer"] for link in links})
    if unknown:
        raise AnsibleFilterError(f"condition for {host} - {unknown[0]}, but {host} has no link to {unknown[0]}")
    joined = []
    for link in links:
        if link.get("wire", "netem") != wire or (wire == "vde" and host > link["peer"]):
            continue
        condition = wanted.get(link["peer"], {})
        joined.append(
            {
                **{name: link[name] for name in _NAMES[wire]},
                "delay_us": condition.get("delay_us", 0),
                "jitter_us": condition.get("jitter_us", 0),
                "rate_bit_per_s": condition.get("rate_bit_per_s"),
            }
        )
    return joined


class FilterModule:
    """Ansible's way in."""

    def filters(self) -> dict[str, Any]:
        """Name the filters of this file."""
        return {"slicebed_conditioned": slicebed_conditioned}
