"""The processor files of the kernel, read once into plain text, and what that text means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POLICY_FACTS = (
    "affected_cpus",
    "cpuinfo_max_freq",
    "cpuinfo_min_freq",
    "scaling_available_frequencies",
    "scaling_available_governors",
    "scaling_boost_frequencies",
    "scaling_driver",
)
# Also what a driver changes of itself when another one is written (the preference follows the governor).
POLICY_SETTINGS = (
    "scaling_governor",
    "scaling_min_freq",
    "scaling_max_freq",
    "scaling_setspeed",
    "energy_performance_preference",
    "boost",
)
NO_TURBO = "intel_pstate/no_turbo"
GLOBAL_BOOST = "cpufreq/boost"
SMT = "smt/control"
_MACHINE = ("online", "present", "smt/active", SMT, GLOBAL_BOOST, NO_TURBO)


def read(sysfs: Path) -> dict[str, str]:
    """Give the exact text of every processor file that the planner knows, by its path below `sysfs`.

    A file that is not there, or that the kernel does not let read (a policy whose cores are offline), is left out.
    """
    names = list(_MACHINE)
    for policy in sorted((sysfs / "cpufreq").glob("policy*")):
        names += [f"cpufreq/{policy.name}/{name}" for name in (*POLICY_FACTS, *POLICY_SETTINGS)]
    for core in sysfs.glob("cpu[0-9]*"):
        names += [f"{core.name}/online", f"{core.name}/topology/thread_siblings_list"]
    found = {name: read_text(sysfs / name) for name in names}
    return {name: text for name, text in found.items() if text is not None}


def read_policy(sysfs: Path, where: str) -> Policy:
    """Give one policy's settings, not its driver's facts; `where` is ``cpufreq/policy0`` or ``cpu3/cpufreq``."""
    found = {name: read_text(sysfs / where / name) for name in POLICY_SETTINGS}
    return Policy(where, {name: text for name, text in found.items() if text is not None})


def read_text(path: Path) -> str | None:
    """Give a file's text; None where there is none or the kernel refuses to read it."""
    try:
        return path.read_text()
    except OSError:
        return None


@dataclass(frozen=True)
class Policy:
    """One cpufreq policy: the cores that share a clock."""

    where: str
    files: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """Give a file's text without its line end; None where there is no such file."""
        found = self.files.get(name)
        return None if found is None else found.strip()

    def khz(self, name: str) -> int | None:
        """Give a frequency; None where the file is absent or holds no number (``<unsupported>``)."""
        found = self.text(name)
        return int(found) if found and found.isdecimal() else None

    @property
    def name(self) -> str:
        """The name of the thing that has the policy: ``policy0``."""
        return self.where.removeprefix("cpufreq/").removesuffix("/cpufreq")

    @property
    def governors(self) -> tuple[str, ...]:
        """The governors that the driver offers now."""
        return tuple((self.text("scaling_available_governors") or "").split())

    @property
    def frequencies_khz(self) -> tuple[int, ...]:
        """The frequencies that there are, lowest first; empty where the driver takes any in its range."""
        names = ("scaling_available_frequencies", "scaling_boost_frequencies")
        return tuple(sorted({int(one) for name in names for one in (self.text(name) or "").split()}))

    @property
    def cores(self) -> frozenset[int]:
        """The online cores that it drives."""
        return frozenset(int(one) for one in (self.text("affected_cpus") or "").split())


@dataclass(frozen=True)
class Machine:
    """What the files say of the whole machine."""

    files: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """Give a file's text without its line end; None where there is no such file."""
        found = self.files.get(name)
        return None if found is None else found.strip()

    @property
    def present(self) -> tuple[int, ...]:
        """Every core that the machine has, online or not."""
        return parse_cores(self.files.get("present", ""))

    @property
    def online(self) -> tuple[int, ...]:
        """The cores that run."""
        return parse_cores(self.files.get("online", ""))

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Every policy that has a core online."""
        names = sorted({name.split("/")[1] for name in self.files if name.startswith("cpufreq/policy")}, key=_number)
        found = []
        for name in names:
            prefix = f"cpufreq/{name}/"
            files = {key.removeprefix(prefix): text for key, text in self.files.items() if key.startswith(prefix)}
            if "scaling_governor" in files:
                found.append(Policy(f"cpufreq/{name}", files))
        return tuple(found)

    @property
    def second_threads(self) -> frozenset[int]:
        """The online cores that share a physical core with a lower one."""
        siblings = [
            parse_cores(text) for name, text in self.files.items() if name.endswith("/topology/thread_siblings_list")
        ]
        return frozenset(core for group in siblings for core in group[1:])


def parse_cores(text: str) -> tuple[int, ...]:
    """Read the kernel's way of writing a set of cores.

    >>> parse_cores("0-2,5")
    (0, 1, 2, 5)
    """
    cores: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cores += range(int(first), int(last or first) + 1)
    return tuple(cores)


def write_cores(cores: tuple[int, ...]) -> str:
    """Write a set of cores as the kernel prints it.

    >>> write_cores((0, 1, 2, 5))
    '0-2,5'
    """
    runs: list[list[int]] = []
    for core in sorted(set(cores)):
        if runs and runs[-1][-1] == core - 1:
            runs[-1][1:] = [core]
        else:
            runs.append([core])
    return ",".join("-".join(map(str, run)) for run in runs)


def _number(policy: str) -> int:
    return int(policy.removeprefix("policy"))
