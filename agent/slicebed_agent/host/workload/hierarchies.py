"""Where control groups live on this machine: version 1, version 2 or both at once, as mounted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CONTROLLERS = ("cpuset", "cpu", "memory")
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Version(Enum):
    """The two interfaces of the kernel."""

    V1 = 1
    V2 = 2


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree of control groups.

    Attributes:
        mount: its root group.
        version: which of the two interfaces it speaks.
        controllers: those of `CONTROLLERS` that it has.
    """

    mount: Path
    version: Version
    controllers: frozenset[str]


def find_hierarchies(mountinfo: str, root: Path) -> tuple[Hierarchy, ...]:
    """Read the control group mounts at or below `root` out of /proc/self/mountinfo, in the order of mounting.

    Where a tree is mounted twice the first one counts. A version 2 tree's controllers are read from its root group.
    """
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        device, mount = left.split()[2], Path(_ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), left.split()[4]))
        kind, _, options = right.split(" ", 2)
        if kind not in ("cgroup", "cgroup2") or not mount.is_relative_to(root) or device in found:
            continue
        version = Version.V2 if kind == "cgroup2" else Version.V1
        words = options.strip().split(",")
        if version is Version.V2:
            words = (mount / "cgroup.controllers").read_text().split()
        found[device] = Hierarchy(mount, version, frozenset(words).intersection(CONTROLLERS))
    return tuple(found.values())
