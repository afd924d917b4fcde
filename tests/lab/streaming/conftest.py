"""Streams that a test starts on the deployed lab."""

from __future__ import annotations

import pytest
from streams import RATE_PER_S, popen, status, wait_for


@pytest.fixture
def start(testbed):
    """Start a command that goes on; it is ended when the test is."""
    begun = []

    def begin(*arguments):
        begun.append(popen(*arguments))
        return begun[-1]

    yield begin
    for running in begun:
        running.kill()
        running.communicate()


@pytest.fixture
def stream(start, tmp_path):
    """Start a stream and wait until frames come through."""

    def begin(*arguments):
        running = start("stream", "--no-deploy", "--results", tmp_path / "results", *arguments)
        wait_for(running, lambda: (status() or {}).get("completed", 0) >= RATE_PER_S, "frames", 120)
        return running

    return begin
