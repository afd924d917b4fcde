"""Three agents in a chain: real links, real TensorFlow, loopback."""

from __future__ import annotations

import itertools
import re
import threading
import time

import grpc
import pytest
from conftest import camera, waits

from slicebed.spec.experiment_model import EQUALITY_BAR
from slicebed_agent.host.usage import Meter
from slicebed_agent.rpc.v1 import agent_pb2

PAIRS = [(1, 8), (1, 9), (1, 10), (1, 11), (3, 8), (3, 9), (3, 10), (3, 11)]


@pytest.mark.parametrize("cut", PAIRS, ids=lambda cut: f"{cut[0]}-{cut[1]}")
def test_every_cut_of_the_paper_gives_the_whole_models_answers(chain, cut):
    samples = chain.whole_run(f"cut-{cut[0]}-{cut[1]}", cut)
    samples.assert_conserved()
    assert samples.footer["completed"] == 10
    for end in samples.ends:
        assert end["labels_equal"] == end["images"] == 4
        assert 0 <= end["labels_correct"] <= 4
        assert end["max_rel_error"] <= EQUALITY_BAR
        assert end["latency_ns"] == end["ended_ns"] - end["captured_ns"] > 0


def test_several_tensors_of_any_kind_cross_a_boundary(chain, branching):
    """float32 with bool, then float32 with int64 of one dimension, one of them passed on by the edge."""
    chain.place(branching.model)
    samples = chain.whole_run("branching", branching)
    samples.assert_conserved()
    assert samples.footer["completed"] == 10
    for end in samples.ends:
        assert (end["images"], end["labels_equal"], end["labels_correct"]) == (4, 4, None)
        assert end["max_rel_error"] <= EQUALITY_BAR
    assert chain.whole_run("back", (3, 9)).footer["completed"] == 10


def test_whole_numbers_of_a_fixed_batch_are_equal(chain, whole_numbers):
    chain.place(whole_numbers.model)
    one = {"warm_batch": 1}
    samples = chain.whole_run(
        "whole", whole_numbers, client={"source": camera(batch_size=1)} | one, edge=one, cloud=one
    )
    assert [(end["end"], end["labels_equal"], end["max_abs_error"]) for end in samples.ends] == [
        ("completed", 1, 0)
    ] * 10
    with pytest.raises(grpc.RpcError, match=r"batch size 4; pixels:0 takes uint8 \(1, 4, 4\): its batch is fixed"):
        chain.stub["client"].Prepare(chain.config("client", "four", whole_numbers), timeout=10)


def test_prepare_tells_what_leaves_the_slice(chain, branching):
    chain.place(branching.model)
    reply = chain.stub["cloud"].Prepare(chain.config("cloud", "told", branching), timeout=10)
    (made,) = reply.slices
    assert made.stage == "slice"
    assert [(one.name, one.dtype, list(one.shape)) for one in made.outputs] == [("answer:0", "float32", [4])]
    assert made.weights_bytes == (30 * 4 + 16 * 4 + 3) * 4  # two matrices, and what one_hot is told
    reply = chain.stub["edge"].Prepare(chain.config("edge", "told", branching), timeout=10)
    told = [(one.name, one.dtype, list(one.shape)) for one in reply.slices[0].outputs]
    assert told == [("mixed:0", "float32", [30]), ("place:0", "int64", []), ("left:0", "float32", [16])]
    assert reply.prepare_s > 0


def test_every_host_says_where_a_frames_time_went(chain):
    chain.whole_run("times", (1, 8), edge={"overhead_ratio": 2.0})
    client, edge, cloud = (chain.samples("times", host).frames for host in ("client", "edge", "cloud"))
    assert {len(client), len(edge), len(cloud)} == {10}
    size = 4 * 26 * 26 * 32 * 4
    for frame in client:
        assert (frame["left"], frame["parts_in"], frame["decode_ns"]) == ("sent", None, None)
        assert frame["bytes_raw_out"] == size
        assert size < frame["bytes_out"] < size + 100
        assert frame["parts_out"] == 1
    for frame in edge:
        assert frame["left"] == "sent"
        assert size < frame["bytes_in"] < size + 100
        times = frame["stages"]["slice"]
        assert times["overhead_ns"] >= 2 * times["compute_ns"] > 0
        assert times["queue_wait_ns"] > 0
        assert frame["decode_ns"] > 0
        assert frame["send_ns"] is not None
    for frame in cloud:
        assert (frame["left"], frame["parts_in"], frame["send_ns"]) == ("answered", 1, None)


def test_tensors_longer_than_the_limit_travel_in_parts(chain):
    limits = {host: {"max_message_bytes": 50_000} for host in ("client", "edge", "cloud")}
    samples = chain.whole_run("parts", (1, 8), **limits)
    assert samples.footer["completed"] == 10
    assert {frame["parts_out"] for frame in samples.frames} == {7}  # 346 kB in parts of 50 kB
    assert {frame["parts_in"] for frame in chain.samples("parts", "edge").frames} == {7}


def test_small_parts_flood_the_queue_of_a_slow_agent(chain):
    """The same frames, the same slow edge, the same queue: only the limit differs, and with it the drops."""

    def dropped(run_id: str, limit: int) -> int:
        samples = chain.whole_run(
            run_id,
            (1, 8),
            client={"max_message_bytes": limit},
            edge={"queue": waits(16, messages=True), "overhead_ratio": 10.0},
        )
        samples.assert_conserved()
        assert samples.ended().keys() <= {("completed", None, None), ("dropped", "edge", "inbound")}
        assert {end["end_reason"] for end in samples.ends if end["end"] == "dropped"} <= {"queue full"}
        return samples.footer["dropped"]

    assert dropped("whole", 500_000) == 0
    assert dropped("divided", 30_000) >= 3


def test_a_full_camera_queue_drops_at_the_source(chain):
    source = camera(frames=30, frames_per_s=1000, batch_size=16, seed=1)
    samples = chain.whole_run("camera", (3, 8), client={"source": source, "queue": waits(1), "overhead_ratio": 3.0})
    samples.assert_conserved()
    assert samples.ended()["dropped", "client", "source"] > 0
    assert samples.footer["captured"] == 30


def test_the_camera_keeps_its_pace_whatever_happens_behind_it(chain):
    source = camera(frames=21, frames_per_s=40, batch_size=8, seed=1)
    samples = chain.whole_run("pace", (3, 8), client={"source": source, "queue": waits(1), "overhead_ratio": 20.0})
    captured = [end["captured_ns"] for end in sorted(samples.ends, key=lambda end: end["frame_id"])]
    assert (captured[-1] - captured[0]) / 1e9 == pytest.approx(20 / 40, abs=0.1)


def test_a_full_outbound_queue_drops_frames(chain):
    """The edge takes parts but its network thread is held by a queue of one frame and large tensors at full speed."""
    source = camera(frames=40, frames_per_s=1000, batch_size=64, seed=1)
    samples = chain.whole_run(
        "outbound",
        (1, 8),
        client={"source": source, "queue": waits(40), "max_message_bytes": 5000, "outbound": waits(1)},
        edge={"queue": waits(100_000, messages=True), "outbound": waits(40)},
    )
    samples.assert_conserved()
    assert samples.ended()["dropped", "client", "outbound"] > 0
    assert samples.footer["failed"] == 0


def test_the_status_follows_the_run(chain):
    chain.prepare("status")
    assert chain.status("status").phase == agent_pb2.RUN_PHASE_PREPARED
    chain.start("status")
    with pytest.raises(grpc.RpcError) as twice:
        chain.start("status")
    assert twice.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    done = chain.wait_over("status")
    assert (done.phase, done.captured, done.completed) == (agent_pb2.RUN_PHASE_DONE, 10, 10)
    chain.finish("status")
    reply = chain.stub["edge"].Finish(agent_pb2.RunRequest(run_id="status"), timeout=5)
    assert reply.samples_path == "spool/status/edge.jsonl"
    lines = chain.samples("status", "edge").lines
    assert reply.samples == len(lines)
    assert len([line for line in lines if line["kind"] not in {"usage", "clock"}]) == 1 + 10 + 1


def test_finishing_early_stops_the_camera_and_keeps_every_frame(chain):
    source = camera(frames=1000, frames_per_s=50, batch_size=4, seed=7)
    chain.prepare("early", client={"source": source, "queue": waits(4)})
    chain.start("early")
    chain.wait("early", lambda status: status.completed >= 3)
    chain.finish("early")
    samples = chain.samples("early")
    samples.assert_conserved()
    assert 3 <= samples.footer["completed"] == samples.footer["captured"] < 1000


def test_what_is_not_answered_by_the_deadline_has_failed(chain):
    """The edge sleeps for minutes over its first frame; Finish must not."""
    chain.prepare("deadline", edge={"overhead_ratio": 1e5})
    chain.start("deadline")
    chain.wait("deadline", lambda status: status.captured == 10)
    begin = time.monotonic()
    chain.stub["client"].Finish(agent_pb2.RunRequest(run_id="deadline"), timeout=3)
    chain.finish("deadline", "edge", "cloud")
    assert time.monotonic() - begin < 10
    samples = chain.samples("deadline")
    samples.assert_conserved()
    assert samples.ended() == {("failed", "edge", "link"): 10}
    chain.whole_run("after-deadline")


def test_prepare_replaces_a_run_under_way_and_leaves_no_thread(chain):
    chain.whole_run("settled")

    def threads():
        # The servers' pools, gRPC's and Arrow's, grow when they please; everything else belongs to a run or stays.
        return sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith(("rpc", "Dummy")))

    before = len(threads())
    for turn in range(5):
        source = camera(frames=1000, frames_per_s=100, batch_size=4, seed=7)
        chain.prepare(f"replaced-{turn}", client={"source": source, "queue": waits(4)})
        chain.start(f"replaced-{turn}")
        chain.wait(f"replaced-{turn}", lambda status: status.completed >= 2)
    samples = chain.whole_run("replacing")
    assert samples.footer["completed"] == 10
    chain.samples("replaced-0").assert_conserved()
    deadline = time.monotonic() + 5
    while len(threads()) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(threads()) <= before, threads()


def test_describe_names_the_versions(chain):
    reply = chain.stub["edge"].Describe(agent_pb2.DescribeRequest(), timeout=5)
    assert reply.tensorflow_version.startswith("2.")
    assert reply.cores >= 1
    assert reply.cpu_model
    assert reply.measures_energy == (Meter().read()["energy_uj"] is not None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run_id": "../etc"}, "run_id"),
        ({"name": "cloud"}, "this agent serves 'client'"),
        ({"model_sha256": "cnn14"}, "64 hexadecimal digits"),
        ({"model_sha256": "ab" * 32}, "model abababababab is not on this host; copy it: slicebed run does"),
        ({"feeds": []}, "feeds: 0 tensors"),
        ({"fetches": ["no_such:0"]}, "no tensor 'no_such:0'"),
        ({"feeds": ["conv2d_1/Relu:0"]}, "also needs input_layer"),
        (
            {"source": camera(check=agent_pb2.CheckConfig(feeds=["conv2d/Relu:0"]))},
            r"takes float32 \(B, 28, 28, 1\), float32 \(B, 26, 26, 32\), digits are",
        ),
        ({"overhead_ratio": -1.0}, "overhead_ratio"),
        ({"overhead_ratio": float("nan")}, "overhead_ratio"),
        ({"max_message_bytes": 17 * 1024**2}, "max_message_bytes"),
        ({"outbound": waits(0)}, r"link.queue.places: 0 is not allowed; allowed: 1\.\.1000000"),
        ({"outbound": waits(1, agent_pb2.QUEUE_POLICY_UNSPECIFIED)}, "link.queue.policy"),
        ({"next_host": ""}, "link.next_host"),
        ({"next_address": "edge"}, "link.next_address"),
        ({"codec": agent_pb2.CODEC_UNSPECIFIED}, "link.codec"),
        ({"queue": waits(1, agent_pb2.QUEUE_POLICY_BLOCK)}, r"stages\[0\].queue.policy.*the camera, which never waits"),
        ({"queue": waits(1, messages=True)}, r"stages\[0\].queue.messages.*behind a link only"),
        ({"previous_host": "edge"}, "previous_host"),
        ({"reconnect_s": -1.0}, "reconnect_s"),
        ({"stages": [], "link": None}, "stages: none is not allowed"),
        ({"version": 2**31}, "version"),
        ({"source": camera(frames=1, frames_per_s=-1, batch_size=1)}, "frames_per_s"),
        ({"source": camera(frames=1, frames_per_s=1, batch_size=999)}, r"1\.\.359"),
        ({"source": camera(images=7)}, "source.images"),
        ({"source": camera(images=agent_pb2.IMAGES_VIDEO)}, "source.file_sha256"),
        ({"source": camera(images=agent_pb2.IMAGES_SYNTHETIC, height=72)}, "source.height"),
        (
            {"source": camera(check=agent_pb2.CheckConfig(answer="flatten/Reshape/shape:0"))},
            "no row for each image",
        ),
        ({"before": [agent_pb2.StageConfig(name="slice", queue=waits(1))]}, "name"),
        ({"before": [agent_pb2.StageConfig(name="nothing", queue=waits(1))]}, "a stage without a kind"),
        ({"before": [agent_pb2.StageConfig(name="link", queue=waits(1))]}, "and none of source"),
    ],
)
def test_a_wrong_configuration_is_one_line(chain, changes, says):
    with pytest.raises(grpc.RpcError) as refused:
        chain.stub["client"].Prepare(chain.config("client", **({"run_id": "wrong"} | changes)), timeout=10)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "\n" not in refused.value.details()
    assert re.search(says, refused.value.details())


def test_a_tensor_that_does_not_fit_fails_its_frame_and_names_the_slice(chain):
    """The client was told another cut than the edge."""
    samples = chain.whole_run("misfit", (1, 8), client={"fetches": [chain.model.ends[3]]})
    samples.assert_conserved()
    assert samples.ended().keys() == {("failed", "edge", "slice")}
    assert (
        "got float32 (4, 12, 12, 64) for conv2d/Relu:0, which is float32 (B, 26, 26, 32)"
        in (samples.ends[0]["end_reason"])
    )
    status = chain.status("misfit")
    assert status.phase == agent_pb2.RUN_PHASE_FAILED
    assert (status.error_host, status.error_stage) == ("edge", "slice")


def test_a_missing_next_agent_is_named(chain, monkeypatch):
    from slicebed_agent.pipeline import link

    monkeypatch.setattr(link.Link.__init__, "__kwdefaults__", {"connect_s": 0.3})
    with pytest.raises(grpc.RpcError, match=r"edge: no stream to the agent at 127\.0\.0\.1:1: ") as refused:
        chain.stub["client"].Prepare(chain.config("client", "alone", next_address="127.0.0.1:1"), timeout=10)
    assert refused.value.code() == grpc.StatusCode.ABORTED


def test_one_agent_alone_answers_itself(chain):
    config = chain.config("client", "alone", fetches=chain.model.ends[-1:], link=None)
    chain.stub["client"].Prepare(config, timeout=10)
    chain.start("alone")
    assert chain.wait_over("alone").completed == 10
    chain.finish("alone", "client")
    samples = chain.samples("alone")
    samples.assert_conserved()
    assert {frame["left"] for frame in samples.frames} == {"answered"}


def test_frames_are_numbered_in_the_order_of_capture(chain):
    samples = chain.whole_run("order")
    ends = sorted(samples.ends, key=lambda end: end["frame_id"])
    assert all(a["captured_ns"] < b["captured_ns"] for a, b in itertools.pairwise(ends))
