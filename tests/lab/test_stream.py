"""`slicebed stream` on the lab: the cut changes while frames pass, and killed agents come back by themselves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
from slicebed_command import REPOSITORY, SLICEBED, on, slicebed

from slicebed import lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="no podman: run make setup"),
    pytest.mark.timeout(1200),
]

RATE_PER_S = 24
PERIOD_MS = 1000 / RATE_PER_S
# What a link carries is known from long frames only.
SIXTEEN = """
name: sixteen
testbed: {testbed}
model: cnn14
chain: [client, edge, cloud]
frames: 1
source: {{rate: 4 frame/s, batch_size: 16, seed: 7, queue: 2}}
codec: raw
repeats: 1
order: {{randomised: false, seed: 1}}
cuts: ["1-8"]
"""


@pytest.fixture(scope="module")
def testbed():
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")
    slicebed("image", "build", timeout=1200)
    slicebed("lab", "up")
    try:
        slicebed("deploy")
        yield
    finally:
        slicebed("lab", "down")


@pytest.fixture
def stream(testbed, tmp_path):
    """Start a stream and wait until frames come through; it is ended when the test is."""
    begun = []

    def begin(*arguments):
        command = [SLICEBED, "stream", "--no-deploy", "--results", tmp_path / "results", *arguments]
        running = subprocess.Popen(
            list(map(str, command)),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A test run in the background ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
        )
        begun.append(running)
        wait_for(running, lambda: (status() or {}).get("completed", 0) >= RATE_PER_S, "frames", 120)
        return running

    yield begin
    for running in begun:
        running.kill()
        running.communicate()


def status():
    done = slicebed("stream", "--status", "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


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


def end(running, tmp_path, part="part1"):
    """Ctrl-C, as a user ends it; give the manifest, the samples and what was said."""
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert "Samples: " in out
    (folder,) = (tmp_path / "results").iterdir()
    manifest = json.loads((folder / part / "manifest.json").read_text())
    return manifest, pd.read_parquet(folder / part / "samples.parquet"), said


def require_every_frame(manifest, samples):
    frames = manifest["frames"]
    assert frames["captured"] == frames["completed"] + frames["dropped"] + frames["failed"] == len(samples)
    assert samples["end"].notna().all()
    assert samples["frame_id"].is_monotonic_increasing


def test_a_change_of_cut_drops_and_reorders_nothing(stream, tmp_path):
    running = stream("--model", "cnn14", "--cut", "1-8", "--rate", f"{RATE_PER_S} frame/s")
    wait_for(running, grown(2 * RATE_PER_S), "frames")
    for cut in ("3-10", "1-9"):
        said = json.loads(slicebed("stream", "--set-cut", cut, "--json").stdout)
        assert said["cut"] == cut
        names = [event["event"] for event in said["timeline"]]
        assert names[0] == "cut asked"
        assert names[-3:] == ["cut switched", "old cut drained", "old cut released"]
        wait_for(running, grown(2 * RATE_PER_S), "frames")
    manifest, samples, _ = end(running, tmp_path)
    require_every_frame(manifest, samples)
    assert manifest["status"] == "complete"
    assert manifest["cuts"] == {"0": "1-8", "1": "3-10", "2": "1-9"}
    switches = [event["first_frame"] for event in manifest["timeline"] if event["event"] == "cut switched"]
    assert [int(samples["version"].ne(version).idxmin()) for version in (1, 2)] == switches
    assert samples["version"].is_monotonic_increasing
    done = samples[samples["end"] == "completed"]
    assert (done["labels_equal"] == done["images"]).all()
    # Frames end in the order of their capture, and none near a change is lost.
    ended_s = done["captured_s"] + done["latency_ms"] / 1000
    assert ended_s.is_monotonic_increasing
    for frame in switches:
        near = samples[samples["frame_id"].between(frame - RATE_PER_S // 2, frame + RATE_PER_S // 2)]
        assert (near["end"] == "completed").all(), near[["frame_id", "end", "end_host", "end_stage", "end_reason"]]
        assert near["captured_s"].diff().max() * 1000 < 2 * PERIOD_MS


def test_a_cut_that_cannot_be_made_leaves_the_old_one(stream, tmp_path):
    running = stream("--model", "cnn14", "--cut", "1-8", "--rate", f"{RATE_PER_S} frame/s")
    for cut, says in (("conv2d,nonsense", "no split point is named 'nonsense'; the nearest are"), ("3", "name 2")):
        refused = slicebed("stream", "--set-cut", cut, check=False)
        assert refused.returncode == 2
        assert "--set-cut: " in refused.stderr
        assert says in refused.stderr
    wait_for(running, grown(RATE_PER_S), "frames")
    assert status()["cut"] == "1-8"
    assert slicebed("stream", "--model", "cnn14", "--cut", "1-8", "--no-deploy", check=False).returncode == 4
    slicebed("stream", "--stop")
    _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert slicebed("stream", "--status", check=False).returncode == 3


@pytest.mark.parametrize("host", ["edge", "cloud"])
def test_a_killed_agent_comes_back_and_frames_go_on(stream, tmp_path, host):
    running = stream("--model", "cnn14", "--cut", "1-8", "--rate", f"{RATE_PER_S} frame/s")
    slicebed("stream", "--set-cut", "3-9")
    on(host, "podman", "kill", "--signal", "KILL", "slicebed-agent")
    wait_for(running, lambda: "agent joined again" in str((status() or {}).get("timeline")), "the agent", 120)
    wait_for(running, grown(2 * RATE_PER_S), "frames", 60)
    manifest, samples, said = end(running, tmp_path)
    assert f"agent lost: host {host}" in said
    assert manifest["rejoined"] == [host]
    assert manifest["status"] == "rejoined"
    require_every_frame(manifest, samples)
    # The agent that came back runs the cut that was in use.
    last = samples.tail(2 * RATE_PER_S)
    assert (last["version"] == 1).all()
    assert (last["end"] == "completed").mean() > 0.5, last[["frame_id", "end", "end_host", "end_stage", "end_reason"]]


def test_a_killed_camera_begins_a_new_part(stream, tmp_path):
    running = stream("--model", "cnn14", "--cut", "1-8", "--rate", f"{RATE_PER_S} frame/s")
    on("client", "podman", "kill", "--signal", "KILL", "slicebed-agent")
    wait_for(running, lambda: "agent joined again" in str((status() or {}).get("timeline")), "the agent", 120)
    wait_for(running, grown(RATE_PER_S), "frames", 60)
    manifest, samples, _ = end(running, tmp_path, "part2")
    assert manifest["status"] == "complete"
    require_every_frame(manifest, samples)
    (folder,) = (tmp_path / "results").iterdir()
    (failed,) = folder.glob("part1.failed-*")
    assert json.loads((failed / "manifest.json").read_text())["status"] == "failed"
    assert (failed / "hosts" / "client" / "samples.jsonl").read_text()


def test_a_link_that_becomes_slow_moves_the_cut(stream, tmp_path):
    """16 images: 1,384,448 B leave the client after layer 1, 589,824 B after layer 3: 0.55 and 0.24 s at 20 Mbit/s."""
    spec = tmp_path / "slow.yml"
    spec.write_text(SIXTEEN.format(testbed=REPOSITORY / "inventory" / "testbeds" / "lab.yml"))
    running = stream("--experiment", spec, "--adapt", "--candidates", "3-8")
    limit = ("tbf", "rate", "20mbit", "burst", "64kb", "latency", "1s")
    on("client", "tc", "qdisc", "replace", "dev", "to-edge", "root", *limit)
    try:
        wait_for(running, lambda: (status() or {}).get("cut") == "3-8", "the other cut", 90)
        wait_for(running, grown(20), "frames")
    finally:
        on("client", "tc", "qdisc", "del", "dev", "to-edge", "root")
    manifest, samples, said = end(running, tmp_path)
    require_every_frame(manifest, samples)
    assert "adapt: switch: cut 3-8, reason 3-8 is predicted" in said
    (switch,) = [event for event in manifest["timeline"] if event["event"] == "adapt: switch"]
    assert switch["predicted_ms"]["3-8"] <= 0.8 * switch["predicted_ms"]["1-8"]


def test_frames_may_be_counted_beforehand(testbed, tmp_path):
    done = slicebed(
        "stream", "--no-deploy", "--results", tmp_path, "--model", "cnn14", "--cut", "1-8", "--frames", "30", "--json"
    )
    folder = json.loads(done.stdout)["folder"]
    assert len(pd.read_parquet(f"{folder}/part1/samples.parquet")) == 30
