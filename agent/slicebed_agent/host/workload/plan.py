"""The pure half: from a wish and what is there to the steps that give the group its limits, or take it away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.change import Change, PartPlan
from slicebed_agent.host.cpu.sysfs import write_cores
from slicebed_agent.host.wish import MIN_QUOTA_US
from slicebed_agent.host.workload import below
from slicebed_agent.host.workload.hierarchies import Hierarchy, Version
from slicebed_agent.host.workload.steps import Enable, Expect, MakeGroup, Release, RemoveGroup, Step, Write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed_agent.host.wish import WorkloadWish

PERIOD_US = 100_000
ABSENT = "absent"
PRESENT = "present"
SUBTREE = "cgroup.subtree_control"
_FILES: dict[Version, dict[str, tuple[str, ...]]] = {
    Version.V1: {
        "cpuset": ("cpuset.mems", "cpuset.cpus"),
        "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us"),
        "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    },
    Version.V2: {
        "cpuset": ("cpuset.cpus",),
        "cpu": ("cpu.max",),
        "memory": ("memory.max", "memory.swap.max"),
    },
}
# What lifts a limit; version 1 prints it otherwise, so there the root group's own text is the measure.
_LIFTED = {"cpuset.cpus": "", "cpu.max": f"max {PERIOD_US}", "memory.max": "max", "memory.swap.max": "max"}


@dataclass(frozen=True)
class Facts:
    """What is there before planning.

    Attributes:
        root: what the trees are mounted at or below.
        group: the name of the workload's group.
        hierarchies: where groups live here.
        files: the text of the managed files in the root groups and the workload's, and the cores of `below`, by path.
        groups: the workload's groups that exist.
        below: the groups below the workload's (its containers') whose cores the kernel wants within its own.
        neighbours: other hosts' groups on this kernel (the embedded lab's), which need the root's controllers too.
        enabled_by_us: the controllers that this part turned on in a version 2 root, for whichever host.
        online: the cores that run.
        memory_bytes: the machine's memory.
        page_bytes: the kernel counts memory in these.
        has_gpu: a GPU's device file is there.
    """

    root: Path
    group: str
    hierarchies: tuple[Hierarchy, ...]
    files: Mapping[Path, str]
    groups: frozenset[Path]
    below: frozenset[Path]
    neighbours: frozenset[Path]
    enabled_by_us: Mapping[Path, frozenset[str]]
    online: tuple[int, ...]
    memory_bytes: int
    page_bytes: int
    has_gpu: bool

    def text(self, path: Path) -> str | None:
        """Give a file's text without its line end; None where there is no such file."""
        found = self.files.get(path)
        return None if found is None else found.strip()

    def key(self, path: Path) -> str:
        """Name a path as the saved state does."""
        return str(path.relative_to(self.root))


def managed_files(hierarchy: Hierarchy) -> tuple[str, ...]:
    """List the files of a group that this part may write."""
    files = _FILES[hierarchy.version]
    return tuple(name for controller in sorted(hierarchy.controllers) for name in files[controller])


def plan(wish: WorkloadWish, facts: Facts) -> PartPlan:
    """Say what gives the group exactly the wished limits; one that is not wished is lifted.

    Raises:
        HostError: the machine has not that much, or no controller for it; it names the value and what is allowed.
    """
    _check(wish, facts)
    changes: list[Change] = []
    steps: list[Step] = []
    needed = frozenset(_limits(wish))
    for hierarchy in facts.hierarchies:
        if not hierarchy.controllers:
            continue
        enabled = hierarchy.controllers
        if hierarchy.version is Version.V2:
            now = (facts.text(hierarchy.mount / SUBTREE) or "").split()
            more = sorted(needed.intersection(enabled).difference(now))
            if more:
                wanted = " ".join([*now, *more])
                changes.append(_change(facts, hierarchy.mount / SUBTREE, " ".join(now), wanted))
                steps.append(Enable(hierarchy.mount, tuple(more)))
            enabled = enabled.intersection({*now, *more})
        group = hierarchy.mount / facts.group
        if group not in facts.groups:
            changes.append(_change(facts, group, ABSENT, PRESENT))
            steps.append(MakeGroup(group))
        for path, text in _in_order(_wanted(wish, facts, hierarchy, enabled), facts):
            if facts.text(path) != text:
                changes.append(_change(facts, path, facts.text(path), text))
                steps += _writes(path, text, facts)
    return PartPlan("workload", tuple(changes), tuple(steps))


def plan_restore(saved: Mapping[str, str], facts: Facts) -> PartPlan:
    """Say what takes the group away, or gives a group that was there before its old limits back."""
    changes: list[Change] = []
    steps: list[Step] = []
    limits: list[tuple[Path, str]] = []
    for name, text in sorted(saved.items()):
        path = facts.root / name
        if text in (ABSENT, PRESENT):
            if (text == PRESENT) != (path in facts.groups):
                changes.append(_change(facts, path, PRESENT if text == ABSENT else ABSENT, text))
                steps.append(RemoveGroup(path) if text == ABSENT else MakeGroup(path))
        # A group that this part made may have had its limits read by a later save; they are nobody's originals.
        elif path.name != SUBTREE and saved.get(facts.key(path.parent)) == PRESENT:
            limits.append((path, text))
    own = {path.parent: text for name, text in saved.items() if (path := facts.root / name).parent in facts.below}
    for path, text in _in_order(limits, facts):
        writes = _writes(path, text.strip(), facts, own)
        # The group may have its own cores again already, and those below it not.
        moved = {each.path: each.text for each in writes if isinstance(each, Write)}
        changes += [_change(facts, file, facts.text(file), wanted) for file, wanted in moved.items()]
        steps += writes
    switched, releases = _released(saved, facts)
    changes += switched
    return PartPlan("workload", tuple(changes), (*steps, *releases) if changes else ())


def _released(saved: Mapping[str, str], facts: Facts) -> tuple[list[Change], list[Release]]:
    """Say which controllers go off with the group; a part of the saved state leaves the group and its needs alone."""
    changes: list[Change] = []
    releases: list[Release] = []
    for mount, enabled in sorted(facts.enabled_by_us.items()):
        before = saved.get(facts.key(mount / facts.group))
        if before is None:
            continue
        keep = frozenset(saved.get(facts.key(mount / SUBTREE), "").split() if before == PRESENT else ())
        now = (facts.text(mount / SUBTREE) or "").split()
        left = [one for one in now if one not in enabled - keep]
        if left != now and not facts.neighbours:
            changes.append(_change(facts, mount / SUBTREE, " ".join(now), " ".join(left)))
        releases.append(Release(mount, facts.group, keep))
    return changes, releases


def _limits(wish: WorkloadWish) -> dict[str, str]:
    """Name the controllers that the wish needs, and the property that needs each."""
    asked = {"cpuset": ("cores", wish.cores), "cpu": ("cpu_quota", wish.cpu_quota)}
    asked["memory"] = ("memory_bytes", wish.memory_bytes)
    return {controller: name for controller, (name, value) in asked.items() if value is not None}


def _check(wish: WorkloadWish, facts: Facts) -> None:
    offline = sorted(set(wish.cores or ()).difference(facts.online))
    if offline:
        raise HostError(
            f"cores {write_cores(tuple(offline))} are not online",
            where="workload.cores",
            asked="workload.cores",
            mend=f"allowed: {write_cores(facts.online)}",
        )
    if wish.memory_bytes is not None and not facts.page_bytes <= wish.memory_bytes <= facts.memory_bytes:
        raise HostError(
            f"{wish.memory_bytes} bytes cannot be had",
            where="workload.memory_bytes",
            asked="workload.memory_bytes",
            mend=f"allowed: {facts.page_bytes} to {facts.memory_bytes}, what this machine has",
        )
    usable = len(facts.online if wish.cores is None else set(wish.cores))
    if wish.cpu_quota is not None and not 0.01 <= wish.cpu_quota <= usable:
        raise HostError(
            f"{wish.cpu_quota:g} cannot be had of {usable} cores",
            where="workload.cpu_quota",
            asked="workload.cpu_quota",
            mend=f"allowed: 0.01 to {usable}",
        )
    if wish.cpu_quota is not None and wish.cpu_quota * (wish.cpu_period_us or PERIOD_US) < MIN_QUOTA_US:
        raise HostError(
            f"{wish.cpu_quota:g} of {wish.cpu_period_us} us is less than the {MIN_QUOTA_US} us that the kernel takes",
            where="workload.cpu_period_us",
            asked="workload.cpu_period_us",
            mend=f"allowed: at least {math.ceil(MIN_QUOTA_US / wish.cpu_quota)}",
        )
    if wish.gpu and not facts.has_gpu:
        raise HostError(
            "gpu: true asked, but there is neither /dev/nvidia0 nor /dev/dri/renderD*",
            where="workload.gpu",
            asked="workload.gpu",
            mend="load the GPU's driver, or leave gpu out",
        )
    there = frozenset[str]().union(*(each.controllers for each in facts.hierarchies))
    for controller, name in _limits(wish).items():
        if controller not in there:
            raise HostError(
                f"the kernel offers no {controller} control group controller",
                where=f"workload.{name}",
                asked=f"workload.{name}",
                mend=f"boot with cgroup_enable={controller}, or mount its hierarchy under /sys/fs/cgroup",
            )


def _wanted(wish: WorkloadWish, facts: Facts, hierarchy: Hierarchy, enabled: frozenset[str]) -> list[tuple[Path, str]]:
    """List the files of the group with their texts, in an order that the kernel takes."""
    group, values = hierarchy.mount / facts.group, dict[str, str]()
    if wish.cores is not None:
        values["cpuset.cpus"] = write_cores(wish.cores)
    if wish.cpu_quota is not None:
        period_us = wish.cpu_period_us or PERIOD_US
        quota_us = round(wish.cpu_quota * period_us)
        values |= {"cpu.cfs_quota_us": str(quota_us), "cpu.max": f"{quota_us} {period_us}"}
        if wish.cpu_period_us is not None:
            values["cpu.cfs_period_us"] = str(period_us)
    if wish.memory_bytes is not None:
        taken = str(wish.memory_bytes - wish.memory_bytes % facts.page_bytes)
        # Memory that is swapped out would go past the limit unseen.
        values |= {"memory.limit_in_bytes": taken, "memory.memsw.limit_in_bytes": taken}
        values |= {"memory.max": taken, "memory.swap.max": "0"}
    wanted = []
    for name in managed_files(hierarchy):
        path, root_text = group / name, facts.text(hierarchy.mount / name)
        lifted = root_text if hierarchy.version is Version.V1 else _LIFTED[name]
        # A new group has no limits, except that version 1 gives it neither cores nor memory nodes.
        text = values.get(name) or (lifted if group in facts.groups or name.startswith("cpuset.") else None)
        # Not every kernel counts swap: then the file is not there either.
        is_there = hierarchy.version is Version.V2 or root_text is not None
        if text is not None and is_there and name.split(".")[0] in enabled:
            wanted.append((path, text))
    return wanted


def _in_order(writes: list[tuple[Path, str]], facts: Facts) -> list[tuple[Path, str]]:
    """Put the limit on memory with swap first where it grows: version 1 refuses one below the limit on memory."""

    def grows(write: tuple[Path, str]) -> bool:
        path, text = write
        now = facts.text(path)
        return path.name == "memory.memsw.limit_in_bytes" and now is not None and int(text) > int(now)

    return sorted(writes, key=lambda write: not grows(write))


def _writes(path: Path, text: str, facts: Facts, own: Mapping[Path, str] | None = None) -> list[Step]:
    """Give the steps that write a file of the group, and those below it for that; none where all is as it should be."""
    writes = [(path, text)] if facts.text(path) != text else []
    if path.name == below.FILE and facts.below:
        now = {group: facts.files[group / below.FILE] for group in (path.parent, *facts.below)}
        writes = below.moves(path.parent, text, now, own or {})
    return [*(Write(*each) for each in writes), Expect(path, f"{text}\n")] if writes else []


def _change(facts: Facts, path: Path, now: str | None, wanted: str) -> Change:
    """Name a file by its group and itself: ``cgroup cpu/slicebed.edge`` and ``cpu.cfs_quota_us``.

    Both values are texts, as the kernel prints the file (``0`` as ``0-3``, ``999424`` as ``max``), or None where there
    is no file; of the group itself they are `ABSENT` and `PRESENT`.
    """
    is_group = path.name == facts.group
    group = path if is_group else path.parent
    return Change(
        "workload", f"cgroup {group.relative_to(facts.root)}", "group" if is_group else path.name, now, wanted
    )
