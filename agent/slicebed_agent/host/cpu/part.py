"""The condition of the processors: frequency, governor, boost, multithreading, cores that run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu import plan as planner
from slicebed_agent.host.cpu import restore as restorer
from slicebed_agent.host.cpu import steps, sysfs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slicebed_agent.host.change import PartPlan
    from slicebed_agent.host.wish import CpuWish


class Cpu:
    """The processors of this machine, whichever cpufreq driver they have."""

    name = "cpu"

    def __init__(self, root: Path = Path("/sys/devices/system/cpu")) -> None:
        self._root = root

    def plan(self, wish: CpuWish, apart: Collection[str] = ()) -> PartPlan:  # noqa: ARG002 - what the wish does not speak of is never touched
        """Say what would make the processors as wished; raises HostError when they cannot be so."""
        return planner.plan(wish, self._machine())

    def names(self, wish: CpuWish) -> Collection[str]:
        """Give the files that `plan(wish)` may change, by their path below the processors' folder."""
        return self.save(wish).keys()

    def save(self, wish: CpuWish, also: Iterable[str] = ()) -> dict[str, Any]:
        """Give the exact text of every file that `plan(wish)` may change, by its path below the processors' folder."""
        return restorer.save(wish, also, self._machine())

    def apply(self, plan: PartPlan) -> None:
        """Do the steps; the first refusal puts back what this call changed.

        Raises:
            HostError: the kernel refused a value, or took another one than asked.
        """
        before = self._machine()
        try:
            for step in plan.steps:
                steps.run(self._root, step)
        except HostError as error:
            self._undo(before, error)
            raise

    def plan_restore(self, saved: Mapping[str, Any]) -> PartPlan:
        """Say what would put back, to the byte, what `save` gave."""
        return restorer.plan_restore(saved, self._machine())

    def _undo(self, before: sysfs.Machine, cause: HostError) -> None:
        settings = {name: text for name, text in before.files.items() if _is_setting(name)}
        try:
            for step in restorer.plan_restore(settings, self._machine()).steps:
                steps.run(self._root, step)
        except HostError as error:
            raise HostError(f"{cause}; and putting back failed: {error}", where="cpu", mend=error.mend) from cause

    def _machine(self) -> sysfs.Machine:
        return sysfs.Machine(sysfs.read(self._root))


def _is_setting(name: str) -> bool:
    switches = (sysfs.SMT, sysfs.GLOBAL_BOOST, sysfs.NO_TURBO)
    last = name.rpartition("/")[2]
    return name in switches or (name != "online" and last in (*sysfs.POLICY_SETTINGS, "online"))
