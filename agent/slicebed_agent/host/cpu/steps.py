"""What applying does to the processor files: writes in an order that the kernel takes, each read back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu.sysfs import Policy, read_policy, read_text

if TYPE_CHECKING:
    from pathlib import Path

# Governor, two limits, speed, preference, and the limits once more where the governor moved them.
_MOST_WRITES = 8
_SETTLES_S = 2.0
_PAUSE_S = 0.005


@dataclass(frozen=True)
class Write:
    """One file outside the policies gets a text: a core's ``online``, ``smt/control``, a boost switch."""

    file: str
    text: str


@dataclass(frozen=True)
class SetPolicy:
    """One policy gets these values; None leaves a value as it is.

    It is worked out when its turn comes, because cores brought online and boost switched change what is there.
    """

    where: str
    governor: str | None = None
    min_khz: int | None = None
    max_khz: int | None = None
    setspeed_khz: int | None = None
    preference: str | None = None


@dataclass(frozen=True)
class Expect:
    """These files must hold exactly these texts at the end."""

    files: tuple[tuple[str, str], ...]


Step = Write | SetPolicy | Expect


def next_write(now: Policy, target: SetPolicy) -> tuple[str, str] | None:
    """Say which file of the policy gets which text next; None when all is as wanted.

    The governor goes first, since it decides which of the others count. The kernel refuses a minimum above the
    maximum, so the limit that moves away from the other goes before it.
    """
    if target.governor is not None and now.text("scaling_governor") != target.governor:
        return "scaling_governor", target.governor
    low, high = now.khz("scaling_min_freq"), now.khz("scaling_max_freq")
    limits = [("scaling_min_freq", low, target.min_khz), ("scaling_max_freq", high, target.max_khz)]
    if target.min_khz is not None and high is not None and target.min_khz > high:
        limits.reverse()
    for name, found, wanted in limits:
        if wanted is not None and found != wanted:
            return name, str(wanted)
    speed = target.setspeed_khz
    if speed is not None and now.text("scaling_governor") == "userspace" and now.khz("scaling_setspeed") != speed:
        return "scaling_setspeed", str(speed)
    preference = now.text("energy_performance_preference")
    if target.preference is not None and preference != target.preference:
        return "energy_performance_preference", target.preference
    return None


def run(sysfs: Path, step: Step) -> None:
    """Do one step.

    Raises:
        HostError: the kernel refused a value, or took another one.
    """
    if isinstance(step, Write):
        if (read_text(sysfs / step.file) or "").strip() != step.text:
            _write(sysfs / step.file, step.text)
    elif isinstance(step, SetPolicy):
        _set_policy(sysfs, step)
    else:
        for file, text in step.files:
            found = _settled(sysfs / file, text)
            if found != text:
                raise HostError(
                    f"was {text.strip()!r} before, is {None if found is None else found.strip()!r}",
                    where=str(sysfs / file),
                    mend="the kernel did not take the old value back; write it by hand or reboot",
                )


def _set_policy(sysfs: Path, target: SetPolicy) -> None:
    for _ in range(_MOST_WRITES):
        write = next_write(read_policy(sysfs, target.where), target)
        if write is None:
            return
        _write(sysfs / target.where / write[0], write[1])
    raise HostError(
        f"the driver takes {target} value by value but does not keep it",
        where=str(sysfs / target.where),
        mend="ask for less: a governor such as performance decides the limits itself",
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise HostError(
            f"the kernel refused {text}: {error.strerror}",
            where=str(path),
            mend="this needs root, and a processor and firmware that allow it",
        ) from error
    taken = _settled(path, f"{text}\n")
    if taken is None or taken.strip() != text:
        raise HostError(
            f"asked {text}, the driver took {(taken or 'nothing').strip()}",
            where=str(path),
            mend="ask for a value that the driver keeps",
        )


def _settled(path: Path, text: str) -> str | None:
    """Read a file until it says what was written: a policy's limits reach it by a work queue of the kernel.

    (drivers/cpufreq/cpufreq.c, cpufreq_notifier_min and cpufreq_notifier_max.)
    """
    deadline = time.monotonic() + _SETTLES_S
    while True:
        found = read_text(path)
        if (found or "").strip() == text.strip() or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_S)
