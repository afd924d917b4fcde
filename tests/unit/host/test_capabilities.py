"""What doctor says of a machine: every refusal names what it prevents and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slicebed_agent.host.capabilities import Capability, cgroup_capabilities, cpu_capabilities, tcp_capability
from slicebed_agent.host.cpu.sysfs import Machine
from slicebed_agent.host.workload.hierarchies import Hierarchy, Version

ROOT = Path("/sys/fs/cgroup")
POLICY = {
    "scaling_driver": "intel_pstate",
    "scaling_governor": "powersave",
    "scaling_available_governors": "performance powersave",
    "cpuinfo_min_freq": "400000",
    "cpuinfo_max_freq": "4700000",
}


def by_name(found):
    return {each.name: each for each in found}


def test_a_machine_with_a_driver_says_which_and_what_it_takes():
    files = {f"cpufreq/policy0/{name}": f"{text}\n" for name, text in POLICY.items()}
    files |= {"present": "0-1\n", "cpu1/online": "1\n", "smt/control": "on\n", "intel_pstate/no_turbo": "0\n"}
    found = by_name(cpu_capabilities(Machine(files)))
    assert all(each.available for each in found.values())
    assert found["cpu.driver"].detail == "intel_pstate"
    assert found["cpu.governor"].detail == "performance, powersave"
    assert found["cpu.frequency"].detail == "400000 to 4700000 kHz"
    assert found["cpu.boost"].detail == "intel_pstate/no_turbo"
    assert found["cpu.hotplug"].detail == "1 of 2 cores can go offline"


def test_a_virtual_machine_without_a_driver_is_told_of_the_quota():
    found = by_name(cpu_capabilities(Machine({"present": "0\n"})))
    assert not any(each.available for each in found.values())
    assert "cpu_quota" in found["cpu.frequency"].detail


def test_a_controller_that_is_missing_or_refused_names_the_property():
    found = by_name(
        cgroup_capabilities(
            (
                Hierarchy(ROOT / "cpu", Version.V1, frozenset({"cpu"})),
                Hierarchy(ROOT / "unified", Version.V2, frozenset({"memory"})),
            ),
            {ROOT / "cpu": "Read-only file system", ROOT / "unified": ""},
        )
    )
    assert found["cgroup.version"] == Capability("cgroup.version", available=True, detail="version 1 and version 2")
    assert not found["cgroup.cpuset"].available
    assert "cores cannot be limited; boot with cgroup_enable=cpuset" in found["cgroup.cpuset"].detail
    assert "Read-only file system: cpu_quota cannot be limited" in found["cgroup.cpu"].detail
    assert found["cgroup.memory"].detail == "version 2 at /sys/fs/cgroup/unified"


TCP = {
    "tcp_slow_start_after_idle": "1",
    "tcp_rmem": "4096 131072 6291456",
    "tcp_wmem": "4096 16384 4194304",
    "tcp_congestion_control": "bbr",
    "tcp_allowed_congestion_control": "reno cubic",
}


def test_tcp_for_streaming_says_with_which_algorithm():
    assert tcp_capability(TCP, "") == Capability("tcp.streaming", available=True, detail="tried, with cubic")
    found = tcp_capability({**TCP, "tcp_congestion_control": "htcp"}, "")
    assert found.detail == "tried, with htcp"


@pytest.mark.parametrize(
    ("found", "refused", "says"),
    [
        ({}, "", "this kernel has no net.ipv4.tcp_slow_start_after_idle, "),
        ({**TCP, "tcp_allowed_congestion_control": "bbr"}, "", "none of cubic, reno is allowed here; add one to "),
        (TCP, "the kernel refused net.ipv4.tcp_rmem = 4096 131072 1073741824: Read-only", "Read-only"),
    ],
)
def test_tcp_that_cannot_be_set_says_why_and_how_to_mend_it(found, refused, says):
    capability = tcp_capability(found, refused)
    assert not capability.available
    assert says in capability.detail


def test_the_json_form_has_three_keys():
    assert Capability("gpu", available=False, detail="none").to_plain() == {
        "name": "gpu",
        "available": False,
        "detail": "none",
    }
