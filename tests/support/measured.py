"""The marks of tests that a busy machine can fail, and on what they are run again."""

from __future__ import annotations

import time

import pytest

# What is truly wrong is wrong every time; what another process does is seldom still done two minutes later. The report
# counts each as a rerun.
_AGAIN = {"reruns": 3, "reruns_delay": 15, "reruns_delay_backoff_factor": 2}
QUIETER = "make the machine quieter"

# Their figure is disturbed by a busy machine: only a missed figure is measured again.
measured = pytest.mark.flaky(**_AGAIN, only_rerun=["AssertionError"])
# Every other test of the lab: only what `slicebed` itself refused to measure on, and said so, is asked for again.
refused_on_a_busy_machine = pytest.mark.flaky(**_AGAIN, only_rerun=[QUIETER])

_SLEEP_S = 0.001
_SLEEPS = 2000
_LATE_S = 0.002
_LATE_SHARE = 0.005
_SPIN_S = 3.0
_GAP_S = 0.0005
_LOST_SHARE = 0.01


def stands_still():
    """Why nothing that takes milliseconds can be measured here and now; None where it can."""
    late = 0
    for _ in range(_SLEEPS):
        begin = time.perf_counter()
        time.sleep(_SLEEP_S)
        late += time.perf_counter() - begin - _SLEEP_S > _LATE_S
    lost_s, last = 0.0, time.perf_counter()
    end = last + _SPIN_S
    while last < end:
        now = time.perf_counter()
        if now - last > _GAP_S:
            lost_s += now - last
        last = now
    if late <= _LATE_SHARE * _SLEEPS and lost_s <= _LOST_SHARE * _SPIN_S:
        return None
    return (
        f"this machine stands still too often to measure on: {late} of {_SLEEPS} sleeps of 1 ms were 2 ms late,"
        f" a process that never waits stood for {100 * lost_s / _SPIN_S:.1f} % of {_SPIN_S:g} s"
    )


def is_last_attempt(item):
    """Whether a failure of this run of the test is not followed by another run."""
    again = item.get_closest_marker("flaky")
    return again is not None and getattr(item, "execution_count", 1) > again.kwargs["reruns"]


def is_of_a_figure(item, error):
    """Whether a busy machine alone may have caused it."""
    again = item.get_closest_marker("flaky")
    return isinstance(error, AssertionError) and (again.kwargs == measured.kwargs or QUIETER in str(error))
