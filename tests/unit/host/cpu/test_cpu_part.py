"""Wishes for processors against folders laid out as the drivers do; `tests/kernel` does it with the kernel's own."""

from __future__ import annotations

import pytest
from cpu_machines import ACPI, AMD, INTEL, make, texts

from slicebed_agent.errors import HostError
from slicebed_agent.host.cpu import Cpu
from slicebed_agent.host.wish import CpuWish


def said(part, wish):
    return [str(change) for change in part.plan(wish).changes]


@pytest.mark.parametrize(
    ("driver", "files", "wish"),
    [
        (ACPI, {}, CpuWish(frequency_khz=3_100_000)),
        (ACPI, {"cpufreq__boost": "1"}, CpuWish(boost=False, max_khz=3_000_000)),
        (INTEL, {"intel_pstate__no_turbo": "0"}, CpuWish(boost=False, governor="performance", min_khz=1_000_000)),
        (AMD, {}, CpuWish(boost=False, frequency_khz=2_345_678, governor="powersave")),
    ],
)
def test_apply_then_nothing_to_do_then_every_byte_as_before(tmp_path, driver, files, wish):
    root = make(tmp_path, driver, **files)
    before = texts(root)
    part = Cpu(root)
    saved = part.save(wish)
    part.apply(part.plan(wish))
    assert texts(root) != before
    assert part.plan(wish).steps == ()
    part.apply(part.plan_restore(saved))
    assert texts(root) == before
    assert part.plan_restore(saved).steps == ()


def test_a_change_names_its_thing_and_unit(tmp_path):
    part = Cpu(make(tmp_path, ACPI, cores=2))
    assert said(part, CpuWish(max_khz=2_000_000, governor="performance", online_cores=1)) == [
        "cpu1: online 1 -> 0",
        "policy0: scaling_governor schedutil -> performance",
        "policy0: scaling_max_freq_khz 3500000 -> 2000000",
    ]


def test_turbo_of_intel_is_switched_the_other_way_round(tmp_path):
    part = Cpu(make(tmp_path, INTEL, intel_pstate__no_turbo="0"))
    assert said(part, CpuWish(boost=False)) == ["machine: no_turbo 0 -> 1"]
    assert said(part, CpuWish(boost=True)) == []


def test_boost_of_each_policy_where_there_is_no_common_switch(tmp_path):
    part = Cpu(make(tmp_path, AMD, cores=2))
    assert said(part, CpuWish(boost=False)) == ["policy0: boost 1 -> 0", "policy1: boost 1 -> 0"]


@pytest.mark.parametrize(
    ("driver", "wish", "message"),
    [
        (ACPI, CpuWish(frequency_khz=2_400_000), "2400000 kHz .*allowed: 2000000, 3000000, 3100000, 3500000 kHz"),
        (INTEL, CpuWish(frequency_khz=4_800_000), "4800000 kHz .*allowed: 400000 to 4700000 kHz"),
        (INTEL, CpuWish(min_khz=300_000), "300000 kHz .*allowed: 400000 to 4700000 kHz"),
        (INTEL, CpuWish(governor="userspace"), "userspace is not offered by intel_pstate; allowed: performance, pow"),
        (ACPI, CpuWish(boost=True), "boost on asked"),
        (None, CpuWish(frequency_khz=2_000_000), "frequency_khz 2000000 asked, but no cpufreq driver.*cpu_quota"),
        (None, CpuWish(governor="performance"), "governor performance asked, but no cpufreq driver"),
        (ACPI, CpuWish(smt=True), "notsupported"),
        (ACPI, CpuWish(online_cores=5), "online_cores 5 .*allowed: 1 to 4"),
        (ACPI, CpuWish(min_khz=3_500_000, max_khz=2_000_000), "3500000 kHz is above the maximum 2000000 kHz"),
        (ACPI, CpuWish(frequency_khz=2_000_000, max_khz=2_000_000), "fixes minimum and maximum"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(tmp_path, driver, wish, message):
    root = make(tmp_path, driver)
    before = texts(root)
    with pytest.raises(HostError, match=message):
        Cpu(root).plan(wish)
    assert texts(root) == before


def test_a_frequency_that_only_boost_reaches_may_be_asked_with_boost(tmp_path):
    root = make(tmp_path, AMD | {"boost": "0", "cpuinfo_max_freq": "3800000", "scaling_max_freq": "3800000"})
    Cpu(root).plan(CpuWish(boost=True, max_khz=5_100_000))
    with pytest.raises(HostError, match="allowed: 550000 to 3800000 kHz"):
        Cpu(root).plan(CpuWish(max_khz=5_100_000))


def test_multithreading_off_is_no_change_where_there_is_none(tmp_path):
    assert said(Cpu(make(tmp_path, ACPI)), CpuWish(smt=False)) == []


def test_without_second_threads_the_first_cores_are_those_that_are_left(tmp_path):
    part = Cpu(make(tmp_path, None, smt="on"))
    assert said(part, CpuWish(smt=False, online_cores=1)) == ["machine: smt on -> off", "cpu2: online 1 -> 0"]
    with pytest.raises(HostError, match="allowed: 1 to 2"):
        part.plan(CpuWish(smt=False, online_cores=3))


def test_what_is_no_longer_spoken_of_can_be_put_back_alone(tmp_path):
    """A later wish for the governor alone leaves the frequency's names to be restored."""
    part = Cpu(make(tmp_path, ACPI, cores=1))
    first = part.save(CpuWish(governor="userspace", frequency_khz=2_000_000))
    assert set(first) - set(part.save(CpuWish(governor="performance"))) == {
        "cpufreq/policy0/scaling_min_freq",
        "cpufreq/policy0/scaling_max_freq",
    }


def test_present_values_of_other_names_come_along(tmp_path):
    part = Cpu(make(tmp_path, ACPI, cores=1))
    assert part.save(CpuWish(), also=["smt/control", "not/there"]) == {"smt/control": "notsupported\n"}


def test_limits_of_a_core_that_stays_offline_wait_for_it(tmp_path):
    root = make(tmp_path, ACPI, cores=2)
    part = Cpu(root)
    saved = part.save(CpuWish(max_khz=2_000_000))
    (root / "cpu1/online").write_text("0\n")
    (root / "online").write_text("0\n")
    # The kernel refuses to read these then.
    for name in (*ACPI, "affected_cpus"):
        (root / "cpufreq/policy1" / name).unlink()
    assert part.plan_restore(saved).steps == ()


def test_the_first_refusal_undoes_what_was_done(tmp_path):
    root = make(tmp_path, ACPI, cores=2)
    before = texts(root)
    part = Cpu(root)
    plan = part.plan(CpuWish(frequency_khz=3_000_000))
    for name in (*ACPI, "affected_cpus"):
        (root / "cpufreq/policy1" / name).unlink()
    (root / "cpufreq/policy1").rmdir()
    with pytest.raises(HostError, match=r"policy1/scaling_\w+: the kernel refused 3000000"):
        part.apply(plan)
    assert texts(root) == {name: text for name, text in before.items() if "policy1" not in name}
