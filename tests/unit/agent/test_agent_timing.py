"""Profile and Time: a model at every cut, and one slice as it is, on an agent that also runs frames."""

from __future__ import annotations

import time
from statistics import median

import grpc
import pytest
from conftest import make_agent, three_agents

from slicebed_agent.codec import lossless
from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

REFUSED = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def stub(cnn14, tmp_path_factory):
    agent = make_agent("edge", tmp_path_factory.mktemp("edge"))
    with grpc.insecure_channel(f"127.0.0.1:{agent.control_port}") as channel:
        found = agent_pb2_grpc.ControlStub(channel)
        found.PutModel(cnn14.chunks(), timeout=30)
        yield found
    agent.stop()


def wanted(model, ends, **changes):
    usual = {
        "model_sha256": model.sha256,
        "feeds": [ends[0]],
        "fetches": [ends[-1]],
        "cuts": [agent_pb2.Crossing(tensors=[name]) for name in ends],
        "batch": 2,
        "seconds": 0.1,
    }
    return agent_pb2.ProfileRequest(**(usual | changes))


def refusal_of(method, message, timeout=30):
    with pytest.raises(grpc.RpcError) as refused:
        method(message, timeout=timeout)
    return refused.value.code(), refused.value.details()


def test_shares_grow_along_the_model_and_the_two_sides_are_the_whole_where_no_kernel_is_divided(stub, cnn14):
    reply = stub.Profile(wanted(cnn14, cnn14.ends), timeout=60)
    assert len(reply.whole_s) == len(reply.whole_cpu_s) >= 3
    assert 0 < reply.call_s.median < median(reply.whole_s)
    assert 0 < reply.kernels_s < max(reply.whole_s)
    assert reply.processor.cores >= 1
    assert reply.processor.model
    assert reply.took_s > sum(reply.whole_s)
    assert not reply.HasField("transform_s")
    before = [cut.before.median for cut in reply.cuts]
    after = [cut.after.median for cut in reply.cuts]
    assert (before[0], after[-1]) == (0, 0)
    assert (before[-1], after[0]) == pytest.approx((1, 1))
    assert before == sorted(before)
    # A pooled tensor is what no kernel holds back.
    pooled = [place for place, name in enumerate(cnn14.ends) if "max_pooling" in name]
    assert len(pooled) == 3
    assert [before[place] + after[place] for place in pooled] == pytest.approx([1] * 3)
    assert all(one + two > 0.99 for one, two in zip(before, after, strict=True))
    assert all(each.before.low <= each.before.median <= each.before.high for each in reply.cuts)
    assert all(not cut.codecs and not cut.bytes for cut in reply.cuts)


def test_every_boundary_is_written_by_every_codec_that_was_asked_for(stub, cnn14):
    codecs = ["CODEC_RAW", "CODEC_TENSOR_PROTO", "CODEC_LOSSLESS", "CODEC_AUTO", "CODEC_UINT8"]
    reply = stub.Profile(wanted(cnn14, cnn14.ends, codecs=codecs), timeout=60)
    relu = next(cut for name, cut in zip(cnn14.ends, reply.cuts, strict=True) if "conv2d_1/" in name)
    rows = {(agent_pb2.Codec.Name(row.codec), row.filter): row for row in relu.codecs}
    assert [filter_ for codec, filter_ in rows if codec == "CODEC_AUTO"] == [lossless.BITMAP.name, lossless.FULL.name]
    assert relu.bytes == rows["CODEC_RAW", ""].bytes
    assert rows["CODEC_TENSOR_PROTO", ""].bytes > relu.bytes
    assert rows["CODEC_UINT8", ""].bytes * 4 == relu.bytes
    # Half of what a ReLU lets through is zero.
    assert rows["CODEC_LOSSLESS", lossless.FULL.name].bytes < 0.9 * relu.bytes
    assert rows["CODEC_AUTO", lossless.BITMAP.name].bytes < 0.9 * relu.bytes
    assert all(row.encode_s > 0 and row.decode_s > 0 for row in rows.values())
    whole_input, answer = reply.cuts[0], reply.cuts[-1]
    assert (whole_input.bytes, answer.bytes) == (2 * 28 * 28 * 4, 2 * 10 * 4)


def test_several_tensors_cross_and_need_not_have_a_batch(stub, branching):
    stub.PutModel(branching.model.chunks(), timeout=30)
    cuts = [agent_pb2.Crossing(tensors=names) for names in branching.boundaries]
    request = wanted(branching.model, ["image:0", "answer:0"], cuts=cuts, codecs=["CODEC_RAW"])
    reply = stub.Profile(request, timeout=60)
    assert [cut.bytes for cut in reply.cuts] == [2 * 30 * 4, 2 * (16 * 4 + 30), 2 * (30 * 4 + 8 + 16 * 4), 2 * 4 * 4]
    before = [cut.before.median for cut in reply.cuts]
    assert before[0] == 0 < before[1] < before[2] <= before[3]


def test_a_slice_takes_about_its_share_of_the_whole(stub, cnn14):
    """Not a timing test: that of three quarters of the work is above that of a few per cent of it."""
    early, late = cnn14.ends[3], cnn14.ends[10]
    times = {}
    for name, feed, fetch in (("early", cnn14.ends[0], early), ("late", cnn14.ends[0], late)):
        request = agent_pb2.TimeRequest(
            model_sha256=cnn14.sha256, feeds=[feed], fetches=[fetch], batch=16, runs=9, codecs=["CODEC_LOSSLESS"]
        )
        times[name] = stub.Time(request, timeout=60)
    assert all(len(each.slice_s) == len(each.slice_cpu_s) == 9 for each in times.values())
    assert median(times["early"].slice_s) < median(times["late"].slice_s)
    (row,) = times["early"].codecs
    assert row.codec == agent_pb2.CODEC_LOSSLESS
    assert 0 < row.bytes < times["early"].bytes


def test_pictures_are_transformed_before_the_model_sees_them(stub, cnn14):
    check = agent_pb2.CheckConfig(
        model_sha256=cnn14.sha256,
        feeds=cnn14.ends[:1],
        answer=cnn14.ends[-1],
        transform=agent_pb2.TransformConfig(height=28, width=28, scale=[1 / 255], offset=[0]),
    )
    camera = agent_pb2.SourceConfig(
        images=agent_pb2.IMAGES_SYNTHETIC, frames_per_s=1, batch_size=2, height=90, width=160, check=check
    )
    reply = stub.Profile(wanted(cnn14, cnn14.ends, source=camera, codecs=["CODEC_RAW"]), timeout=60)
    assert reply.transform_s.median > 0
    assert reply.cuts[0].bytes == 2 * 28 * 28 * 4
    del camera.check.transform.scale[:]
    assert refusal_of(stub.Profile, wanted(cnn14, cnn14.ends, source=camera))[0] == REFUSED
    camera.check.ClearField("transform")
    code, said = refusal_of(stub.Profile, wanted(cnn14, cnn14.ends, source=camera))
    assert (code, said.partition(":")[0]) == (REFUSED, "source.check.transform")
    camera.batch_size = 3
    assert "source.batch_size" in refusal_of(stub.Profile, wanted(cnn14, cnn14.ends, source=camera))[1]


def test_the_digits_that_the_model_was_made_for_are_shown_as_they_are(stub, cnn14):
    check = agent_pb2.CheckConfig(model_sha256=cnn14.sha256, feeds=cnn14.ends[:1], answer=cnn14.ends[-1])
    camera = agent_pb2.SourceConfig(images=agent_pb2.IMAGES_DIGITS, frames_per_s=1, batch_size=2, seed=7, check=check)
    reply = stub.Profile(wanted(cnn14, cnn14.ends, source=camera, codecs=["CODEC_LOSSLESS"]), timeout=60)
    assert not reply.HasField("transform_s")
    # A digit is mostly nothing, noise never is.
    assert reply.cuts[0].codecs[0].bytes < 0.7 * reply.cuts[0].bytes


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_sha256": "0"}, "model_sha256"),
        ({"model_sha256": "0" * 64}, "model 000000000000"),
        ({"feeds": []}, "feeds"),
        ({"fetches": ["no/such:0"]}, "no/such:0"),
        ({"cuts": [agent_pb2.Crossing()]}, "cuts[0]"),
        ({"cuts": [agent_pb2.Crossing(tensors=["no tensor"])]}, "cuts[0]"),
        ({"cuts": [agent_pb2.Crossing(tensors=["a:0"])] * 4097}, "cuts"),
        ({"batch": 0}, "batch"),
        ({"batch": 65537}, "batch"),
        ({"seed": 2**63}, "seed"),
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": 3600.0}, "seconds"),
        ({"codecs": [99]}, "codecs"),
        ({"period_s": -0.1}, "period_s"),
    ],
)
def test_a_field_that_cannot_be_is_named(stub, cnn14, changes, field):
    code, said = refusal_of(stub.Profile, wanted(cnn14, cnn14.ends, **changes))
    assert code == REFUSED
    assert field in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"runs": 0}, "runs"), ({"runs": 1001}, "runs"), ({"batch": 0}, "batch"), ({"feeds": []}, "feeds")],
)
def test_a_slice_that_cannot_be_timed_is_refused(stub, cnn14, changes, field):
    usual = {"model_sha256": cnn14.sha256, "feeds": cnn14.ends[:1], "fetches": cnn14.ends[1:2], "batch": 1, "runs": 1}
    code, said = refusal_of(stub.Time, agent_pb2.TimeRequest(**(usual | changes)))
    assert (code, said.partition(":")[0]) == (REFUSED, field)


def test_a_cut_behind_which_something_else_is_needed_is_refused(stub, branching):
    stub.PutModel(branching.model.chunks(), timeout=30)
    cuts = [agent_pb2.Crossing(tensors=["mixed:0"])]
    code, said = refusal_of(stub.Profile, wanted(branching.model, ["image:0", "answer:0"], cuts=cuts))
    assert code == REFUSED
    assert said.startswith("cuts[0]: answer:0 also needs image")


def test_boundaries_that_would_fill_the_memory_are_refused(stub, cnn14):
    code, said = refusal_of(stub.Profile, wanted(cnn14, cnn14.ends, batch=20_000))
    assert code == REFUSED
    assert "GiB at once" in said


def test_whoever_goes_away_frees_the_agent(stub, cnn14):
    call = stub.Profile.future(wanted(cnn14, cnn14.ends, seconds=100), timeout=60)
    time.sleep(0.3)
    call.cancel()
    # It answers the next caller long before the hundred seconds are over.
    stub.Profile(wanted(cnn14, cnn14.ends, seconds=0), timeout=30)


def test_a_measurement_ends_the_run_like_prepare_and_the_next_run_goes_on(cnn14, tmp_path):
    with three_agents(cnn14, lambda host: tmp_path / host) as chain:
        chain.prepare("first")
        chain.start("first")
        chain.stub["edge"].Profile(wanted(cnn14, cnn14.ends, seconds=0), timeout=60)
        code, said = refusal_of(chain.stub["edge"].Status, agent_pb2.RunRequest(run_id="first"))
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert "the current one is none" in said
        chain.whole_run("second").assert_conserved()


def test_an_agent_that_stops_does_not_wait_for_a_measurement(cnn14, tmp_path):
    agent = make_agent("edge", tmp_path)
    with grpc.insecure_channel(f"127.0.0.1:{agent.control_port}") as channel:
        stub = agent_pb2_grpc.ControlStub(channel)
        stub.PutModel(cnn14.chunks(), timeout=30)
        call = stub.Profile.future(wanted(cnn14, cnn14.ends, seconds=100), timeout=60)
        time.sleep(0.3)
        begin = time.monotonic()
        agent.stop()
        assert time.monotonic() - begin < 50
        assert call.code() != grpc.StatusCode.OK
