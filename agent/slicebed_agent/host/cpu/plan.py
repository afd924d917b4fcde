"""The pure half: from a wish and the machine's files to the steps that fulfil it, or to the reason why none can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.change import Change, PartPlan
from slicebed_agent.host.cpu.cores import plan_cores
from slicebed_agent.host.cpu.steps import SetPolicy, Step, Write, next_write
from slicebed_agent.host.cpu.sysfs import GLOBAL_BOOST, NO_TURBO, SMT, Machine, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slicebed_agent.host.wish import CpuWish

NO_DRIVER = "load the kernel's driver (modprobe acpi-cpufreq, intel_pstate or amd_pstate), or limit with cpu_quota"
_UNITS = {"scaling_min_freq", "scaling_max_freq", "scaling_setspeed"}

_FREQUENCIES = ("frequency_khz", "min_khz", "max_khz")
_CLOCK = (*_FREQUENCIES, "governor")


def plan(wish: CpuWish, machine: Machine) -> PartPlan:
    """Say what makes the machine as wished.

    Raises:
        HostError: the machine cannot be so; it names the value and what is allowed.
    """
    smt_and_cores, rising, falling = plan_cores(wish, machine)
    boost = _boost(wish, machine, rising)
    policies = [policy for policy in machine.policies if not policy.cores or policy.cores - falling]
    targets = [_target(wish, policy) for policy in policies]
    for policy in policies:
        _check(wish, policy)
    clock = {name: value for name in _CLOCK if (value := getattr(wish, name)) is not None}
    wants_clock = bool(clock)
    if wants_clock and not policies:
        name, value = next(iter(clock.items()))
        raise HostError(
            f"{name} {value} asked, but no cpufreq driver is there", where="cpu", mend=NO_DRIVER, asked=f"cpu.{name}"
        )
    changes = [change(step.file, machine.text(step.file), step.text) for step in (*smt_and_cores, *boost)]
    differing = [pair for pair in zip(policies, targets, strict=True) if next_write(*pair) is not None]
    for policy, target in differing:
        changes += _policy_changes(policy, target)
    steps: list[Step] = [*smt_and_cores, *boost]
    if wants_clock and steps:
        # A core brought online and a boost switched come with values of their own: every policy is looked at then.
        steps += targets
        steps += [_target(wish, Policy(f"cpu{core}/cpufreq", {})) for core in sorted(rising)]
    else:
        steps += [target for _, target in differing]
    return PartPlan("cpu", tuple(changes), tuple(steps))


def _target(wish: CpuWish, policy: Policy) -> SetPolicy:
    fixed = wish.frequency_khz
    return SetPolicy(
        policy.where,
        governor=wish.governor,
        min_khz=wish.min_khz if fixed is None else fixed,
        max_khz=wish.max_khz if fixed is None else fixed,
        setspeed_khz=fixed,
    )


def _check(wish: CpuWish, policy: Policy) -> None:
    if wish.frequency_khz is not None and (wish.min_khz is not None or wish.max_khz is not None):
        raise HostError(
            f"frequency_khz {wish.frequency_khz} fixes minimum and maximum",
            where=policy.where,
            mend="leave out min_khz and max_khz, or frequency_khz",
            asked="cpu.frequency_khz",
        )
    if wish.governor is not None and wish.governor not in policy.governors:
        raise HostError(
            f"governor {wish.governor} is not offered by {policy.text('scaling_driver')}",
            where=policy.where,
            mend=f"allowed: {', '.join(policy.governors)}; another may come with modprobe cpufreq_{wish.governor}",
            asked="cpu.governor",
        )
    for name in _FREQUENCIES:
        khz = getattr(wish, name)
        if khz is not None:
            _check_frequency(name, khz, policy, raises_limit=wish.boost is True)
    if wish.min_khz is not None and wish.max_khz is not None and wish.min_khz > wish.max_khz:
        raise HostError(
            f"the minimum {wish.min_khz} kHz is above the maximum {wish.max_khz} kHz",
            where=policy.where,
            mend="allowed: min_khz up to max_khz",
            asked="cpu.min_khz",
        )


def _check_frequency(name: str, khz: int, policy: Policy, *, raises_limit: bool) -> None:
    table = policy.frequencies_khz
    if table:
        if khz not in table:
            raise HostError(
                f"{khz} kHz is not a frequency of {policy.text('scaling_driver')}",
                where=policy.where,
                mend=f"allowed: {', '.join(map(str, table))} kHz",
                asked=f"cpu.{name}",
            )
        return
    low, high = policy.khz("cpuinfo_min_freq"), policy.khz("cpuinfo_max_freq")
    # With boost still off, cpuinfo_max_freq does not say yet how far it will reach.
    too_high = high is not None and khz > high and not raises_limit
    if too_high or (low is not None and khz < low):
        raise HostError(
            f"{khz} kHz is outside the range of {policy.text('scaling_driver')}",
            where=policy.where,
            mend=f"allowed: {low} to {high} kHz",
            asked=f"cpu.{name}",
        )


def _boost(wish: CpuWish, machine: Machine, rising: Iterable[int]) -> list[Write]:
    """Find the switch that this driver has: intel_pstate's is inverted, amd-pstate may have one per policy."""
    if wish.boost is None:
        return []
    text = str(int(wish.boost))
    own = [policy.where for policy in machine.policies if policy.text("boost") is not None]
    if machine.text(NO_TURBO) is not None:
        wanted = [Write(NO_TURBO, str(int(not wish.boost)))]
    elif machine.text(GLOBAL_BOOST) is not None:
        wanted = [Write(GLOBAL_BOOST, text)]
    elif own:
        wanted = [Write(f"{where}/boost", text) for where in own]
        wanted += [Write(f"cpu{core}/cpufreq/boost", text) for core in sorted(rising)]
    else:
        raise HostError(
            f"boost {'on' if wish.boost else 'off'} asked, but the cpufreq driver has no switch for it",
            where="cpufreq",
            mend="leave boost out: this processor has none, or the firmware hides it",
            asked="cpu.boost",
        )
    return [write for write in wanted if machine.text(write.file) != write.text]


def _policy_changes(policy: Policy, target: SetPolicy) -> list[Change]:
    wanted = {
        "scaling_governor": target.governor,
        "scaling_min_freq": target.min_khz,
        "scaling_max_freq": target.max_khz,
    }
    governor = target.governor or policy.text("scaling_governor")
    if governor == "userspace":
        wanted["scaling_setspeed"] = target.setspeed_khz
    return [
        change(f"{policy.where}/{name}", policy.text(name), str(value))
        for name, value in wanted.items()
        if value is not None and policy.text(name) != str(value)
    ]


def change(file: str, now: str | None, wanted: str) -> Change:
    """Name a file as a reader knows it: cpu3/online is `online` of cpu3, a switch of all cores is of `machine`."""
    holder, _, what = file.rpartition("/")
    where = holder.removeprefix("cpufreq/").removesuffix("/cpufreq")
    if file in (SMT, GLOBAL_BOOST, NO_TURBO):
        where, what = "machine", {SMT: "smt", GLOBAL_BOOST: "boost", NO_TURBO: "no_turbo"}[file]
    return Change("cpu", where, f"{what}_khz" if what in _UNITS else what, _plain(now), _plain(wanted))


def _plain(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isdecimal() else text
