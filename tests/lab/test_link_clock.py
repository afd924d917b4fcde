"""The clock of a host that was started at another time: its offset is found, within the bound that is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from link_ends import both_ends, wait_for

pytestmark = pytest.mark.lab

_RECEIVE = """
import sys, threading
from link_ends import both_ends
with both_ends(sys.argv[1]) as ends:
    ends.receiver()
    print(ends.plane()[1], flush=True)
    threading.Event().wait()
"""
AHEAD_S = 1000


def test_the_offset_of_another_time_namespace_is_found(tmp_path):
    paths = os.pathsep.join(path for path in sys.path if path)
    elsewhere = ["unshare", "--time", "--monotonic", str(AHEAD_S), "--fork", "--kill-child"]
    process = subprocess.Popen(
        [*elsewhere, sys.executable, "-c", _RECEIVE, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    try:
        with both_ends(tmp_path) as ends:
            sender = ends.sender(int(process.stdout.readline()))
            wait_for(lambda: any(note["kind"] == "clock" for note in sender.notes))
            state = sender.link.state()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert abs(state.clock_offset_ns - AHEAD_S * 1_000_000_000) <= state.clock_bound_ns < 50_000_000
