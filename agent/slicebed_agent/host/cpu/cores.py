"""Which cores run: multithreading first, since the kernel brings up or takes down second threads with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu.steps import Write
from slicebed_agent.host.cpu.sysfs import SMT, Machine

if TYPE_CHECKING:
    from slicebed_agent.host.wish import CpuWish


def plan_cores(wish: CpuWish, machine: Machine) -> tuple[list[Write], frozenset[int], frozenset[int]]:
    """Say what makes the wished cores run.

    Returns:
        The writes in order, the cores that come online by them, and the cores that go offline.

    Raises:
        HostError: multithreading cannot be switched so, or there are not that many cores.
    """
    smt = _smt(wish, machine)
    online = set(machine.online)
    if smt and smt[0].text == "on":
        online = set(machine.present)
    elif smt:
        online -= machine.second_threads
    before = set(machine.online)
    if wish.online_cores is None:
        return smt, frozenset(online - before), frozenset(before - online)
    candidates = _candidates(machine, online, smt)
    if not 1 <= wish.online_cores <= len(candidates):
        raise HostError(
            f"online_cores {wish.online_cores} is more than this machine has",
            where="cpu",
            mend=f"allowed: 1 to {len(candidates)}",
            asked="cpu.online_cores",
        )
    wanted = set(candidates[: wish.online_cores])
    for core in sorted(online - wanted):
        if f"cpu{core}/online" not in machine.files:
            raise HostError(
                f"cpu{core} cannot be taken offline: the kernel gives it no such file",
                where=f"cpu{core}",
                mend=f"allowed: online_cores {len(candidates)}; limit with the workload's cores instead",
                asked="cpu.online_cores",
            )
    writes = [Write(f"cpu{core}/online", "1") for core in sorted(wanted - online)]
    writes += [Write(f"cpu{core}/online", "0") for core in sorted(online - wanted)]
    return [*smt, *writes], frozenset(wanted - before), frozenset(before - wanted)


def _smt(wish: CpuWish, machine: Machine) -> list[Write]:
    if wish.smt is None:
        return []
    control = machine.text(SMT) or "notimplemented"
    if control in ("off", "forceoff", "notsupported", "notimplemented") and not wish.smt:
        if machine.text("smt/active") == "1":
            raise HostError(
                "smt off asked, but the kernel cannot switch it",
                where=SMT,
                mend="switch it in firmware",
                asked="cpu.smt",
            )
        return []
    if control in ("forceoff", "notsupported", "notimplemented"):
        raise HostError(
            f"smt on asked, but the kernel says {control}",
            where=SMT,
            mend="allowed: off; forceoff and nosmt last until reboot, the rest is the processor's or the firmware's",
            asked="cpu.smt",
        )
    wanted = "on" if wish.smt else "off"
    return [] if control == wanted else [Write(SMT, wanted)]


def _candidates(machine: Machine, online: set[int], smt: list[Write]) -> list[int]:
    """List the cores that may run, in the order in which they are kept.

    While multithreading is off, an offline second thread looks like any other offline core and the kernel refuses
    to bring it up: the cores that run come first then.
    """
    present = set(machine.present)
    if smt and smt[0].text == "off":
        return sorted(present - machine.second_threads)
    if not smt and machine.text(SMT) in ("off", "forceoff"):
        return [*sorted(online), *sorted(present - online)]
    return sorted(present)
