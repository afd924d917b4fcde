"""Frequency, governor and cores through the kernel's own acpi-cpufreq: what is asked is what the kernel then says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.capabilities import capabilities
from slicebed_agent.host.cpu import Cpu, steps
from slicebed_agent.host.delivered import Source, sample_frequency
from slicebed_agent.host.wish import CpuWish

SYSFS = Path("/sys/devices/system/cpu")
TABLE_2_KHZ = (2_000_000, 3_000_000, 3_100_000, 3_500_000)
GOVERNORS = ("conservative", "ondemand", "performance", "powersave", "schedutil", "userspace")
SETTINGS = ("scaling_governor", "scaling_min_freq", "scaling_max_freq", "scaling_setspeed")


def settings():
    files = [SYSFS / "cpu1/online", *sorted(SYSFS.glob("cpufreq/policy*/*")), *SYSFS.glob("cpufreq/boost")]
    return {file: text(file) for file in files if file.parent.name == "cpu1" or file.name in (*SETTINGS, "boost")}


def text(file):
    try:
        return file.read_bytes()
    except OSError as error:
        return error.strerror


def policy(name, number=0):
    return (SYSFS / f"cpufreq/policy{number}/{name}").read_text().strip()


@pytest.fixture
def cpu():
    """The processors; whatever the test did, `restore` must give every file its bytes back."""
    part = Cpu()
    before = settings()
    saved = part.save(CpuWish(frequency_khz=TABLE_2_KHZ[0], online_cores=1, governor="userspace"))
    yield part
    part.apply(part.plan_restore(saved))
    assert settings() == before
    assert not part.plan_restore(saved).changes


def apply(part, wish):
    part.apply(part.plan(wish))
    again = part.plan(wish)
    assert (again.changes, again.steps) == ((), ())


def test_the_kernel_offers_the_frequencies_of_table_2():
    assert sorted(map(int, policy("scaling_available_frequencies").split())) == list(TABLE_2_KHZ)
    assert policy("scaling_driver") == "acpi-cpufreq"
    assert set(GOVERNORS) <= set(policy("scaling_available_governors").split())


@pytest.mark.parametrize("governor", GOVERNORS)
def test_every_frequency_under_every_governor(cpu, governor):
    # Up, and down again: the limits must cross in the right order both ways.
    for khz in (2_000_000, 3_100_000, 3_500_000, 3_000_000):
        apply(cpu, CpuWish(governor=governor, frequency_khz=khz))
        for number in (0, 1):
            found = [policy(name, number) for name in ("scaling_governor", "scaling_min_freq", "scaling_max_freq")]
            assert found == [governor, str(khz), str(khz)]
        if governor == "userspace":
            assert policy("scaling_setspeed") == str(khz)


def test_a_range_is_taken(cpu):
    apply(cpu, CpuWish(min_khz=3_000_000, max_khz=3_100_000))
    assert (policy("scaling_min_freq"), policy("scaling_max_freq", 1)) == ("3000000", "3100000")


def test_the_plan_names_policy_property_and_both_values(cpu):
    changes = cpu.plan(CpuWish(max_khz=2_000_000)).changes
    assert [str(change) for change in changes] == [
        "policy0: scaling_max_freq_khz 3500000 -> 2000000",
        "policy1: scaling_max_freq_khz 3500000 -> 2000000",
    ]


def test_a_core_goes_and_comes_back_with_its_frequency(cpu):
    apply(cpu, CpuWish(governor="userspace", frequency_khz=2_000_000))
    apply(cpu, CpuWish(online_cores=1))
    assert (SYSFS / "online").read_text() == "0\n"
    apply(cpu, CpuWish(online_cores=2, governor="performance", frequency_khz=3_100_000))
    assert (SYSFS / "online").read_text() == "0-1\n"
    assert [policy("scaling_max_freq", 1), policy("scaling_governor", 1)] == ["3100000", "performance"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (CpuWish(frequency_khz=2_400_000), "2400000 kHz .* allowed: 2000000, 3000000, 3100000, 3500000 kHz"),
        (CpuWish(max_khz=4_000_000), "4000000 kHz .* allowed: 2000000, 3000000, 3100000, 3500000 kHz"),
        (CpuWish(governor="turbo"), "governor turbo .* allowed: .*powersave"),
        (CpuWish(online_cores=3), "online_cores 3 .* allowed: 1 to 2"),
        (CpuWish(smt=True), "smt on asked.* notsupported"),
        (CpuWish(frequency_khz=2_000_000, min_khz=2_000_000), "fixes minimum and maximum"),
        (CpuWish(min_khz=3_100_000, max_khz=3_000_000), "minimum 3100000 kHz is above the maximum 3000000"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(cpu, wish, said):
    before = settings()
    with pytest.raises(HostError, match=said):
        cpu.plan(wish)
    assert settings() == before


def test_the_first_refusal_of_the_kernel_undoes_the_rest(cpu):
    plan = cpu.plan(CpuWish(governor="userspace", frequency_khz=2_000_000))
    before = settings()
    # Between plan and apply somebody takes the second core away.
    (SYSFS / "cpu1/online").write_text("0")
    with pytest.raises(HostError, match="policy1/scaling_governor"):
        cpu.apply(plan)
    (SYSFS / "cpu1/online").write_text("1")
    assert settings() == before


def test_a_wish_that_shrinks_gives_back_what_it_no_longer_speaks_of(cpu):
    """As `Conditions` does it: the names that the second wish does not save are restored before it is applied."""
    before = settings()
    first, second = CpuWish(governor="userspace", frequency_khz=2_000_000, online_cores=1), CpuWish(governor="ondemand")
    original = cpu.save(first)
    apply(cpu, first)
    stale = {name: value for name, value in original.items() if name not in cpu.save(second)}
    cpu.apply(cpu.plan_restore(stale))
    apply(cpu, second)
    after = settings()
    assert {file.name for file in before if before[file] != after[file]} == {"scaling_governor"}


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_killed_in_the_middle_of_apply_it_is_restored_all_the_same(cpu, writes, monkeypatch):
    before = settings()
    write, done = steps._write, []

    def write_then_die(path, text):
        write(path, text)
        done.append(path)
        if len(done) == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(steps, "_write", write_then_die)
    plan = cpu.plan(CpuWish(governor="userspace", frequency_khz=2_000_000, online_cores=1))
    child = os.fork()
    if child == 0:
        cpu.apply(plan)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert settings() != before
    monkeypatch.undo()


def test_what_the_host_can_do_is_found_by_trial():
    found = {each.name: each for each in capabilities("edge")}
    assert found["cpu.driver"].detail == "acpi-cpufreq"
    assert found["cpu.frequency"].detail == "2000000, 3000000, 3100000, 3500000 kHz"
    assert found["cgroup.memory"].detail == "version 2 at /sys/fs/cgroup"
    wanted = ("cpu.governor", "cpu.hotplug", "cgroup.cpu", "cgroup.cpuset", "link.netem", "link.htb", "link.flower")
    assert [name for name in wanted if not found[name].available] == []
    assert "processor" in found["measure.throttling"].detail
    assert not list(Path("/sys/fs/cgroup").glob("slicebed*"))


def test_an_emulated_clock_is_only_claimed_and_says_why(cpu):
    """QEMU's processor counts no cycles: the driver's word must not pass for a measurement."""
    apply(cpu, CpuWish(governor="userspace", frequency_khz=3_000_000))
    found = sample_frequency(1, 0.1)
    assert (found.mhz, found.source) == (3000.0, Source.CLAIMED)
    assert "cycles: " in found.reason
    assert "aperf_mperf: " in found.reason
