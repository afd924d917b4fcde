"""What this process's control group (in a container, the container) and its host use: counters, read when asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OCTAL = re.compile(r"\\([0-7]{3})")
_PACKAGE = re.compile(r"intel-rapl:\d+")
# What the ifb devices of `slicebed_agent.host.network` carry was counted at the interface before.
_UNCOUNTED = re.compile(r"lo|sbi-\d+")


@dataclass(frozen=True)
class _Group:
    """This process's group in one hierarchy, and whether that is of version 2."""

    folder: Path
    unified: bool


class Meter:
    """Reads counters of processor time, traffic and energy, and how much memory is in use.

    Looks once where its control groups are: a process is not moved between groups while it is measured.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """Take the root of the file system to read."""
        self._root = root
        groups = _own_groups(_text(root / "proc/self/mountinfo"), _text(root / "proc/self/cgroup"))
        self._groups = {name: _Group(root / str(each.folder)[1:], each.unified) for name, each in groups.items()}
        self._energy: dict[str, tuple[int, int]] = {}

    def read(self) -> Mapping[str, int | None]:
        """Give the present values; None for what this machine does not tell.

        Returns:
            cpu_ns: processor time of the control group since it was made.
            memory_bytes: memory of the control group, without file pages that the kernel may drop at once.
            received_bytes: by all interfaces of the network namespace but the loopback.
            sent_bytes: likewise.
            energy_uj: of all processor packages since this meter's first reading (RAPL, root's alone to read).
        """
        received, sent = self._traffic()
        return {
            "cpu_ns": self._cpu_ns(),
            "memory_bytes": self._memory_bytes(),
            "received_bytes": received,
            "sent_bytes": sent,
            "energy_uj": self._energy_uj(),
        }

    def _cpu_ns(self) -> int | None:
        group = self._groups.get("cpuacct")
        if group is None:
            return None
        if not group.unified:
            return _number(group.folder / "cpuacct.usage")
        usage_us = _fields(group.folder / "cpu.stat").get("usage_usec")
        return None if usage_us is None else usage_us * 1000

    def _memory_bytes(self) -> int | None:
        group = self._groups.get("memory")
        if group is None:
            return None
        used = _number(group.folder / ("memory.current" if group.unified else "memory.usage_in_bytes"))
        idle = _fields(group.folder / "memory.stat").get("inactive_file" if group.unified else "total_inactive_file")
        return None if used is None else max(0, used - (idle or 0))

    def _traffic(self) -> tuple[int | None, int | None]:
        rows = [line.partition(":") for line in _text(self._root / "proc/self/net/dev").splitlines()]
        counts = [numbers.split() for name, colon, numbers in rows if colon and not _UNCOUNTED.fullmatch(name.strip())]
        if not rows:
            return None, None
        return sum(int(row[0]) for row in counts), sum(int(row[8]) for row in counts)

    def _energy_uj(self) -> int | None:
        zones = self._root / "sys/class/powercap"
        try:
            packages = sorted(zone for zone in zones.iterdir() if _PACKAGE.fullmatch(zone.name))
        except OSError:
            return None
        total = 0
        for zone in packages:
            now, span = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
            if now is None or span is None:
                return None
            before, so_far = self._energy.get(zone.name, (now, 0))
            # The counter begins anew once it has reached its range, about once an hour under load.
            so_far += now - before if now >= before else now - before + span
            self._energy[zone.name] = now, so_far
            total += so_far
        return total if packages else None


def _own_groups(mountinfo: str, cgroup: str) -> dict[str, _Group]:
    """Find the group for processor time and for memory: version 1 where it has the controller, else version 2."""
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in cgroup.splitlines())}
    found: dict[str, _Group] = {}
    for name in ("cpuacct", "memory"):
        for wanted, unified in ((name, False), ("", True)):
            own = next((path for controllers, path in paths.items() if wanted in controllers.split(",")), None)
            folder = None if own is None else _folder(mountinfo, wanted, own, unified=unified)
            if folder is not None:
                found[name] = _Group(folder, unified)
                break
    return found


def _folder(mountinfo: str, controller: str, own: str, *, unified: bool) -> Path | None:
    """Where this process's group is seen; a container sees its own group at the mount itself."""
    for root, mount, kind, options in _mounts(mountinfo):
        if kind != ("cgroup2" if unified else "cgroup") or not (unified or controller in options):
            continue
        inside = Path(own)
        return mount / inside.relative_to(root) if inside.is_relative_to(root) else mount
    return None


def _mounts(mountinfo: str) -> Iterator[tuple[str, Path, str, list[str]]]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, mount = (_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), field) for field in left.split()[3:5])
        kind, _, options = right.split(" ", 2)
        yield root, Path(mount), kind, options.split(",")


def _fields(path: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    """Give a file's text; nothing where there is none or it is not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
