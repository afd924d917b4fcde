"""What the machine delivers under load, whatever was asked: the clock of a core, the processor time of the workload."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import statistics
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu.sysfs import parse_cores, read_text
from slicebed_agent.host.workload.hierarchies import Hierarchy, Version, find_hierarchies
from slicebed_agent.host.workload.part import group_name
from slicebed_agent.host.workload.steps import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SYSFS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
_START_S = 10.0
# include/uapi/asm-generic/unistd.h and arch/x86/entry/syscalls/syscall_64.tbl
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
# struct perf_event_attr, its first 64 bytes: type and size, config, sample_period, sample_type, read_format, flags, ...
_PERF_ATTR = struct.Struct("IIQQQQQIIQ")
_PERF_TYPE_HARDWARE, _PERF_CYCLES, _PERF_TIMES = 0, 0, 3
# Intel SDM volume 4 and AMD APM volume 2: time stamp counter, MPERF at its rate, APERF at the delivered one.
_TSC, _MPERF, _APERF = 0x10, 0xE7, 0xE8
_PROBE = "slicebed-probe"
_WINDOWS = 10
# The kernel's default, default_cfs_period() in kernel/sched/fair.c.
_PERIOD_S = 0.1


class Source(Enum):
    """Where a frequency comes from; CLAIMED is the driver's word, not a measurement."""

    CYCLES = "cycles"
    APERF_MPERF = "aperf_mperf"
    CLAIMED = "claimed"
    NONE = "not readable"


@dataclass(frozen=True)
class DeliveredFrequency:
    """The clock of one core while it was kept busy.

    Attributes:
        core: its number.
        mhz: None where nothing says.
        source: what says so.
        throttled: the processor slowed the core or its package for heat meanwhile; None where it does not tell.
        reason: why nothing better could be read; empty when the clock was measured by cycles.
    """

    core: int
    mhz: float | None
    source: Source
    throttled: bool | None
    reason: str

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "source": self.source.value}


@dataclass(frozen=True)
class DeliveredQuota:
    """The processor time that a probe in the workload's group got while it asked for all.

    Attributes:
        asked: seconds of processor time per second that the kernel holds; None when the group has no quota.
        shares: what the probe got in each window, alike; a window is a whole number of the quota's periods.
        processes: how many asked at once, one per core that the group may use.
        periods: how many of the quota's periods the kernel counted meanwhile; 0 without a quota.
        throttled_periods: in how many of them the group had used its quota up.
    """

    asked: float | None
    shares: tuple[float, ...]
    processes: int
    periods: int
    throttled_periods: int

    @property
    def share(self) -> float:
        """Seconds of processor time per second, over all windows."""
        return statistics.fmean(self.shares)

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def sample_frequency(core: int, seconds: float) -> DeliveredFrequency:
    """Keep a core busy for `seconds` and measure its clock: by cycles, by APERF/MPERF, else what the driver claims.

    Raises:
        HostError: the core is not online, or this process may not use it.
    """
    online = parse_cores((_SYSFS / "online").read_text())
    if core not in online:
        raise HostError(f"core {core} is not online", where="cpu", mend=f"allowed: {', '.join(map(str, online))}")
    reasons: list[str] = []
    with _busy(f"os.sched_setaffinity(0, {{{core}}})"):
        heat = _throttle_counts(core)
        for source, read in _READERS.items():
            mhz, reason = _attempt(read, core, seconds)
            if mhz is not None:
                return DeliveredFrequency(core, round(mhz, 1), source, _throttled(heat, core), "; ".join(reasons))
            reasons.append(f"{source.value}: {reason}")
        return DeliveredFrequency(core, None, Source.NONE, _throttled(heat, core), "; ".join(reasons))


def unreadable_sources(seconds: float = 0.02) -> dict[Source, str]:
    """Try every source of a frequency on the first core under load: why it cannot be read, empty where it can."""
    with _busy("os.sched_setaffinity(0, {0})"):
        return {source: _attempt(read, 0, seconds)[1] for source, read in _READERS.items()}


def sample_quota(host: str, seconds: float, cgroup_root: Path = _CGROUPS) -> DeliveredQuota:
    """Ask for all the processor time in the group ``slicebed.HOST`` for `seconds` and say what came, by windows.

    What runs in the group takes its part of the quota from the probe: sample while the workload rests.

    Raises:
        HostError: there is no such group, it takes no process, or a probe in it came to an end.
    """
    hierarchies = find_hierarchies(Path("/proc/self/mountinfo").read_text(), cgroup_root)
    groups = [(each, each.mount / group_name(host)) for each in hierarchies if {"cpu", "cpuset"} & each.controllers]
    if not groups or not all(group.is_dir() for _, group in groups):
        raise HostError("the workload's group is not there", where=group_name(host), mend="apply the workload first")
    limited = next(group for hierarchy, group in groups if "cpu" in hierarchy.controllers)
    with ExitStack() as stack:
        enter = [stack.enter_context(_probe_group(*each)) for each in groups]
        code = "".join(f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n" for group in enter)
        first = stack.enter_context(_busy(code))
        usable = len(os.sched_getaffinity(first))
        probes = [first, *(stack.enter_context(_busy(code)) for _ in range(usable - 1))]
        asked, period_s = _held(limited)
        before = read_throttling(limited)
        shares = sample_shares(lambda: sum(map(_processor_s, probes)), seconds, period_s)
        periods, throttled = (now - then for now, then in zip(read_throttling(limited), before, strict=True))
    return DeliveredQuota(asked, shares, usable, periods, throttled)


def sample_shares(
    used_s: Callable[[], float],
    seconds: float,
    period_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[float, ...]:
    """Give the growth of `used_s` per second in each of some ten windows of about `seconds` together, at least two.

    A window is a whole number of periods: the quota of a period is used up at its beginning, so that a part of one
    would hold too much or too little.
    """
    window_s = max(round(seconds / _WINDOWS / period_s), 1) * period_s
    shares = []
    began, used = clock(), used_s()
    first = began
    for number in range(1, max(round(seconds / window_s), 2) + 1):
        sleep(max(first + number * window_s - clock(), 0.0))
        ended, used_then = clock(), used_s()
        shares.append(round((used_then - used) / (ended - began), 4))
        began, used = ended, used_then
    return tuple(shares)


def read_throttling(group: Path) -> tuple[int, int]:
    """Give how many periods the kernel has counted of a group's quota, and in how many the group used it up."""
    words = (read_text(group / "cpu.stat") or "").split()
    counts = dict(zip(words[::2], words[1::2], strict=False))
    return int(counts.get("nr_periods", 0)), int(counts.get("nr_throttled", 0))


class _UnreadableError(Exception):
    """A source that is there but says nothing."""


@contextmanager
def _busy(prepare: str) -> Iterator[int]:
    """Run a child that prepares itself and then does nothing but compute; give its process id."""
    code = f"import os\n{prepare}\nprint('busy', flush=True)\nwhile True: pass"
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-S", "-E", "-c", code], text=True, **pipes) as child:  # type: ignore[call-overload]
        try:
            if child.stdout.readline() != "busy\n":
                last = (child.stderr.read().strip().splitlines() or ["it ended at once"])[-1]
                raise HostError(f"no busy process can be put there: {last}", mend="this needs root")
            yield child.pid
        finally:
            child.kill()


def _by_cycles(core: int, seconds: float) -> float:
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise _UnreadableError(f"perf_event_open is not known for {platform.machine()}")
    attributes = _PERF_ATTR.pack(_PERF_TYPE_HARDWARE, _PERF_ATTR.size, _PERF_CYCLES, 0, 0, _PERF_TIMES, 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    # Any process (-1) on this core, no group (-1), closed on exec (8).
    counter = libc.syscall(number, ctypes.c_char_p(attributes), -1, core, -1, ctypes.c_ulong(8))
    if counter < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        cycles, _, running_ns = _over(seconds, lambda: struct.unpack("QQQ", os.read(counter, 24)))
    finally:
        os.close(counter)
    if not cycles or not running_ns:
        raise _UnreadableError("the counter does not count")
    return cycles / running_ns * 1e3


def _by_msr(core: int, seconds: float) -> float:
    file = os.open(f"/dev/cpu/{core}/msr", os.O_RDONLY | os.O_CLOEXEC)

    def read() -> tuple[int, ...]:
        found = [int.from_bytes(os.pread(file, 8, register), "little") for register in (_TSC, _MPERF, _APERF)]
        return (*found, time.monotonic_ns())

    try:
        tsc, mperf, aperf, elapsed_ns = _over(seconds, read)
    finally:
        os.close(file)
    if min(tsc, mperf, aperf) <= 0:
        raise _UnreadableError("the registers do not count")
    return tsc / elapsed_ns * 1e3 * aperf / mperf


def _claimed(core: int, seconds: float) -> float:
    time.sleep(seconds)
    for name in ("cpuinfo_avg_freq", "scaling_cur_freq"):
        text = (read_text(_SYSFS / f"cpu{core}/cpufreq/{name}") or "").strip()
        if text.isdecimal():
            return int(text) / 1e3
    raise _UnreadableError("no cpufreq driver says a frequency")


_READERS = {Source.CYCLES: _by_cycles, Source.APERF_MPERF: _by_msr, Source.CLAIMED: _claimed}


def _attempt(read: Callable[[int, float], float], core: int, seconds: float) -> tuple[float | None, str]:
    try:
        return read(core, seconds), ""
    except OSError as error:
        return None, f"{error.filename or 'perf_event_open'}: {os.strerror(error.errno or 0)}"
    except _UnreadableError as error:
        return None, str(error)


def _over(seconds: float, read: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
    before = read()
    time.sleep(seconds)
    return tuple(after - first for after, first in zip(read(), before, strict=True))


def _throttle_counts(core: int) -> list[int]:
    names = ("core_throttle_count", "package_throttle_count")
    found = [read_text(_SYSFS / f"cpu{core}/thermal_throttle/{name}") for name in names]
    return [int(text) for text in found if text is not None]


def _throttled(before: list[int], core: int) -> bool | None:
    return _throttle_counts(core) != before if before else None


@contextmanager
def _probe_group(hierarchy: Hierarchy, group: Path) -> Iterator[Path]:
    """Give a group that takes processes: version 2 puts them only into the last group of a branch."""
    if hierarchy.version is Version.V1:
        yield group
        return
    leaf = group / _PROBE
    leaf.mkdir(exist_ok=True)
    try:
        yield leaf
    finally:
        remove(leaf)


def _held(group: Path) -> tuple[float | None, float]:
    """Give the quota in force, per second, and its period in seconds."""
    words = (read_text(group / "cpu.max") or "").split()
    words = words or [(read_text(group / f"cpu.cfs_{name}_us") or "").strip() for name in ("quota", "period")]
    quota, period = (float(word) if word.isdecimal() else math.nan for word in words)
    asked = None if math.isnan(quota) or math.isnan(period) else quota / period
    return asked, _PERIOD_S if math.isnan(period) else period / 1e6


def _processor_s(pid: int) -> float:
    # The processor clock of another process, to the nanosecond: MAKE_PROCESS_CPUCLOCK in include/linux/posix-timers.h.
    # The ticks of /proc/PID/stat are too coarse for a window.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError as error:
        mend = "raise the group's memory limit"
        raise HostError("a busy process came to an end", where="cpu_quota", mend=mend) from error
