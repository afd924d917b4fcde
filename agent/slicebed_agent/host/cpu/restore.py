"""The pure half of going back: which files are saved for a wish, and in which order they get their texts again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicebed_agent.host.change import PartPlan
from slicebed_agent.host.cpu.plan import change
from slicebed_agent.host.cpu.steps import Expect, SetPolicy, Step, Write
from slicebed_agent.host.cpu.sysfs import GLOBAL_BOOST, NO_TURBO, POLICY_SETTINGS, SMT, Machine, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed_agent.host.wish import CpuWish

_LIMITS = ("scaling_min_freq", "scaling_max_freq")
# A saved value is a text, or a text and those of the files that switching this one may move.
_TEXT, _MOVES = "text", "moves"


def save(wish: CpuWish, also: Iterable[str], machine: Machine) -> dict[str, Any]:
    """Give the texts of the files that `wish` speaks of, by path.

    A core that comes back online and a boost that is switched may bring other limits with them. Those are kept inside
    the switch's own value, not under names of their own: the wish does not speak of them.
    """
    saved: dict[str, Any] = {}
    for policy in machine.policies:
        saved |= {
            f"{policy.where}/{name}": policy.files[name] for name in _spoken(wish, policy) if name in policy.files
        }
    if wish.boost is not None:
        limits = {k: text for policy in machine.policies for k, text in _settings(policy, _LIMITS).items()}
        switches = (GLOBAL_BOOST, NO_TURBO, *(f"{policy.where}/boost" for policy in machine.policies))
        saved |= {name: {_TEXT: machine.files[name], _MOVES: limits} for name in switches if name in machine.files}
    if wish.smt is not None and SMT in machine.files:
        saved[SMT] = machine.files[SMT]
    if wish.smt is not None or wish.online_cores is not None:
        for core in machine.present:
            own = [policy for policy in machine.policies if core in policy.cores]
            moves = {k: text for policy in own for k, text in _settings(policy, POLICY_SETTINGS).items()}
            name = f"cpu{core}/online"
            if name in machine.files:
                saved[name] = {_TEXT: machine.files[name], _MOVES: moves}
    return {name: machine.files[name] for name in also if name in machine.files} | saved


def plan_restore(saved: Mapping[str, Any], machine: Machine) -> PartPlan:
    """Say what puts every saved file back to its exact text.

    Multithreading goes first and cores come online next, because the files of an offline core's policy cannot be
    written; boost moves the limits, so the limits follow it; cores that were offline go last. The policies are looked
    at a second time then, since a core that goes offline may hand its policy on.
    """
    wanted = _wanted(saved, machine)
    changes = tuple(
        change(file, machine.text(file), text.strip())
        for file, text in sorted(wanted.items())
        if machine.files.get(file) != text and (file in saved or file in machine.files)
    )
    if not changes:
        return PartPlan("cpu")
    online = {file: text.strip() for file, text in sorted(wanted.items()) if file.endswith("/online")}
    falling = {file for file, text in online.items() if text == "0"}
    gone = {policy.where for policy in machine.policies if policy.cores and policy.cores <= set(_numbers(falling))}
    policies = sorted({file.rpartition("/")[0] for file in wanted if file.startswith("cpufreq/policy")})
    boosts = [file for file in wanted if file in (GLOBAL_BOOST, NO_TURBO) or file.endswith("/boost")]
    steps: list[Step] = [Write(SMT, wanted[SMT].strip())] if SMT in wanted else []
    steps += [Write(file, text) for file, text in online.items() if text == "1"]
    steps += [Write(file, wanted[file].strip()) for file in sorted(set(boosts), key=lambda file: file.count("/"))]
    steps += [_target(where, wanted) for where in policies]
    steps += [Write(file, "0") for file in sorted(falling)]
    steps += [_target(where, wanted) for where in policies if where not in gone]
    kept = {file: text for file, text in wanted.items() if file.rpartition("/")[0] not in gone}
    return PartPlan("cpu", changes, (*steps, Expect(tuple(sorted(kept.items())))))


def _spoken(wish: CpuWish, policy: Policy) -> set[str]:
    names: set[str] = set()
    if wish.governor is not None:
        names |= {"scaling_governor", "scaling_setspeed", "energy_performance_preference"}
        if (policy.text("scaling_driver") or "").startswith("amd-pstate"):
            # Its performance governor raises the minimum of itself.
            names.add("scaling_min_freq")
    if wish.frequency_khz is not None:
        names |= {*_LIMITS, "scaling_setspeed"}
    if wish.min_khz is not None:
        names.add("scaling_min_freq")
    if wish.max_khz is not None:
        names.add("scaling_max_freq")
    return names


def _settings(policy: Policy, names: Iterable[str]) -> dict[str, str]:
    return {f"{policy.where}/{name}": policy.files[name] for name in names if name in policy.files}


def _wanted(saved: Mapping[str, Any], machine: Machine) -> dict[str, str]:
    """Give the texts to put back: a name's own, and what moves along with a switch that is turned back now."""
    own = {name: value if isinstance(value, str) else str(value[_TEXT]) for name, value in saved.items()}
    moved: dict[str, str] = {}
    for name, value in saved.items():
        if not isinstance(value, str) and machine.files.get(name) != own[name]:
            moved |= value[_MOVES]
    differing = {name: text.strip() for name, text in own.items() if machine.files.get(name) != text}
    rises = differing.get(SMT) == "on" or any(
        name.endswith("/online") and text == "1" for name, text in differing.items()
    )
    # The policy of a core that stays offline cannot be read or written; its turn comes with the core's.
    active = {policy.where for policy in machine.policies}
    return {
        name: text
        for name, text in {**moved, **own}.items()
        if rises or not name.startswith("cpufreq/policy") or name.rpartition("/")[0] in active
    }


def _target(where: str, wanted: Mapping[str, str]) -> SetPolicy:
    def number(name: str) -> int | None:
        text = wanted.get(f"{where}/{name}", "").strip()
        return int(text) if text.isdecimal() else None

    def word(name: str) -> str | None:
        return wanted.get(f"{where}/{name}", "").strip() or None

    return SetPolicy(
        where,
        word("scaling_governor"),
        number("scaling_min_freq"),
        number("scaling_max_freq"),
        number("scaling_setspeed"),
        word("energy_performance_preference"),
    )


def _numbers(files: Iterable[str]) -> list[int]:
    return [int(file.split("/")[0].removeprefix("cpu")) for file in files]
