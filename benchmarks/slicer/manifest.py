"""On what the figures were measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.slicer.workers import ROOT

from slicebed_agent.model.runtime import tensorflow_version, usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES: Final = ("keras", "numpy", "protobuf", "slicebed")


def manifest(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Versions, machine, load and models.

    Args:
        models: by name, what `benchmarks.slicer.frozen` says of each.

    Returns:
        As JSON holds it; ``lines`` is what the terminal shows of it.
    """
    versions = {"tensorflow": tensorflow_version(), **{name: metadata.version(name) for name in _PACKAGES}}
    versions["python"] = platform.python_version()
    cpu, load = _cpu(), os.getloadavg()[0]
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    machine = f"{usable_cores()} of {os.cpu_count()} cores, {cpu}, {memory_bytes / 1e9:.0f} GB"
    weights = ", ".join(dict.fromkeys(model["weights"] for model in models.values()))
    return {
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": versions,
        "machine": {"cpu": cpu, "cores": usable_cores(), "memory_bytes": memory_bytes, "kernel": platform.release()},
        "load_at_the_start": load,
        "models": {name: dict(found) for name, found in models.items()},
        "lines": {
            "machine": f"{machine}; load average at the start {load:.1f}",
            "kernel": f"{platform.system()} {platform.release()}",
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "models": f"{len(models)}; weights: {weights}",
            "order": "every way once a round, shuffled; ratios: median of rounds, 95 % bootstrap",
        },
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    """Of the sources, with a plus where they were changed since; empty outside a checkout."""
    argv = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
