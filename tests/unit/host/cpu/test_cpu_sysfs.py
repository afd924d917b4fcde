from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.host.cpu.sysfs import parse_cores, write_cores


@given(st.sets(st.integers(0, 300)))
def test_a_set_of_cores_reads_back_as_written(cores):
    assert set(parse_cores(write_cores(tuple(cores)))) == cores


def test_runs_are_written_as_the_kernel_prints_them():
    assert write_cores((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"
    assert parse_cores("0-2,5\n") == (0, 1, 2, 5)
    assert parse_cores("\n") == ()
