"""What the lab could leave behind on this machine, and whether it can be raised here at all."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slicebed.errors import MissingRequirementError
from slicebed.lab import checks, paths
from slicebed.lab.layout import BRIDGE, NAMESPACE_PREFIX, UPLINK_PREFIX

REPOSITORY = Path(__file__).parents[2]
THREE = REPOSITORY / "inventory/testbeds/lab.yml"
FIVE = REPOSITORY / "inventory/testbeds/lab_five.yml"
LAB_PROGRAMS = {"slicebed-wire", "catatonit", "sshd", "unshare", "conmon", "runc", "nsenter", "ssh"}


def why_not() -> str | None:
    try:
        checks.require_root()
        checks.require_programs(checks.PROGRAMS)
    except MissingRequirementError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Machine:
    """Everything a lab could leave behind on this machine."""

    namespaces: frozenset[str]
    interfaces: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[tuple[int, str]]
    lab_files: bool
    store: bool


def look() -> Machine:
    links = json.loads(subprocess.run(["ip", "-json", "link"], check=True, capture_output=True, text=True).stdout)
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return Machine(
        namespaces=frozenset(path.name for path in paths.NETNS_DIR.glob(f"{NAMESPACE_PREFIX}*")),
        interfaces=frozenset(row["ifname"] for row in links if row["ifname"].startswith((BRIDGE, UPLINK_PREFIX))),
        mounts=frozenset(f"{row[4]} {row[row.index('-') + 1]}" for row in mounts if not _is_strangers(row[4])),
        processes=frozenset(_lab_processes()),
        lab_files=paths.LAB_DIR.exists() or paths.LOCK_FILE.exists(),
        store=paths.PARENT_IMAGE_STORE.exists(),
    )


def _is_strangers(mounted: str) -> bool:
    """Whether this is a network namespace of somebody else's, which may come and go meanwhile."""
    return mounted.startswith(f"{paths.NETNS_DIR}/") and not mounted.startswith(f"{paths.NETNS_DIR}/{NAMESPACE_PREFIX}")


def _lab_processes():
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        # A zombie is only waiting for the machine's init to look at it.
        if name in LAB_PROGRAMS and text[text.rindex(")") + 2] != "Z":
            yield int(text.split()[0]), name
