"""The order of writes to one policy: whatever is there and whatever is wanted, the kernel never has to refuse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.host.cpu.steps import SetPolicy, next_write
from slicebed_agent.host.cpu.sysfs import Policy

KHZ = st.integers(400_000, 5_000_000)
RANGE = st.tuples(KHZ, KHZ).map(sorted)


@given(RANGE, RANGE, st.sampled_from(["userspace", "performance"]), st.sampled_from([None, "userspace"]))
def test_the_minimum_never_passes_the_maximum_and_the_end_is_reached(now, wanted, governor, wanted_governor):
    files = {
        "scaling_governor": governor,
        "scaling_min_freq": str(now[0]),
        "scaling_max_freq": str(now[1]),
        "scaling_setspeed": str(now[1]) if governor == "userspace" else "<unsupported>",
    }
    target = SetPolicy("cpufreq/policy0", wanted_governor, wanted[0], wanted[1], wanted[1])
    for _ in range(5):
        write = next_write(Policy(target.where, files), target)
        if write is None:
            break
        files |= [write]
        if write == ("scaling_governor", "userspace"):
            files["scaling_setspeed"] = str(now[0])
        assert int(files["scaling_min_freq"]) <= int(files["scaling_max_freq"])
    assert next_write(Policy(target.where, files), target) is None
    assert [files["scaling_min_freq"], files["scaling_max_freq"]] == [str(wanted[0]), str(wanted[1])]
    assert files["scaling_governor"] == (wanted_governor or governor)


def test_the_governor_decides_what_counts_so_it_goes_first():
    files = {"scaling_governor": "performance", "scaling_min_freq": "1000000", "scaling_max_freq": "2000000"}
    target = SetPolicy("cpufreq/policy0", "powersave", 2_000_000, 2_000_000)
    assert next_write(Policy(target.where, files), target) == ("scaling_governor", "powersave")
