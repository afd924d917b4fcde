"""Processor frequency against a folder laid out as the kernel's (this machine's own kernel has no cpufreq)."""

from __future__ import annotations

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host import cpufreq


@pytest.fixture
def sysfs(tmp_path):
    for number in range(2):
        policy = tmp_path / f"policy{number}"
        policy.mkdir()
        for name, value in {
            "scaling_driver": "acpi-cpufreq",
            "cpuinfo_min_freq": 1_000_000,
            "cpuinfo_max_freq": 3_500_000,
            "scaling_min_freq": 1_000_000,
            "scaling_max_freq": 3_500_000,
        }.items():
            (policy / name).write_text(f"{value}\n")
    return tmp_path


def limits(sysfs):
    return {
        (path.parent.name, path.name): int(path.read_text()) for path in sorted(sysfs.glob("policy*/scaling_m*_freq"))
    }


@pytest.mark.parametrize("asked", [1_000_000, 2_000_000, 3_500_000])
def test_set_then_nothing_to_do_then_restored(sysfs, tmp_path, asked):
    before = limits(sysfs)
    policies = cpufreq.read_policies(sysfs)
    saved = tmp_path / "saved" / "cpufreq.json"
    cpufreq.save(saved, policies)
    cpufreq.apply(cpufreq.plan(asked, policies))
    assert set(limits(sysfs).values()) == {asked}
    assert cpufreq.plan(asked, cpufreq.read_policies(sysfs)) == ()
    cpufreq.save(saved, cpufreq.read_policies(sysfs))  # a second save must not replace the original
    import json

    cpufreq.apply(cpufreq.plan_restore(json.loads(saved.read_text()), cpufreq.read_policies(sysfs)))
    assert limits(sysfs) == before


def test_the_minimum_never_passes_the_maximum_on_the_way(sysfs):
    for asked in (1_000_000, 3_500_000, 2_000_000):
        for path, khz in cpufreq.plan(asked, cpufreq.read_policies(sysfs)):
            path.write_text(str(khz))
            policy = path.parent
            assert int((policy / "scaling_min_freq").read_text()) <= int((policy / "scaling_max_freq").read_text())


def test_a_frequency_out_of_range_is_refused_with_the_range(sysfs):
    with pytest.raises(HostError, match=r"3600000 kHz is outside 1000000\.\.3500000 kHz"):
        cpufreq.plan(3_600_000, cpufreq.read_policies(sysfs))


def test_a_host_without_a_driver_says_so(tmp_path):
    with pytest.raises(HostError, match="no cpufreq driver"):
        cpufreq.plan(2_000_000, cpufreq.read_policies(tmp_path))


def test_a_driver_that_takes_another_value_is_an_error(sysfs, monkeypatch):
    steps = cpufreq.plan(2_000_000, cpufreq.read_policies(sysfs))
    taken = type(steps[0][0]).write_text
    monkeypatch.setattr(type(steps[0][0]), "write_text", lambda path, _: taken(path, "1900000"))
    with pytest.raises(HostError, match="asked 2000000 kHz, the driver took 1900000 kHz"):
        cpufreq.apply(steps)
