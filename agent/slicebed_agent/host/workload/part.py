"""The condition of the workload: cores, memory and processor time of everything in one control group."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu.sysfs import parse_cores, read_text
from slicebed_agent.host.workload import below, steps
from slicebed_agent.host.workload import plan as planner
from slicebed_agent.host.workload.hierarchies import Hierarchy, Version, find_hierarchies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slicebed_agent.host.change import PartPlan
    from slicebed_agent.host.wish import WorkloadWish

_ONLINE = Path("/sys/devices/system/cpu/online")


def group_name(host: str) -> str:
    """Give the name of a host's group, directly under every hierarchy's root.

    Containers belong to the workload when they are started with ``--cgroup-parent=/NAME``.
    """
    return steps.PREFIX + host


class Workload:
    """The control group ``slicebed.HOST`` on this machine, on version 1, version 2 and both at once.

    The group's limits are exactly the wished ones: a limit that is not wished is lifted.
    """

    name = "workload"

    def __init__(self, host: str, cgroup_root: Path = Path("/sys/fs/cgroup")) -> None:
        self._group = group_name(host)
        self._root = cgroup_root

    def plan(self, wish: WorkloadWish, apart: Collection[str] = ()) -> PartPlan:  # noqa: ARG002 - what the wish does not speak of is never touched
        """Say what would give the group its limits; raises HostError when the machine has not that much."""
        return planner.plan(wish, self._facts())

    def names(self, wish: WorkloadWish) -> Collection[str]:
        """Give the group's path in every hierarchy: any wish speaks of all of it."""
        return self.save(wish).keys()

    def save(self, wish: WorkloadWish | None = None, also: Iterable[str] = ()) -> dict[str, Any]:
        """Give what is there by its path below the control groups' root: ``absent``, or the group's limits.

        The group is one thing: whatever is wished, all of it is saved.
        Every hierarchy counts, also those without limits: a container engine makes the group there too.
        """
        del wish, also
        facts = self._facts()
        saved: dict[str, Any] = {}
        for hierarchy in facts.hierarchies:
            group = hierarchy.mount / self._group
            there = group in facts.groups
            saved[facts.key(group)] = planner.PRESENT if there else planner.ABSENT
            names = planner.managed_files(hierarchy) if there else ()
            kept = [group / name for name in names]
            kept += [path / below.FILE for path in facts.below if path.is_relative_to(group)]
            kept += [hierarchy.mount / planner.SUBTREE] if hierarchy.version is Version.V2 else []
            saved |= {facts.key(path): facts.files[path] for path in kept if path in facts.files}
        return saved

    def apply(self, plan: PartPlan) -> None:
        """Do the steps; the first refusal puts back what this call changed.

        Raises:
            HostError: the kernel refused a limit, or processes cannot leave a group that goes.
        """
        before = self.save()
        try:
            for step in plan.steps:
                steps.run(step)
        except HostError as error:
            try:
                for step in self.plan_restore(before).steps:
                    steps.run(step)
            except HostError as second:
                raise HostError(f"{error}; and putting back failed: {second}", mend=second.mend) from error
            raise

    def plan_restore(self, saved: Mapping[str, Any]) -> PartPlan:
        """Say what would put back what `save` gave; processes in a group that goes live on outside it."""
        return planner.plan_restore(saved, self._facts())

    def processes(self) -> int:
        """How many processes are in the group and those below it: where there are several trees, in the emptiest."""
        trees = [each.mount / self._group for each in self._facts().hierarchies if each.controllers]
        return min((len(_processes_below(tree)) for tree in trees if tree.is_dir()), default=0)

    def _facts(self) -> planner.Facts:
        hierarchies = find_hierarchies(Path("/proc/self/mountinfo").read_text(), self._root)
        roots = [each.mount for each in hierarchies]
        names = {name for each in hierarchies for name in (planner.SUBTREE, *planner.managed_files(each))}
        candidates = [folder / name for root in roots for folder in (root, root / self._group) for name in names]
        cores = _cores_below(self._group, hierarchies)
        groups = [found for root in roots for found in root.glob(f"{steps.PREFIX}*") if found.is_dir()]
        return planner.Facts(
            root=self._root,
            group=self._group,
            hierarchies=hierarchies,
            files=cores | {path: text for path in candidates if (text := read_text(path)) is not None},
            groups=frozenset(found for found in groups if found.name == self._group),
            below=frozenset(path.parent for path in cores),
            neighbours=frozenset(found for found in groups if found.name != self._group),
            enabled_by_us={root: ours for root in roots if (ours := steps.enabled_by_us(root))},
            online=parse_cores(_ONLINE.read_text()),
            memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            page_bytes=resource.getpagesize(),
            has_gpu=has_gpu(),
        )


def _cores_below(group: str, hierarchies: Iterable[Hierarchy]) -> dict[Path, str]:
    """Read the cores of the groups below a version 1 group: below that of version 2 the kernel sees to them itself."""
    trees = [each.mount / group for each in hierarchies if each.version is Version.V1 and "cpuset" in each.controllers]
    files = [folder / below.FILE for tree in trees for folder in tree.rglob("*/")]
    return {path: text for path in files if (text := read_text(path)) is not None}


def _processes_below(group: Path) -> set[str]:
    # A group may go while it is looked at: its file then is not there any more.
    texts = (read_text(folder / "cgroup.procs") for folder in (group, *group.rglob("*/")))
    return {process for text in texts if text for process in text.split()}


def has_gpu(dev: Path = Path("/dev")) -> bool:
    """Say whether a GPU's device file is there."""
    return (dev / "nvidia0").exists() or any(dev.glob("dri/renderD*"))
