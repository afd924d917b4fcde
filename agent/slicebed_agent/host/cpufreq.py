"""Processor frequency through the kernel's cpufreq files, with the values found before kept for restore."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

_LIMITS = ("scaling_min_freq", "scaling_max_freq")


@dataclass(frozen=True)
class Policy:
    """One cpufreq policy: the processors that share a clock."""

    path: Path
    driver: str
    hardware_min_khz: int
    hardware_max_khz: int
    scaling_min_khz: int
    scaling_max_khz: int


def read_policies(sysfs: Path) -> tuple[Policy, ...]:
    """Read every policy under `sysfs` (normally /sys/devices/system/cpu/cpufreq); none where there is no driver."""

    def number(path: Path) -> int:
        return int(path.read_text())

    return tuple(
        Policy(
            path,
            (path / "scaling_driver").read_text().strip(),
            number(path / "cpuinfo_min_freq"),
            number(path / "cpuinfo_max_freq"),
            number(path / "scaling_min_freq"),
            number(path / "scaling_max_freq"),
        )
        for path in sorted(sysfs.glob("policy*"))
    )


def plan(frequency_khz: int, policies: tuple[Policy, ...]) -> tuple[tuple[Path, int], ...]:
    """Say which file gets which value (kHz) so that every policy runs at `frequency_khz`.

    The kernel refuses a minimum above the maximum, so the limit that moves away from the other goes first.

    Raises:
        HostError: no cpufreq driver, or a frequency outside the hardware's range.
    """
    if not policies:
        raise HostError(
            f"cpu_frequency {frequency_khz} kHz asked, but this host has no cpufreq driver",
            mend="leave cpu_frequency out, or run on a machine whose kernel can set it",
        )
    steps: list[tuple[Path, int]] = []
    for policy in policies:
        if not policy.hardware_min_khz <= frequency_khz <= policy.hardware_max_khz:
            raise HostError(
                f"{frequency_khz} kHz is outside {policy.hardware_min_khz}..{policy.hardware_max_khz} kHz",
                where=str(policy.path),
                mend="ask for a frequency in that range",
            )
        order = _LIMITS if frequency_khz <= policy.scaling_max_khz else _LIMITS[::-1]
        now = {"scaling_min_freq": policy.scaling_min_khz, "scaling_max_freq": policy.scaling_max_khz}
        steps += [(policy.path / name, frequency_khz) for name in order if now[name] != frequency_khz]
    return tuple(steps)


def plan_restore(saved: dict[str, dict[str, int]], policies: tuple[Policy, ...]) -> tuple[tuple[Path, int], ...]:
    """Say which file gets which value so that every policy has the limits that were saved."""
    steps: list[tuple[Path, int]] = []
    for policy in policies:
        wanted = saved.get(policy.path.name)
        if wanted is None:
            continue
        now = {"scaling_min_freq": policy.scaling_min_khz, "scaling_max_freq": policy.scaling_max_khz}
        order = _LIMITS if wanted["scaling_min_freq"] <= policy.scaling_max_khz else _LIMITS[::-1]
        steps += [(policy.path / name, wanted[name]) for name in order if now[name] != wanted[name]]
    return tuple(steps)


def save(path: Path, policies: tuple[Policy, ...]) -> None:
    """Keep the limits found, once: a second call leaves the first, original, values alone."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        p.path.name: {"scaling_min_freq": p.scaling_min_khz, "scaling_max_freq": p.scaling_max_khz} for p in policies
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1, sort_keys=True))
    partial.replace(path)


def apply(steps: tuple[tuple[Path, int], ...]) -> None:
    """Write the values and read back what the driver took.

    Raises:
        HostError: the driver refused a value, or took another one.
    """
    for path, khz in steps:
        try:
            path.write_text(str(khz))
        except OSError as error:
            raise HostError(f"the driver refused {khz} kHz: {error.strerror}", where=str(path)) from error
    for path, khz in steps:
        taken = int(path.read_text())
        if taken != khz:
            raise HostError(f"asked {khz} kHz, the driver took {taken} kHz", where=str(path))
