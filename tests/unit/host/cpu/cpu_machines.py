"""Processor folders as three drivers lay them out, read from real machines' files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ACPI = {
    "scaling_driver": "acpi-cpufreq",
    "cpuinfo_min_freq": "2000000",
    "cpuinfo_max_freq": "3500000",
    "scaling_available_frequencies": "3500000 3100000 3000000 2000000 ",
    "scaling_available_governors": "ondemand userspace performance schedutil ",
    "scaling_governor": "schedutil",
    "scaling_min_freq": "2000000",
    "scaling_max_freq": "3500000",
    "scaling_setspeed": "<unsupported>",
}
INTEL = {
    "scaling_driver": "intel_pstate",
    "cpuinfo_min_freq": "400000",
    "cpuinfo_max_freq": "4700000",
    "scaling_available_governors": "performance powersave",
    "scaling_governor": "powersave",
    "scaling_min_freq": "400000",
    "scaling_max_freq": "4700000",
    "scaling_setspeed": "<unsupported>",
    "energy_performance_preference": "balance_performance",
}
AMD = {
    "scaling_driver": "amd-pstate-epp",
    "cpuinfo_min_freq": "550000",
    "cpuinfo_max_freq": "5100000",
    "scaling_available_governors": "performance powersave",
    "scaling_governor": "powersave",
    "scaling_min_freq": "550000",
    "scaling_max_freq": "5100000",
    "scaling_setspeed": "<unsupported>",
    "energy_performance_preference": "balance_performance",
    "boost": "1",
}


def make(root: Path, driver: dict[str, str] | None, *, cores: int = 4, smt: str = "notsupported", **files: str) -> Path:
    """A folder of `cores` cores; with `smt` on, each odd core is the second thread of the one below."""
    everything = {f"cpufreq/policy{n}/{k}": v for n in range(cores) for k, v in (driver or {}).items()}
    everything |= {f"cpufreq/policy{n}/affected_cpus": str(n) for n in range(cores) if driver}
    everything |= {f"cpu{n}/online": "1" for n in range(1, cores)}
    pairs = {n: f"{n // 2 * 2}-{n // 2 * 2 + 1}" if smt == "on" else str(n) for n in range(cores)}
    everything |= {f"cpu{n}/topology/thread_siblings_list": pairs[n] for n in range(cores)}
    everything |= {"present": f"0-{cores - 1}", "online": f"0-{cores - 1}"}
    everything |= {"smt/control": smt, "smt/active": str(int(smt == "on"))}
    everything |= {name.replace("__", "/"): value for name, value in files.items()}
    for name, value in everything.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return root


def texts(root: Path) -> dict[str, str]:
    """Every file of the folder."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
