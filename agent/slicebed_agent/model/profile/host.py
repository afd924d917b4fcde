"""The cores that a profile is taken on, and what else there is to know of the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent import __version__
from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.runtime import tensorflow_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CPUINFO: Final = Path("/proc/cpuinfo")
_CPU: Final = Path("/sys/devices/system/cpu")
_POOL: Final = "tf_Compute"


@contextlib.contextmanager
def pinned(cores: Sequence[int] | None) -> Iterator[tuple[int, ...]]:
    """Confine this process to some cores, all of its threads; afterwards it may use what it could before.

    Args:
        cores: by number; None for all that it may use.

    Raises:
        AgentConfigError: one is named twice, or this process may not use it.
    """
    allowed = sorted(os.sched_getaffinity(0))
    asked = allowed if cores is None else list(cores)
    if not asked or len(set(asked)) != len(asked) or not set(asked) <= set(allowed):
        raise AgentConfigError(
            f"cores {','.join(map(str, asked))}",
            where="--cores",
            mend=f"this process may use {','.join(map(str, allowed))}; name each once",
        )
    _confine(asked)
    try:
        yield tuple(sorted(asked))
    finally:
        _confine(allowed)


def _confine(cores: Sequence[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(task.name), cores)


def pool_threads(cores: Sequence[int]) -> int:
    """How many threads TensorFlow computes with; call it when something has run.

    Raises:
        AgentError: not as many as there are cores: the pool is made once, by the first slice of a process.
    """
    found = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            found += (task / "comm").read_text(encoding="utf-8").strip() == _POOL
    if found != len(cores):
        raise AgentError(
            f"TensorFlow's pool has {found} threads for {len(cores)} cores",
            where="profile",
            mend="profile in a new process, confined before TensorFlow starts",
        )
    return found


def processor() -> str | None:
    """What the processor calls itself."""
    found = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    return None if found is None else found.group(1).strip()


def clock_mhz(cores: Sequence[int]) -> tuple[float, ...] | None:
    """The clock of each core, from cpufreq, else from /proc/cpuinfo; None where neither tells."""
    files = [_CPU / f"cpu{core}" / "cpufreq" / "scaling_cur_freq" for core in cores]
    with contextlib.suppress(OSError, ValueError):
        return tuple(int(file.read_text(encoding="ascii")) / 1000 for file in files)
    told = re.findall(
        r"^processor\s*:\s*(\d+)$(?:\n.+)*?\ncpu MHz\s*:\s*([\d.]+)$",
        _CPUINFO.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    by_core = {int(core): float(mhz) for core, mhz in told}
    return tuple(by_core[core] for core in cores) if set(cores) <= set(by_core) else None


def versions() -> dict[str, str]:
    """Of what a time depends on.

    Raises:
        AgentError: TensorFlow is not installed.
    """
    return {
        "slicebed": __version__,
        "tensorflow": tensorflow_version(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
