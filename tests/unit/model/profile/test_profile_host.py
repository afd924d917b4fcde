"""Confining a profile to cores, and what is told of the machine."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.profile import host

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED = sorted(os.sched_getaffinity(0))


def test_every_thread_is_confined_and_afterwards_free() -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        with host.pinned([ALLOWED[-1]]) as cores:
            assert cores == (ALLOWED[-1],)
            assert os.sched_getaffinity(other.native_id or 0) == os.sched_getaffinity(0) == {ALLOWED[-1]}
        assert os.sched_getaffinity(other.native_id or 0) == os.sched_getaffinity(0) == set(ALLOWED)
    finally:
        done.set()
        other.join()


@pytest.mark.parametrize("cores", [[], [max(ALLOWED) + 1], [ALLOWED[0], ALLOWED[0]]])
def test_cores_that_cannot_be_had_are_refused_by_name(cores: list[int]) -> None:
    with pytest.raises(AgentConfigError, match="this process may use"), host.pinned(cores):
        pass
    assert os.sched_getaffinity(0) == set(ALLOWED)


def test_a_pool_of_another_width_is_refused() -> None:
    with pytest.raises(AgentError, match=f"for {len(ALLOWED) + 50} cores; profile in a new process"):
        host.pool_threads(range(len(ALLOWED) + 50))


def test_the_clock_is_told_for_each_core_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = host.clock_mhz(ALLOWED)
    assert found is None or (len(found) == len(ALLOWED) and min(found) > 0)
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(host, "_CPUINFO", cpuinfo)
    monkeypatch.setattr(host, "_CPU", tmp_path)
    cpuinfo.write_text(
        "".join(
            f"processor\t: {core}\nmodel name\t: Any X{core}\ncpu MHz\t\t: 210{core}.500\nflags: a\n\n"
            for core in (0, 1)
        )
    )
    assert host.clock_mhz([1, 0]) == (2101.5, 2100.5)
    assert host.clock_mhz([0, 2]) is None
    assert host.processor() == "Any X0"
    (tmp_path / "cpu1" / "cpufreq").mkdir(parents=True)
    (tmp_path / "cpu1" / "cpufreq" / "scaling_cur_freq").write_text("1800000\n")
    assert host.clock_mhz([1]) == (1800.0,)
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n\n")
    assert (host.clock_mhz([0]), host.processor()) == (None, None)
