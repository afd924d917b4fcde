"""The Ansible inventory of the running lab: pure content, and the one file it goes to."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from slicebed.lab import paths

if TYPE_CHECKING:
    from slicebed.lab.layout import HostPlan, LabPlan

HEADER = "# Written by `slicebed lab up`, removed by `slicebed lab down`: do not edit.\n"
SSH_OPTIONS = (
    f"-o UserKnownHostsFile={paths.KNOWN_HOSTS_FILE}",
    "-o GlobalKnownHostsFile=/dev/null",
    "-o StrictHostKeyChecking=yes",
    "-o IdentitiesOnly=yes",
)


def find_root(start: Path) -> Path:
    """The nearest directory upward from ``start`` with a pyproject.toml or playbooks; else the cwd."""
    resolved = start.resolve()
    for directory in (resolved, *resolved.parents):
        if (directory / "pyproject.toml").is_file() or (directory / "playbooks").is_dir():
            return directory
    return Path.cwd()


def inventory_content(plan: LabPlan) -> dict[str, object]:
    """Group ``testbed`` with every host and its variables, and one group ``role_ROLE`` per role.

    The prefix is there because Ansible confuses a group with a host of the same name.
    """
    groups: dict[str, dict[str, object]] = {"testbed": {host.name: _variables(plan, host) for host in plan.hosts}}
    for host in plan.hosts:
        groups.setdefault("role_" + re.sub(r"\W", "_", host.role), {})[host.name] = {}
    children: dict[str, dict[str, object]] = {group: {"hosts": hosts} for group, hosts in groups.items()}
    children["testbed"]["vars"] = {"slicebed_wires": plan.wire_wishes, "slicebed_data_plane": plan.data_plane.value}
    return {"all": {"children": children}}


def inventory_text(plan: LabPlan) -> str:
    """The file's whole text."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 1000
    text = StringIO()
    yaml.dump(inventory_content(plan), text)
    return HEADER + text.getvalue()


def write_inventory(plan: LabPlan, path: Path) -> bool:
    """Write the file; False when it was the same already."""
    text = inventory_text(plan)
    if path.is_file() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return True


def remove_inventory(path: Path) -> None:
    """Remove the file if the lab wrote it; a file of somebody else's stays."""
    if path.is_file() and path.read_text(errors="replace").startswith(HEADER):
        path.unlink()


def _variables(plan: LabPlan, host: HostPlan) -> dict[str, object]:
    return {
        "ansible_host": str(host.management.ip),
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(paths.IDENTITY_FILE),
        "ansible_ssh_common_args": " ".join(SSH_OPTIONS),
        # Discovery may find a version manager's shim.
        "ansible_python_interpreter": "/usr/bin/python3",
        "slicebed_lab": True,
        "slicebed_role": host.role,
        "slicebed_tier": host.tier,
        "slicebed_links": [
            {
                "peer": end.peer,
                "interface": end.interface,
                "address": str(end.address.ip),
                "peer_address": str(end.peer_address),
                "wire": plan.wire.value,
            }
            for end in host.links
        ],
        "slicebed_wish": plan.host_wishes[host.name],
    }
