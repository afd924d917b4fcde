"""A running `slicebed stream`, as its user sees it: started, asked how it stands, ended, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
from slicebed_command import REPOSITORY, SLICEBED

from slicebed.errors import MissingRequirementError, RunError
from slicebed.run.stream.desk import Ask, Request, ask, socket_path
from slicebed.testbed.checkout import Checkout

NEEDS_A_LAB = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="no podman: run make setup"),
    pytest.mark.timeout(1200),
]
LAB_FILE = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
RATE_PER_S = 24
PERIOD_MS = 1000 / RATE_PER_S
CNN14 = ("--model", "cnn14", "--cut", "1-8", "--rate", f"{RATE_PER_S} frame/s")


def popen(*arguments):
    """A command of this environment's `slicebed`, running; Ctrl-C reaches it alone."""
    return subprocess.Popen(
        [str(SLICEBED), *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
    )


def status():
    """How the running stream stands, as `slicebed stream --status` learns it; None when none runs.

    Without the command, which takes longer to start than most of what is waited for.
    """
    try:
        return ask(socket_path(Checkout(REPOSITORY).inventory), Request(Ask.STATUS), lambda _: None)
    except (MissingRequirementError, RunError):
        return None


def wait_for(running, condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.2)


def grown(by):
    """Whether so many frames more have completed since."""
    begin = (status() or {}).get("completed", 0)
    return lambda: (status() or {}).get("completed", 0) >= begin + by


def events(name):
    """What has happened under that name among the last events of the running stream."""
    return [event for event in (status() or {}).get("timeline", []) if event["event"] == name]


def end(running, tmp_path, part="part1"):
    """Ctrl-C, as a user ends it; give the manifest, the samples and what was said."""
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert "Samples: " in out
    (folder,) = (tmp_path / "results").iterdir()
    return *read_part(folder / part), said


def read_part(folder):
    """The manifest and the samples of one part of a stream, or of one run."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest, pd.read_parquet(folder / "samples.parquet")


def require_every_frame(manifest, samples):
    frames = manifest["frames"]
    assert frames["captured"] == frames["completed"] + frames["dropped"] + frames["failed"] == len(samples)
    assert samples["end"].notna().all()
    assert samples["frame_id"].is_monotonic_increasing


def ends_of(samples, kind):
    """How many frames ended so, by the host and stage that are named."""
    lost = samples[samples["end"] == kind]
    assert lost[["end_host", "end_stage", "end_reason"]].notna().all(axis=None)
    return {
        (str(host), str(stage)): count
        for (host, stage), count in lost.groupby(["end_host", "end_stage"]).size().items()
    }
