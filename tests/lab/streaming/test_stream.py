"""`slicebed stream` on the lab: the cut changes while frames pass, and killed agents come back by themselves."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from slicebed_command import on, slicebed
from streams import (
    CNN14,
    LAB_FILE,
    NEEDS_A_LAB,
    PERIOD_MS,
    RATE_PER_S,
    end,
    events,
    grown,
    require_every_frame,
    status,
    wait_for,
)

pytestmark = NEEDS_A_LAB

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


def test_a_change_of_cut_drops_and_reorders_nothing(stream, tmp_path):
    running = stream(*CNN14)
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
    running = stream(*CNN14)
    for cut, says in (("conv2d,nonsense", "no split point is named 'nonsense'; the nearest are"), ("3", "name 2")):
        refused = slicebed("stream", "--set-cut", cut, check=False)
        assert refused.returncode == 2
        assert "--set-cut: " in refused.stderr
        assert says in refused.stderr
    wait_for(running, grown(RATE_PER_S), "frames")
    assert json.loads(slicebed("stream", "--status", "--json").stdout)["cut"] == "1-8"
    assert slicebed("stream", "--model", "cnn14", "--cut", "1-8", "--no-deploy", check=False).returncode == 4
    slicebed("stream", "--stop")
    _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert slicebed("stream", "--status", check=False).returncode == 3


@pytest.mark.parametrize("host", ["edge", "cloud"])
def test_a_killed_agent_comes_back_and_frames_go_on(stream, tmp_path, host):
    running = stream(*CNN14)
    slicebed("stream", "--set-cut", "3-9")
    on(host, "podman", "kill", "--signal", "KILL", "slicebed-agent")
    wait_for(running, lambda: events("agent joined again"), "the agent", 120)
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
    running = stream(*CNN14)
    on("client", "podman", "kill", "--signal", "KILL", "slicebed-agent")
    wait_for(running, lambda: events("agent joined again"), "the agent", 120)
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
    spec.write_text(SIXTEEN.format(testbed=LAB_FILE))
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
