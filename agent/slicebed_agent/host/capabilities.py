"""What can be applied and measured on this host, found by trial; a module's name in a list is no proof either way."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu import sysfs
from slicebed_agent.host.delivered import Source, unreadable_sources
from slicebed_agent.host.network import tcp
from slicebed_agent.host.wish import MAX_BUFFER_BYTES, TcpWish
from slicebed_agent.host.workload.hierarchies import CONTROLLERS, Hierarchy, find_hierarchies
from slicebed_agent.host.workload.steps import MakeGroup, RemoveGroup, run

if TYPE_CHECKING:
    from collections.abc import Mapping

_CPU = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
_STA_UNSYNC = 0x40
# The most that a testbed may ask for, both ways.
_TCP_TRIAL = TcpWish(receive_bytes=MAX_BUFFER_BYTES, send_bytes=MAX_BUFFER_BYTES)
# What each trial of `slicebed_agent.host.network.kernel` stands for, and the module that carries it.
_LINKS = {
    "htb": ("no rate limit and no condition per peer", "sch_htb"),
    "netem": ("no delay, jitter, loss, duplication or reordering by this host's kernel", "sch_netem"),
    "pfifo": ("no queue limit without delay", "sch_fifo"),
    "ingress": ("nothing can be held back at the receiver", "sch_ingress"),
    "u32": ("no peers told apart without flower", "cls_u32"),
    "flower": ("peers are told apart by hashed u32 instead", "cls_flower"),
    "mirred": ("nothing can be held back at the receiver", "act_mirred"),
    "ifb": ("nothing can be held back at the receiver", "ifb"),
    "netem_duplicate_many": ("duplication only where no other link of the interface is delayed", ""),
}


@dataclass(frozen=True)
class Capability:
    """One thing that this host can do, or cannot and why.

    Attributes:
        name: stable: ``cpu.boost``, ``cgroup.memory``, ``link.netem``.
        available: whether it can.
        detail: with what it does it; else why not, what that prevents and how to mend it.
    """

    name: str
    available: bool
    detail: str

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def capabilities(host: str) -> list[Capability]:
    """Try everything that a wish may need on this machine; what the trials make, they remove.

    Args:
        host: its name in the inventory; the trial's control group carries it.
    """
    machine = sysfs.Machine(sysfs.read(_CPU))
    found = [*cpu_capabilities(machine), *_cgroups(host), *_measures(), _memory(), _gpu(), _clock()]
    return [*found, tcp_capability(tcp.read(), _tcp_refusal()), *_links()]


def cpu_capabilities(machine: sysfs.Machine) -> list[Capability]:
    """Say what of the processors can be set; reads only, since taking a core offline is no trial but an act."""
    found = []
    if machine.policies:
        policy = machine.policies[0]
        table = policy.frequencies_khz
        span = f"{policy.text('cpuinfo_min_freq')} to {policy.text('cpuinfo_max_freq')} kHz"
        found.append(_can("cpu.driver", policy.text("scaling_driver") or "unnamed", ""))
        found.append(_can("cpu.governor", ", ".join(policy.governors), "the driver offers none"))
        found.append(_can("cpu.frequency", ", ".join(map(str, table)) + " kHz" if table else span, ""))
    else:
        mend = "modprobe acpi-cpufreq, or on a virtual machine limit with cpu_quota"
        names = ("cpu.driver", "cpu.governor", "cpu.frequency")
        found += [_can(name, "", f"no cpufreq driver: the clock cannot be set; {mend}") for name in names]
    switches = [name for name in (sysfs.NO_TURBO, sysfs.GLOBAL_BOOST) if name in machine.files]
    switches += [f"{each.where}/boost" for each in machine.policies if each.text("boost") is not None][:1]
    found.append(_can("cpu.boost", switches[0] if switches else "", "the driver has no switch: leave boost as it is"))
    control = machine.text(sysfs.SMT) or "notimplemented"
    is_switch = control in ("on", "off")
    found.append(
        _can("cpu.smt", f"now {control}" if is_switch else "", f"{control}: multithreading cannot be switched here")
    )
    movable = [core for core in machine.present if f"cpu{core}/online" in machine.files]
    detail = f"{len(movable)} of {len(machine.present)} cores can go offline" if movable else ""
    found.append(_can("cpu.hotplug", detail, "no core can go offline: limit with the workload's cores instead"))
    return found


def cgroup_capabilities(hierarchies: tuple[Hierarchy, ...], refused: dict[Path, str]) -> list[Capability]:
    """Say which limits of the workload can be set.

    Args:
        hierarchies: where control groups live.
        refused: why no group could be made, by the tree's root; empty where one could.
    """
    versions = sorted({each.version.value for each in hierarchies if each.controllers})
    shown = " and ".join(f"version {version}" for version in versions)
    found = [_can("cgroup.version", shown, "no control groups are mounted: mount cgroup2 on /sys/fs/cgroup")]
    properties = {"cpuset": "cores", "cpu": "cpu_quota", "memory": "memory_bytes"}
    for controller in CONTROLLERS:
        holders = [each for each in hierarchies if controller in each.controllers]
        prevents = f"{properties[controller]} cannot be limited"
        if not holders:
            why = f"no {controller} controller: {prevents}; boot with cgroup_enable={controller}"
            found.append(_can(f"cgroup.{controller}", "", why))
            continue
        mount = holders[0].mount
        detail = "" if refused.get(mount) else f"version {holders[0].version.value} at {mount}"
        found.append(_can(f"cgroup.{controller}", detail, f"{refused.get(mount)}: {prevents}; this needs root"))
    return found


def tcp_capability(found: Mapping[str, str], refused: str) -> Capability:
    """Say whether ``tcp: streaming`` can be had.

    Args:
        found: settings of this host's network namespace, as `tcp.read` gives them.
        refused: why the trial in a throwaway namespace failed; empty where it did not.
    """
    try:
        settings = {each.name: each.text for each in tcp.plan(_TCP_TRIAL, found)}
    except HostError as error:
        return _can("tcp.streaming", "", _said(error))
    congestion = settings.get(tcp.CONGESTION, found[tcp.CONGESTION])
    return _can("tcp.streaming", "" if refused else f"tried, with {congestion}", refused)


def _tcp_refusal() -> str:
    from slicebed_agent.host.network.kernel import in_throwaway_namespace  # noqa: PLC0415 - as of _links

    try:
        in_throwaway_namespace(lambda _: tcp.write(tcp.plan(_TCP_TRIAL, tcp.read())))
    except HostError as error:
        return _said(error)
    return ""


def _said(error: HostError) -> str:
    return "; ".join(part for part in (error.what, error.mend) if part)


def _cgroups(host: str) -> list[Capability]:
    hierarchies = find_hierarchies(Path("/proc/self/mountinfo").read_text(), _CGROUPS)
    refused = {each.mount: _refusal(each.mount / f"slicebed-doctor-{host}-{os.getpid()}") for each in hierarchies}
    return cgroup_capabilities(hierarchies, refused)


def _refusal(group: Path) -> str:
    try:
        run(MakeGroup(group))
        run(RemoveGroup(group))
    except HostError as error:
        return error.what
    return ""


def _measures() -> list[Capability]:
    reasons = unreadable_sources()
    mends = {
        Source.CYCLES: "the clock is not counted by perf; a virtual machine needs a virtual PMU from its hypervisor",
        Source.APERF_MPERF: "the clock is not read from the processor's registers; modprobe msr, and root",
        Source.CLAIMED: "no driver claims a clock; see cpu.driver",
    }
    found = [
        _can(f"measure.{source.name.lower()}", "" if reason else "readable", f"{reason}; {mends[source]}")
        for source, reason in reasons.items()
    ]
    heat = (_CPU / "cpu0/thermal_throttle/core_throttle_count").exists()
    why = "the processor does not tell: throttling by heat goes unnoticed"
    return [*found, _can("measure.throttling", "counted" if heat else "", why)]


def _memory() -> Capability:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _can("memory", f"{total} bytes", "")


def _gpu() -> Capability:
    found = sorted(str(path) for pattern in ("nvidia[0-9]*", "dri/renderD*") for path in Path("/dev").glob(pattern))
    return _can("gpu", ", ".join(found), "no /dev/nvidia0 or /dev/dri/renderD*: gpu: true is refused; load its driver")


def _clock() -> Capability:
    source = sysfs.read_text(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")) or "unknown"
    # struct timex of adjtimex(2): modes, offset, freq, maxerror, esterror, status; zero modes only read.
    timex = ctypes.create_string_buffer(256)
    ctypes.CDLL(None).adjtimex(timex)
    _, _, _, maximum_us, _, status = struct.unpack_from("iqqqqi", timex)
    why = f"source {source.strip()}, not synchronised: one-way times of two hosts are not compared; run an NTP client"
    detail = f"source {source.strip()}, synchronised to within {maximum_us} us"
    return _can("clock", "" if status & _STA_UNSYNC else detail, why)


def _links() -> list[Capability]:
    from slicebed_agent.host.network.kernel import kernel_features  # noqa: PLC0415 - it makes a network namespace

    try:
        refusals = dict(kernel_features().refusals)
    except HostError as error:
        return [_can("link", "", str(error))]
    return [_link(name, refusal) for name, refusal in sorted(refusals.items())]


def _link(name: str, refusal: str) -> Capability:
    prevents, module = _LINKS.get(name, ("", ""))
    parts = [refusal, prevents, f"modprobe {module}" if module else ""]
    return _can(f"link.{name}", "" if refusal else "tried", "; ".join(part for part in parts if part))


def _can(name: str, detail: str, why_not: str) -> Capability:
    return Capability(name, bool(detail), detail or why_not)
