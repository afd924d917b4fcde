"""The marks of tests that a busy machine can fail, and on what they are run again."""

from __future__ import annotations

import pytest

# What is truly wrong is wrong every time; what another process does is seldom still done two minutes later. The report
# counts each as a rerun.
_AGAIN = {"reruns": 3, "reruns_delay": 15, "reruns_delay_backoff_factor": 2}
QUIETER = "make the machine quieter"

# Their figure is disturbed by a busy machine: only a missed figure is measured again.
measured = pytest.mark.flaky(**_AGAIN, only_rerun=["AssertionError"])
# Every other test of the lab: only what `slicebed` itself refused to measure on, and said so, is asked for again.
refused_on_a_busy_machine = pytest.mark.flaky(**_AGAIN, only_rerun=[QUIETER])
