"""What Ansible's inventory says of the hosts, read by Ansible itself so that both see the same."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicebed.errors import MissingRequirementError, ProvisionError, SpecError
from slicebed.testbed.commands import run_tool

GROUP = "testbed"


@dataclass(frozen=True)
class HostLink:
    """One end of a link: the peer, both addresses, what delays the packets (``netem`` or ``tap``), and the interface.

    Without an interface the host's routes say which one leads to the peer.
    """

    peer: str
    address: str
    peer_address: str
    wire: str
    interface: str | None = None


@dataclass(frozen=True)
class InventoryHost:
    """How to reach a host, and its links."""

    name: str
    address: str
    port: int
    user: str
    key_file: Path | None
    known_hosts: Path | None
    links: tuple[HostLink, ...]
    engine: str

    @property
    def endpoint(self) -> str:
        """Where SSH reaches it: address and port, as the inventory writes them."""
        return f"{self.address}:{self.port}"

    def link_to(self, peer: str) -> HostLink:
        """Give the link towards `peer`.

        Raises:
            SpecError: the inventory names none.
        """
        for link in self.links:
            if link.peer == peer:
                return link
        raise SpecError(
            f"no link to {peer} in slicebed_links", where=f"host {self.name}", mend="add the link to the inventory"
        )


def read_inventory(path: Path) -> dict[str, InventoryHost]:
    """Read the hosts of the group `testbed`, by name, in the order of the inventory.

    Raises:
        MissingRequirementError: no such file.
        SpecError: not an inventory, no group `testbed`, or a link lacks a key.
    """
    if not path.exists():
        raise MissingRequirementError(
            "no such inventory", where=str(path), mend="run: slicebed lab up, or write one by hand"
        )
    tool = Path(sys.executable).parent / "ansible-inventory"
    try:
        found = json.loads(run_tool([str(tool), "--inventory", str(path), "--list"]))
    except ProvisionError as error:
        raise SpecError(error.what, where=str(path), mend="see: ansible-inventory --list -i " + str(path)) from error
    names = _members(found, GROUP)
    if not names:
        raise SpecError(f"no hosts in the group '{GROUP}'", where=str(path), mend=f"put the hosts into '{GROUP}'")
    variables = found["_meta"]["hostvars"]
    return {name: _host(name, variables.get(name, {}), path) for name in names}


def _members(found: dict[str, Any], group: str) -> list[str]:
    entry = found.get(group, {})
    names = list(entry.get("hosts", []))
    for child in entry.get("children", []):
        names += [name for name in _members(found, child) if name not in names]
    return names


def _host(name: str, variables: dict[str, Any], path: Path) -> InventoryHost:
    try:
        links = tuple(
            HostLink(
                link["peer"], link["address"], link["peer_address"], link.get("wire", "netem"), link.get("interface")
            )
            for link in variables.get("slicebed_links", [])
        )
    except KeyError as error:
        raise SpecError(f"a link lacks {error}", where=f"{path}, host {name}") from error
    key = variables.get("ansible_ssh_private_key_file")
    return InventoryHost(
        name=name,
        address=str(variables.get("ansible_host", name)),
        port=int(variables.get("ansible_port", 22)),
        user=str(variables.get("ansible_user", "root")),
        key_file=Path(key) if key else None,
        known_hosts=_known_hosts(str(variables.get("ansible_ssh_common_args", ""))),
        links=links,
        engine=str(variables.get("slicebed_container_engine", "podman")),
    )


def _known_hosts(ssh_arguments: str) -> Path | None:
    for word in shlex.split(ssh_arguments):
        option = word.removeprefix("-o")
        if option.startswith("UserKnownHostsFile="):
            return Path(option.partition("=")[2])
    return None
