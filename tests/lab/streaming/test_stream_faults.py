"""What goes wrong while frames pass: each frame keeps its one end, with host and stage, and what can go on does."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from faults import AGENT, clock_stepped, cut_link, full_disk
from slicebed_command import on, slicebed
from streams import (
    CNN14,
    LAB_FILE,
    NEEDS_A_LAB,
    PERIOD_MS,
    RATE_PER_S,
    end,
    ends_of,
    events,
    grown,
    read_part,
    require_every_frame,
    status,
    wait_for,
)

pytestmark = NEEDS_A_LAB

HOSTS = ("client", "edge", "cloud")
QUEUES = {"source", "inbound", "outbound"}
CUT_S = 3
# 16 images in a frame: 1.4 MB from the client, 0.6 MB from edge. A queue without a limit would grow by 11 and 5 MB/s.
SLOW_CLOUD = """
name: slow_cloud
testbed: {testbed}
model: cnn14
chain: [client, edge, cloud]
frames: 1
source: {{rate: 8 frame/s, batch_size: 16, seed: 7, queue: 2}}
stages: {{slice: {{queue: 2, drop: {drop}}}, outbound: {{queue: 2, drop: {drop}}}}}
codec: raw
repeats: 1
order: {{randomised: false, seed: 1}}
cuts: ["1-3"]
configurations:
  - name: slow
    hosts:
      client: {{overhead_ratio: 0, latency: 0 ms, max_throughput: 4 MiB}}
      edge: {{overhead_ratio: 0, latency: 0 ms, max_throughput: 4 MiB}}
      cloud: {{overhead_ratio: 60, latency: 0 ms, max_throughput: 4 MiB}}
"""
FRAMES = 80
SMALL = """
name: {name}
testbed: {testbed}
model: cnn14
chain: [client, edge, cloud]
frames: {frames}
source: {{rate: {rate} frame/s, batch_size: 1, seed: 7, queue: 4{pictures}}}
codec: raw
repeats: 1
order: {{randomised: false, seed: 1}}
"""


def written(path, template, more="", **values):
    path.write_text(template.format(testbed=LAB_FILE, **values) + more)
    return path


def started_at():
    """When each agent's container was started."""
    return [on(host, "podman", "container", "inspect", "--format", "{{.State.StartedAt}}", AGENT) for host in HOSTS]


def shown(samples):
    return samples[["frame_id", "captured_s", "latency_ms", "end", "end_host", "end_stage", "end_reason"]].to_string()


@pytest.mark.parametrize("link", [("client", "edge"), ("edge", "cloud")], ids="-".join)
def test_a_link_that_is_cut_for_three_seconds_costs_frames_and_nothing_else(stream, tmp_path, link):
    agents = started_at()
    running = stream(*CNN14)
    cut_link(*link, CUT_S)
    wait_for(running, grown(4 * RATE_PER_S), "frames", 30)
    manifest, samples, said = end(running, tmp_path)
    require_every_frame(manifest, samples)
    assert manifest["status"] == "complete", said
    assert manifest["rejoined"] == []
    assert started_at() == agents
    # It is lost to a queue that is named, or with the link that broke.
    assert {stage for _, stage in ends_of(samples, "dropped")} <= QUEUES
    assert set(ends_of(samples, "failed")) <= {(link[1], "link")}
    # The camera did not wait, and frames that came after the link was mended came through.
    assert samples["captured_s"].diff().max() * 1000 < 4 * PERIOD_MS, shown(samples)
    done = samples[samples["end"] == "completed"]
    assert (done["labels_equal"] == done["images"]).all()
    assert (done["captured_s"] + done["latency_ms"] / 1000).diff().max() > CUT_S - 0.5
    # A busy machine drops some of them.
    assert (samples.tail(RATE_PER_S)["end"] == "completed").mean() > 0.5, shown(samples.tail(RATE_PER_S))


def test_a_full_disk_ends_a_run_by_host_and_stage_and_keeps_its_samples(start, tmp_path):
    results = tmp_path / "results"
    spec = written(
        tmp_path / "full.yml", SMALL, 'cuts: ["3-8"]\n', name=tmp_path.name, frames=2000, rate=20, pictures=""
    )
    running = start("run", spec, "--results", results, "--no-deploy")
    wait_for(running, lambda: "end" in kinds_in_the_spool_of(tmp_path.name, "edge", "client"), "frames")
    with full_disk("edge"):
        _, said = running.communicate(timeout=120)
    assert running.returncode == 7, said
    assert "host edge, stage agent: samples cannot be written: No space left on device" in said
    (kept,) = results.glob("*/*.failed-1")
    manifest, samples = read_part(kept)
    assert manifest["status"] == "failed"
    assert "host edge, stage agent" in manifest["error"]
    assert samples["end"].notna().all()
    assert (samples["end"] == "completed").sum() > 0
    ends_of(samples, "dropped")
    ends_of(samples, "failed")
    for host in HOSTS:
        lines = (kept / "hosts" / host / "samples.jsonl").read_text().splitlines()
        assert sum(json.loads(line)["kind"] == "frame" for line in lines) > 0
    # The account of the camera's host is whole: its last line has the sums.
    footer = json.loads((kept / "hosts" / "client" / "samples.jsonl").read_text().splitlines()[-1])
    assert footer["captured"] == footer["completed"] + footer["dropped"] + footer["failed"] == len(samples)


def kinds_in_the_spool_of(experiment, *hosts):
    # Experiments of the tests before have left theirs, under other names.
    read = f"cat /var/lib/slicebed/agent/spool/{experiment}-*/*.jsonl 2>/dev/null || true"
    lines = [line for host in hosts for line in on(host, "sh", "-c", read).splitlines() if line.endswith("}")]
    return {json.loads(line)["kind"] for line in lines}


def test_a_full_disk_is_named_and_the_stream_goes_on_once_there_is_room(stream, tmp_path):
    running = stream(*CNN14)
    with full_disk("edge"):
        wait_for(running, lambda: events("agent not started"), "an attempt in vain")
    wait_for(running, lambda: events("agent joined again"), "the agent")
    wait_for(running, grown(RATE_PER_S), "frames")
    last = max(Path(status()["folder"]).glob("part*.partial")).name.removesuffix(".partial")
    manifest, samples, said = end(running, tmp_path, last)
    (lost, *_) = (line for line in said.splitlines() if "agent lost" in line)
    assert "host edge, stage agent, reason samples cannot be written: No space left on device" in lost
    assert manifest["status"] == "complete"
    require_every_frame(manifest, samples)
    (folder,) = (tmp_path / "results").iterdir()
    (failed,) = folder.glob("part1.failed-*")
    _, samples = read_part(failed)
    assert samples["end"].notna().all()
    assert (samples["end"] == "completed").sum() >= RATE_PER_S


@pytest.mark.parametrize(
    ("drop", "loses"),
    [("newest", ("cloud", "inbound")), ("never", ("client", "source"))],
    ids=["drop", "back-pressure"],
)
def test_a_slow_consumer_loses_frames_at_the_queue_that_is_meant_to(testbed, tmp_path, drop, loses):
    spec = written(tmp_path / "slow.yml", SLOW_CLOUD, drop=drop)
    asked = ("stream", "--no-deploy", "--results", tmp_path, "--experiment", spec, "--frames", FRAMES, "--json")
    folder = json.loads(slicebed(*asked).stdout)["folder"]
    manifest, samples = read_part(tmp_path / folder / "part1")
    assert manifest["status"] == "complete"
    require_every_frame(manifest, samples)
    assert manifest["frames"]["captured"] == FRAMES
    assert manifest["frames"]["failed"] == 0
    lost = ends_of(samples, "dropped")
    assert lost.get(loses, 0) > FRAMES / 4
    assert lost[loses] == sum(lost.values()), lost
    assert samples["captured_s"].diff().max() < 0.5
    # By the second half everything that holds frames has held as many as it can.
    usage = pd.read_parquet(tmp_path / folder / "part1" / "usage.parquet")
    for host in HOSTS:
        memory = usage.loc[usage["host"] == host, "memory_bytes"].dropna()
        half = len(memory) // 2
        assert half >= 8
        assert memory.iloc[half:].max() - memory.iloc[half] < 16 << 20, f"{host}: {list(memory)}"


def test_a_clock_that_is_stepped_disturbs_no_time_that_is_measured(stream, tmp_path):
    running = stream(*CNN14)
    wait_for(running, grown(RATE_PER_S), "frames")
    forth = status()["captured"]
    with clock_stepped(1):
        wait_for(running, grown(2 * RATE_PER_S), "frames")
        back = status()["captured"]
    wait_for(running, grown(2 * RATE_PER_S), "frames")
    manifest, samples, _ = end(running, tmp_path)
    require_every_frame(manifest, samples)
    assert manifest["status"] == "complete"
    assert manifest["rejoined"] == []
    assert manifest["frames"]["failed"] == 0
    # A step would show as a second in the camera's times, and in every frame that was under way.
    assert samples["captured_s"].diff().dropna().between(0, 0.5).all()
    done = samples[samples["end"] == "completed"]
    assert len(done) > 0.9 * len(samples)
    assert done["latency_ms"].between(0, 900).all()
    before = done[done["frame_id"] < forth]
    for while_ in (done[done["frame_id"].between(forth, back)], done[done["frame_id"] > back]):
        assert while_["latency_ms"].median() < before["latency_ms"].median() + PERIOD_MS
    # All hosts of the lab have one monotonic clock: what is measured between two of them is how far it may be off.
    (folder,) = (tmp_path / "results").iterdir()
    lines = [json.loads(line) for line in (folder / "part1" / "events.jsonl").read_text().splitlines()]
    clocks = [line for line in lines if line["kind"] == "clock"]
    assert {line["host"] for line in clocks} == {"client", "edge"}
    assert all(abs(line["offset_ns"]) <= line["bound_ns"] < 50_000_000 for line in clocks)
    for host in ("client", "edge"):
        assert done[f"{host}_transfer_ms"].notna().all()
        assert (done[f"{host}_transfer_ms"] >= -done[f"{host}_transfer_bound_ms"]).all()
        assert (done[f"{host}_transfer_ms"] < 900).all()


def test_sure_frames_end_early_and_do_not_travel_on(testbed, tmp_path):
    exits = 'cuts: ["3-8"]\nexits:\n  - {after: 1, head: cnn14_layer3.pb, threshold: 0.9}\n'
    spec = written(tmp_path / "early.yml", SMALL, exits, name="early", frames=48, rate=12, pictures="")
    slicebed("run", spec, "--results", tmp_path / "results", "--no-deploy")
    (run,) = (path.parent for path in (tmp_path / "results").glob("*/*/manifest.json"))
    manifest, samples = read_part(run)
    require_every_frame(manifest, samples)
    early = samples[samples["early"].notna()]
    others = samples[samples["early"].isna() & (samples["end"] == "completed")]
    assert len(others) > 0
    assert len(early) > 0.7 * len(samples)
    assert set(early["answered_by"]) == {"client"}
    assert set(others["answered_by"]) == {"cloud"}
    assert early["edge_compute_ms"].isna().all()
    told = manifest["summary"]["early"]
    assert told["frames"] == len(early)
    assert told["share"] == pytest.approx(len(early) / (len(early) + len(others)))
    assert told["accuracy"] > 0.9


def test_a_film_passes_transformer_slices_and_classifier(testbed, tmp_path):
    film(tmp_path / "film.mp4")
    placed = "{name: sliced, transformer: client, slices: [client, edge, cloud], classifier: cloud, cuts: [3-8]}"
    pictures = ", video: film.mp4, resolution: 160x120, loops: 2"
    more = f"placements:\n  - {placed}\n"
    spec = written(tmp_path / "film.yml", SMALL, more, name="film", frames=100, rate=12, pictures=pictures)
    slicebed("run", spec, "--results", tmp_path / "results", "--no-deploy")
    (run,) = (path.parent for path in (tmp_path / "results").glob("*/*/manifest.json"))
    manifest, samples = read_part(run)
    require_every_frame(manifest, samples)
    # The film is over before all frames that are allowed: it is shown twice.
    assert len(samples) == 2 * FILM_FRAMES
    done = samples[samples["end"] == "completed"]
    assert len(done) > 0.9 * len(samples)
    assert done["client_transformer_compute_ms"].notna().all()
    assert done["cloud_classifier_compute_ms"].notna().all()
    checked = done[done["checked"] > 0]
    assert len(checked) > 0
    assert (checked["labels_equal"] == checked["checked"]).all()


FILM_FRAMES = 18


def film(path):
    """A white square that wanders over black."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(FILM_FRAMES):
            picture = np.zeros((120, 160, 3), np.uint8)
            picture[30:90, 4 * number : 4 * number + 60] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
