"""Cores of the groups below the workload's, on version 1, where the kernel keeps each group within the one above it.

It takes no core from a group while a group below it has that core, and gives none that the group above has not: groups
below, a container's say, have to go along. Version 2 needs none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.host.cpu.sysfs import parse_cores, write_cores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "cpuset.cpus"


def moves(group: Path, cores: str, now: Mapping[Path, str], own: Mapping[Path, str]) -> list[tuple[Path, str]]:
    """List the files and texts that give a group its cores, and those below it theirs, in an order the kernel takes.

    A group below that had all cores of the one above it has them all again; another one keeps what it has of its own,
    or has all where nothing of that remains. One that had no cores yet gets none.

    Args:
        group: the group.
        cores: what it is to have, as the kernel prints it.
        now: the text of `FILE` in the group and in those below it, by group.
        own: what groups below are to have instead, by group.
    """
    found = {path: frozenset(parse_cores(text)) for path, text in now.items()}
    downwards = sorted(found, key=lambda path: (len(path.parts), path))
    wanted = {group: frozenset(parse_cores(cores))}
    for path in downwards:
        if path != group:
            allowed = wanted[path.parent]
            kept = frozenset(parse_cores(own[path])) if path in own else found[path]
            follows = path not in own and found[path] == found[path.parent]
            wanted[path] = kept if not kept else allowed if follows else (kept & allowed) or allowed
    wider = {path: found[path] | wanted[path] for path in downwards}
    widened = [(path, wider[path]) for path in downwards if wider[path] != found[path]]
    narrowed = [(path, wanted[path]) for path in reversed(downwards) if wanted[path] != wider[path]]
    return [(path / FILE, write_cores(tuple(has))) for path, has in (*widened, *narrowed)]
