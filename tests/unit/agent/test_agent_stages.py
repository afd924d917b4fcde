"""Stages, their queues, early exits and live cuts: real agents in this process, one chain of them over TLS."""

from __future__ import annotations

import grpc
import pytest
from certificates import Authority
from conftest import HOSTS, Model, camera, three_agents, waits

from slicebed.spec.experiment_model import EQUALITY_BAR
from slicebed_agent.rpc.v1 import agent_pb2

NEWEST, OLDEST, BLOCK = (
    agent_pb2.QUEUE_POLICY_NEWEST,
    agent_pb2.QUEUE_POLICY_OLDEST,
    agent_pb2.QUEUE_POLICY_BLOCK,
)
RAW = {"codec": agent_pb2.CODEC_RAW}


def _slice(chain, name, first, last, queue, **changes):
    """A stage from behind one layer to behind another."""
    ends = chain.model.ends
    part = agent_pb2.SliceConfig(
        model_sha256=chain.model.sha256, feeds=ends[first : first + 1], fetches=ends[last : last + 1]
    )
    return agent_pb2.StageConfig(name=name, queue=queue, slice=part, **changes)


def _alone(chain, run_id, stages, **source):
    """The first agent does everything itself."""
    config = chain.config("client", run_id, link=None, stages=stages, source=camera(**source))
    chain.stub["client"].Prepare(config, timeout=30)
    chain.start(run_id)
    status = chain.wait_over(run_id)
    chain.finish(run_id, "client")
    samples = chain.samples(run_id)
    samples.assert_conserved()
    return samples, status


def _three_stages(chain, policy):
    """The last stage is the slow one: before it frames wait in a queue of two."""
    return [
        _slice(chain, "slice", 0, 3, waits(60)),
        _slice(chain, "slice2", 3, 8, waits(2, policy) if policy == BLOCK else waits(60)),
        _slice(chain, "slice3", 8, 14, waits(2, policy), overhead_ratio=60.0),
    ]


def _run_three(chain, policy):
    stages = _three_stages(chain, policy)
    return _alone(chain, f"three-{policy}", stages, frames=30, frames_per_s=1000, batch_size=1)


def test_the_newest_frame_that_finds_no_place_is_dropped(chain):
    samples, status = _run_three(chain, NEWEST)
    assert samples.ended().keys() == {("completed", None, None), ("dropped", "client", "slice3")}
    assert {end["end_reason"] for end in samples.ends if end["end"] == "dropped"} == {"queue full"}
    assert [end["end"] for end in samples.ends if end["frame_id"] == 0] == ["completed"]
    assert [(stage.name, stage.dropped) for stage in status.stages] == [
        ("slice", 0),
        ("slice2", 0),
        ("slice3", samples.footer["dropped"]),
    ]


def test_the_oldest_frame_makes_room_for_the_newest(chain):
    samples, _ = _run_three(chain, OLDEST)
    dropped = [end for end in samples.ends if end["end"] == "dropped"]
    assert {(end["end_stage"], end["end_reason"]) for end in dropped} == {("slice3", "older than 2 that wait")}
    completed = [end["frame_id"] for end in samples.ends if end["end"] == "completed"]
    assert completed == sorted(completed)
    assert completed[-2:] == [28, 29]  # those that waited last are never the oldest


def test_a_stage_that_blocks_holds_up_the_one_before_and_never_the_camera(chain):
    samples, status = _run_three(chain, BLOCK)
    assert samples.footer["completed"] == 30
    assert [end["frame_id"] for end in samples.ends] == list(range(30))
    captured = [end["captured_ns"] for end in samples.ends]
    assert captured[-1] - captured[0] < 0.3e9 < samples.ends[-1]["ended_ns"] - samples.ends[0]["ended_ns"]
    assert [stage.frames for stage in status.stages] == [30, 30, 30]
    waited = {stage.name: stage.queue_wait_ns for stage in status.stages}
    assert waited["slice"] > waited["slice3"] > 0


def test_the_agent_behind_a_link_holds_up_the_one_before_it(chain):
    """The cloud is slow; nothing is dropped but at the source."""
    few = waits(2, BLOCK)
    samples = chain.whole_run(
        "back-pressure",
        (3, 8),
        client={"source": camera(frames=50, frames_per_s=100, batch_size=1), "queue": waits(2), "outbound": few} | RAW,
        edge={"queue": few, "outbound": few} | RAW,
        cloud={"queue": few, "overhead_ratio": 60.0},
    )
    samples.assert_conserved()
    assert samples.ended().keys() == {("completed", None, None), ("dropped", "client", "source")}
    assert samples.footer["completed"] >= 8
    assert chain.samples("back-pressure", "cloud").footer["captured"] == samples.footer["completed"]


def test_every_stage_says_what_it_took(chain):
    stages = [
        _slice(chain, "slice", 0, 3, waits(4)),
        agent_pb2.StageConfig(name="classifier", queue=waits(4), classify=agent_pb2.ClassifyConfig(top=2)),
    ]
    stages.insert(1, _slice(chain, "slice2", 3, 14, waits(4)))
    samples, status = _alone(chain, "stages", stages, frames=5, frames_per_s=50)
    for frame in samples.frames:
        assert list(frame["stages"]) == ["slice", "slice2", "classifier"]
        assert all(times["compute_ns"] > 0 for times in frame["stages"].values())
        assert frame["stages"]["classifier"]["notes"]
    assert status.latency_p95_ns >= status.latency_p50_ns > 0
    assert (status.next_frame_id, status.ended_below) == (5, 5)
    assert status.usage.memory_bytes > 0


def test_a_camera_may_be_all_that_an_agent_has(chain):
    samples = chain.whole_run(
        "camera-only",
        (0, 8),
        client={"stages": [], "outbound": waits(4)} | RAW,
    )
    assert samples.footer["completed"] == 10
    assert all(frame["stages"] == {} and frame["left"] == "sent" for frame in samples.frames)


@pytest.fixture(scope="module")
def head(tf, cnn14, tmp_path_factory):
    """Sure of every frame whose boundary is brighter than the threshold; its classes are those of cnn14."""
    with tf.Graph().as_default() as graph:
        boundary = tf.compat.v1.placeholder(tf.float32, (None, 26, 26, 32), "boundary")
        mean = tf.reduce_mean(boundary, axis=(1, 2, 3))
        share = tf.stack([mean / (mean + 0.1)] + [0.1 / (mean + 0.1) / 9] * 9, axis=1)
        tf.identity(share, "probabilities")
    path = tmp_path_factory.mktemp("head") / "head.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    from slicebed_agent.model.files import hash_file

    return Model(path, hash_file(path), ())


def _exit(head, threshold):
    part = agent_pb2.SliceConfig(model_sha256=head.sha256, feeds=["boundary:0"], fetches=["probabilities:0"])
    return agent_pb2.StageConfig(
        name="exit", queue=waits(16), exit=agent_pb2.ExitConfig(head=part, threshold=threshold)
    )


def test_frames_that_an_exit_is_sure_of_do_not_travel_on(chain, head):
    chain.place(head, "client")
    one = {"source": camera(frames=20, batch_size=1), "behind": [_exit(head, 0.0)]}
    sure = chain.whole_run("probe", (1, 8), client=one)
    confidence = sorted(frame["stages"]["exit"]["notes"]["confidence"] for frame in sure.frames)
    assert {end["exit"] for end in sure.ends} == {"exit"}
    assert {(frame["left"], frame["stage"]) for frame in sure.frames} == {("answered", "exit")}
    assert chain.samples("probe", "edge").footer["captured"] == 0

    middle = (confidence[9] + confidence[10]) / 2
    chain.prepare("exits", (1, 8), client=one | {"behind": [_exit(head, middle)]})
    chain.start("exits")
    status = chain.wait_over("exits")
    assert (status.completed, status.early) == (20, 10)
    chain.finish("exits")
    samples = chain.samples("exits")
    samples.assert_conserved()
    by = {end["frame_id"]: (end["answered_by"], end["exit"]) for end in samples.ends}
    assert sorted(by.values(), key=str) == [("client", "exit")] * 10 + [("cloud", None)] * 10
    whole = [end for end in samples.ends if end["exit"] is None]
    assert all(end["max_rel_error"] <= EQUALITY_BAR for end in whole)
    assert chain.samples("exits", "cloud").footer["captured"] == 10


def test_a_head_that_gives_no_probabilities_fails_the_frame_and_is_named(chain, head):
    chain.place(head, "client")
    wrong = _exit(head, 0.5)
    wrong.exit.head.fetches[:] = ["boundary:0"]
    samples = chain.whole_run("wrong-head", (1, 8), client={"behind": [wrong]})
    assert samples.ended().keys() <= {("failed", "client", "exit"), ("failed", "client", "link")}
    assert "the exit's head gave float32 (4, 26, 26, 32)" in samples.ends[0]["end_reason"]


def _streamed(chain, run_id, cuts, *, client=None, rate=24.0):
    """A camera without end, and one change after the other."""
    source = camera(frames=0, frames_per_s=rate, batch_size=1)
    source_only = {"source": source} | RAW | (client or {})
    chain.prepare(run_id, cuts[0], client=source_only, edge=RAW)
    chain.start(run_id)
    firsts = []
    for version, cut in enumerate(cuts[1:], 1):
        chain.wait(run_id, lambda status, seen=firsts[-1] if firsts else 0: status.completed >= seen + 6)
        firsts.append(chain.change(run_id, version, cut))
    chain.wait(run_id, lambda status: status.ended_below >= firsts[-1] + 6)
    chain.finish(run_id)
    return chain.samples(run_id), firsts


def test_a_change_of_cut_drops_no_frame_and_keeps_their_order(chain):
    samples, firsts = _streamed(chain, "live", [(1, 8), (3, 10), (1, 11)])
    samples.assert_conserved()
    assert samples.ended().keys() == {("completed", None, None)}
    assert [end["frame_id"] for end in samples.ends] == list(range(samples.footer["captured"]))
    for end in samples.ends:
        assert end["version"] == sum(end["frame_id"] >= first for first in firsts)
        assert end["max_rel_error"] <= EQUALITY_BAR
    sizes = {0: 26 * 26 * 32 * 4, 1: 12 * 12 * 64 * 4, 2: 26 * 26 * 32 * 4}
    for frame in samples.frames:
        assert frame["bytes_raw_out"] == sizes[frame["version"]]
    events = [(line["event"], line["version"]) for line in samples.of("cut")]
    assert events == [
        (event, version) for version in (1, 2) for event in ("prepared", "switched", "drained", "released")
    ]


def test_slices_of_an_old_cut_are_let_go(chain):
    _streamed(chain, "let-go", [(1, 8), (3, 10)], rate=50.0)
    config = agent_pb2.CutConfig(run_id="let-go", version=2)
    with pytest.raises(grpc.RpcError, match="the run is over") as refused:
        chain.stub["edge"].PrepareCut(config, timeout=10)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_a_change_that_cannot_be_leaves_the_cut_in_use(chain):
    chain.prepare("stays", client={"source": camera(frames=0, frames_per_s=50)})
    chain.start("stays")
    chain.wait("stays", lambda status: status.completed >= 3)

    def refused(method, message, code, says):
        with pytest.raises(grpc.RpcError, match=says) as error:
            method(message, timeout=10)
        assert error.value.code() is code

    stub, wrong = chain.stub["client"], grpc.StatusCode.INVALID_ARGUMENT
    not_now = grpc.StatusCode.FAILED_PRECONDITION
    bad = chain.slice("client", (1, 8), fetches=["no:0"])
    cut = agent_pb2.CutConfig(run_id="stays", version=1, slices={"slice": bad})
    refused(stub.PrepareCut, cut, wrong, "no tensor 'no:0'")
    cut = agent_pb2.CutConfig(run_id="stays", version=1, slices={"other": chain.slice("client", (3, 8))})
    refused(
        stub.PrepareCut, cut, wrong, "slices: 'other' is not allowed; allowed: this agent's stages with a slice: slice"
    )
    cut = agent_pb2.CutConfig(run_id="stays", version=0)
    refused(stub.PrepareCut, cut, wrong, "version: 0")
    request = agent_pb2.CutRequest(run_id="stays", version=1)
    refused(stub.SwitchCut, request, not_now, "cannot switch to version 1")
    for host in HOSTS:
        wanted = agent_pb2.CutConfig(run_id="stays", version=1, slices={"slice": chain.slice(host, (3, 10))})
        chain.stub[host].PrepareCut(wanted, timeout=30)
    refused(stub.ReleaseCut, request, not_now, "was not switched to; abandon it instead")
    for host in HOSTS:
        chain.stub[host].ReleaseCut(agent_pb2.CutRequest(run_id="stays", version=1, abandoned=True), timeout=10)
    before = chain.status("stays").completed
    chain.wait("stays", lambda status: status.completed >= before + 3)
    first = chain.change("stays", 2, (3, 10))
    assert first > 0
    chain.wait("stays", lambda status: status.ended_below > first)
    refused(chain.stub["edge"].SwitchCut, agent_pb2.CutRequest(run_id="stays", version=3), not_now, "cannot switch")
    chain.finish("stays")
    samples = chain.samples("stays")
    samples.assert_conserved()
    assert samples.ended().keys() == {("completed", None, None)}
    assert {end["version"] for end in samples.ends} == {0, 2}


def test_a_chain_over_tls_gives_the_whole_models_answers(cnn14, tmp_path_factory, monkeypatch):
    from slicebed_agent.pipeline import link

    authority = Authority()
    folder = tmp_path_factory.mktemp("tls")
    with three_agents(cnn14, tmp_path_factory.mktemp, lambda host: authority.write(folder / host, host)) as chain:
        samples = chain.whole_run("tls", (1, 8), client=RAW, edge=RAW)
        samples.assert_conserved()
        assert samples.footer["completed"] == 10
        assert all(end["max_rel_error"] <= EQUALITY_BAR for end in samples.ends)
        # The edge's certificate is not the cloud's: what the run calls the next host must be what it proves to be.
        monkeypatch.setattr(link.Link.__init__, "__kwdefaults__", {"connect_s": 1.0})
        config = chain.config("client", "impostor", next_host="cloud")
        with pytest.raises(grpc.RpcError, match="cloud: no stream to the agent"):
            chain.stub["client"].Prepare(config, timeout=30)


def test_many_frames_leave_nothing_behind(chain):
    """What the run remembers of frames is bounded: nothing of those that ended."""
    import gc

    from slicebed_agent.pipeline.contracts import Frame

    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Frame) for each in gc.get_objects())

    # A test that failed in this process keeps what its traceback shows.
    before = alive()
    chain.whole_run("many", (3, 8), client={"source": camera(frames=300, frames_per_s=300, batch_size=1)})
    assert alive() - before < 10


def test_synthetic_pictures_go_through_a_transformer(chain):
    """Grey numbers of the model's size; every answer is the whole model's."""
    transform = agent_pb2.TransformConfig(height=28, width=28, scale=[1 / 255], offset=[0.0])
    source = camera(images=agent_pb2.IMAGES_SYNTHETIC, height=72, width=128, batch_size=2)
    source.check.transform.CopyFrom(transform)
    stage = agent_pb2.StageConfig(name="transformer", queue=waits(4), transform=transform)
    samples = chain.whole_run("synthetic", (1, 8), client={"source": source, "before": [stage]})
    samples.assert_conserved()
    assert samples.footer["completed"] == 10
    checked = [end for end in samples.ends if end["checked"]]
    assert checked
    assert all(end["max_rel_error"] <= EQUALITY_BAR for end in checked)
