"""Find and end the processes of the lab, by what they are and never by name."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.errors import ProvisionError
from slicebed.lab.tools import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROC = Path("/proc")
END_TIMEOUT_S = 15.0
# A child that a killed process had just forked wears the lab's marker only once it has called exec.
EMPTY_LOOKS = 3
_MARKED = re.compile(rb"(?:^|\0)" + MARKER.encode() + rb"=[0-9a-f]{32}(?:\0|$)")


def namespace_inode(path: Path) -> int | None:
    """The inode of a network namespace's file, as /proc/PID/ns/net has it; None when nothing is mounted there."""
    try:
        found, own = path.stat(), (PROC / "self/ns/net").stat()
    except OSError:
        return None
    # All namespace files live on one pseudo file system; a plain file is a mount that was never made.
    return found.st_ino if found.st_dev == own.st_dev else None


def in_namespace(inode: int) -> list[int]:
    """The processes that live in a network namespace."""
    return [pid for pid in _pids() if _network(pid) == inode]


def of_lab(namespaces: Iterable[int]) -> set[int]:
    """Every process of the lab: in one of its namespaces, or marked by it, or below one that is.

    The last part finds what a container engine put into a network namespace and an environment of its own.
    This process and those above it are never among them.
    """
    inodes = set(namespaces)
    parents = {pid: _parent(pid) for pid in _pids()}
    found = {pid for pid in parents if _network(pid) in inodes or _is_marked(pid)}
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    waiting = list(found)
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), []) if pid not in found]
        found.update(below)
        waiting += below
    return {pid for pid in found - _own_line(parents) if not _is_zombie(pid)}


def end_all(namespaces: Iterable[int]) -> int:
    """Kill every process of the lab, and those they start meanwhile, until there is none; returns how many.

    Raises:
        ProvisionError: some would not die.
    """
    inodes = set(namespaces)
    ended: set[int] = set()
    deadline = time.monotonic() + END_TIMEOUT_S
    empty_looks = 0
    while empty_looks < EMPTY_LOOKS:
        pids = of_lab(inodes)
        if time.monotonic() > deadline:
            raise ProvisionError(f"processes {sorted(pids)} do not end", mend="look at them, then run lab down again")
        for pid in pids:
            _kill(pid)
        ended |= pids
        empty_looks = 0 if pids else empty_looks + 1
        time.sleep(0.01)
    return len(ended)


def cgroup_paths(pids: Iterable[int]) -> set[str]:
    """The cgroups (below each hierarchy's root) that these processes are in."""
    return {line.split(":", 2)[2] for pid in pids for line in _read(pid, "cgroup").decode().splitlines()}


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def _network(pid: int) -> int | None:
    try:
        return (PROC / str(pid) / "ns/net").stat().st_ino
    except OSError:
        return None


def _is_marked(pid: int) -> bool:
    return _MARKED.search(_read(pid, "environ")) is not None


def _parent(pid: int) -> int:
    return int(_stat_fields(pid)[1])


def _is_zombie(pid: int) -> bool:
    return _stat_fields(pid)[0] in {"Z", "X"}


def _stat_fields(pid: int) -> list[str]:
    # The command's name may hold spaces and brackets; the fields begin after its last bracket (proc(5)).
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split() or ["X", "0"]


def _own_line(parents: dict[int, int]) -> set[int]:
    line: set[int] = set()
    pid = os.getpid()
    while pid and pid not in line:
        line.add(pid)
        pid = parents.get(pid, 0)
    return line


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
