"""Remove the lab, by its state and by discovery; right after any crash, and right to repeat."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from slicebed.errors import ProvisionError
from slicebed.lab import paths, processes
from slicebed.lab.image_store import remove_unused_store
from slicebed.lab.inventory import remove_inventory
from slicebed.lab.layout import BRIDGE, MANAGEMENT_INTERFACE, NAMESPACE_PREFIX, UPLINK_PREFIX
from slicebed.lab.state import LabState, Phase, read_state, write_state
from slicebed.lab.tools import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network

CGROUP_ROOT = Path("/sys/fs/cgroup")
# As the part workload of slicebed_agent.host names them, in every hierarchy (v1) or the one (v2).
WORKLOAD_PREFIX = "slicebed."
CONNECTIONS_TIMEOUT_S = 2.0
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Removed:
    """What a sweep found and removed."""

    lab: str | None
    processes: int
    namespaces: tuple[str, ...]
    interfaces: tuple[str, ...]
    mounts: tuple[str, ...]
    cgroups: tuple[str, ...]
    files: bool

    @property
    def anything(self) -> bool:
        """Whether there was something to remove."""
        parts = (self.processes, self.namespaces, self.interfaces, self.mounts, self.cgroups, self.files)
        return any(bool(part) for part in parts)


def sweep(inventory: Path) -> Removed:
    """Remove everything of the lab of this machine; the caller holds the lock.

    Processes go first: a mount namespace lives as long as its processes, and so does a tap.

    Args:
        inventory: the inventory file to remove when no state says which one the lab wrote.

    Raises:
        ProvisionError: something would not go; what it is, and sweeping again is safe.
    """
    state = read_state()
    if state is not None:
        write_state(replace(state, phase=Phase.STOPPING))
    containers: set[str] = set()
    ended = 0
    namespaces: list[str] | None = None
    # What a killed `up` had started may be making the next namespace at this moment: only a look at the namespaces
    # after the last process has gone is the last look.
    while namespaces != (found := _namespaces(state)):
        namespaces = found
        inodes = _inodes(namespaces)
        containers |= _container_ids(inodes)
        ended += processes.end_all(inodes)
    if state is not None:
        _await_closed_connections(state.plan.management)
    interfaces = tuple(_remove_interfaces(state))
    for name in namespaces:
        run(["ip", "netns", "delete", name])
    mounts = tuple(_unmount_all())
    cgroups = tuple(_remove_cgroups(containers, _workloads(state, namespaces)))
    remove_inventory(inventory if state is None else state.inventory)
    files = _remove_files(state)
    lab = None if state is None else state.plan.name
    return Removed(lab, ended, tuple(namespaces), interfaces, mounts, cgroups, files)


def _namespaces(state: LabState | None) -> list[str]:
    planned = set() if state is None else {host.namespace for host in state.plan.hosts}
    there = sorted(path.name for path in paths.NETNS_DIR.glob("*")) if paths.NETNS_DIR.is_dir() else []
    return [
        name for name in there if name in planned or (name.startswith(NAMESPACE_PREFIX) and _has_lab_interface(name))
    ]


def _inodes(namespaces: list[str]) -> list[int]:
    found = (processes.namespace_inode(paths.NETNS_DIR / name) for name in namespaces)
    return [inode for inode in found if inode is not None]


def _has_lab_interface(namespace: str) -> bool:
    with suppress(ProvisionError):
        return MANAGEMENT_INTERFACE in {row["ifname"] for row in _links("-n", namespace)}
    return False


def _remove_interfaces(state: LabState | None) -> Iterator[str]:
    planned = set() if state is None else {host.uplink for host in state.plan.hosts}
    for row in _links():
        name = row["ifname"]
        ours = name == BRIDGE or name in planned or (name.startswith(UPLINK_PREFIX) and row.get("master") == BRIDGE)
        if ours:
            # A veth also goes by itself when its namespace does, at a moment of the kernel's choosing.
            with suppress(ProvisionError):
                run(["ip", "link", "delete", "dev", name])
            yield name
    left = {row["ifname"] for row in _links()} & (planned | {BRIDGE})
    if left:
        raise ProvisionError(f"interfaces {sorted(left)} cannot be deleted", mend="look at them with ip -d link show")


def _links(*options: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(run(["ip", *options, "-json", "link", "show"]) or "[]")
    return rows


def _await_closed_connections(management: IPv4Network) -> None:
    """Give the ssh clients of the killed daemons the time to read their end, before the interfaces go.

    Otherwise Ansible's persistent connections would linger for a minute.
    """
    deadline = time.monotonic() + CONNECTIONS_TIMEOUT_S
    while time.monotonic() < deadline:
        connections = psutil.net_connections(kind="tcp4")
        if not any(row.pid and row.raddr and ip_address(row.raddr.ip) in management for row in connections):
            return
        time.sleep(0.02)


def _unmount_all() -> Iterator[str]:
    for target in sorted(_mounts_below(paths.LAB_DIR), reverse=True):
        run(["umount", "--lazy", target])
        yield target


def _mounts_below(directory: Path) -> list[str]:
    targets = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # Spaces and the like are octal escapes in this field (proc(5)).
        target = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        if target == str(directory) or target.startswith(f"{directory}/"):
            targets.append(target)
    return targets


def _container_ids(inodes: list[int]) -> set[str]:
    stored = {path.name for path in paths.HOSTS_DIR.glob("*/containers/storage/overlay-containers/*")}
    living = processes.cgroup_paths(processes.of_lab(inodes))
    return {found for text in stored | living for found in _CONTAINER_ID.findall(text)}


def _workloads(state: LabState | None, namespaces: list[str]) -> set[str]:
    """The control groups of the hosts' workloads, which conditions of kind workload make."""
    planned = set() if state is None else {host.name for host in state.plan.hosts}
    found = {name.removeprefix(NAMESPACE_PREFIX) for name in namespaces}
    return {f"{WORKLOAD_PREFIX}{name}" for name in planned | found}


def _remove_cgroups(containers: set[str], workloads: set[str]) -> Iterator[str]:
    if not containers and not workloads:
        return
    for name, _, _ in os.walk(CGROUP_ROOT, topdown=False):
        directory = Path(name)
        of_container = any(identity in part for identity in containers for part in directory.parts)
        if of_container or not workloads.isdisjoint(directory.parts):
            _remove_cgroup(directory)
            yield str(directory)


def _remove_cgroup(directory: Path) -> None:
    deadline = time.monotonic() + CONNECTIONS_TIMEOUT_S
    while directory.exists():
        try:
            directory.rmdir()
        except OSError as error:
            # The kernel empties a cgroup a moment after its last process has gone.
            if time.monotonic() > deadline:
                raise ProvisionError(f"cannot be removed: {error.strerror}", where=f"cgroup {directory}") from error
            time.sleep(0.02)


def _remove_files(state: LabState | None) -> bool:
    if mounts := _mounts_below(paths.LAB_DIR):
        # Never walk down a mount: below it may be files that are not the lab's.
        raise ProvisionError(f"still mounted: {', '.join(mounts)}", mend="unmount them, then run lab down again")
    there = paths.LAB_DIR.exists()
    if there:
        # The state file goes last but one: whoever is killed here still leaves a sweep something to go by.
        for path in paths.LAB_DIR.iterdir():
            if path != paths.STATE_FILE:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        _remove_fresh_directories(state)
        shutil.rmtree(paths.LAB_DIR)
    return there


def _remove_fresh_directories(state: LabState | None) -> None:
    absent = () if state is None else state.absent_before
    remove_unused_store(absent)
    for path in sorted(absent, reverse=True):
        if path == paths.NETNS_DIR and path.is_dir() and not any(path.iterdir()):
            while path.is_mount():
                run(["umount", str(path)])
        with suppress(OSError):
            path.rmdir()
