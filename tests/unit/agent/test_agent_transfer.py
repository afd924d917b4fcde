"""Model files over Control: whole, or not at all; within the limit; whatever run is under way."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
import time

import grpc
import pytest
from conftest import CHUNK_BYTES, Model, camera, make_agent, waits

from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

LIMIT = 5_000_000
ModelChunk, ModelFile = agent_pb2.ModelChunk, agent_pb2.ModelFile


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """An agent of a small store: its stub and its folder of models."""
    state = tmp_path_factory.mktemp("small")
    made = make_agent("edge", state, model_bytes=LIMIT)
    with grpc.insecure_channel(f"127.0.0.1:{made.control_port}") as channel:
        yield agent_pb2_grpc.ControlStub(channel), state / "models"
    made.stop()


@pytest.fixture
def stub(agent):
    return agent[0]


@pytest.fixture
def folder(agent):
    return agent[1]


def _file(tmp_path, letter, size):
    path = tmp_path / letter
    path.write_bytes(letter.encode() * size)
    return Model(path, hashlib.sha256(path.read_bytes()).hexdigest(), ())


def _has(stub, model):
    return stub.HasModel(model.announced(), timeout=10).present


def _put(stub, messages):
    return list(stub.PutModel(iter(messages), timeout=20).removed)


def test_a_file_arrives_whole_and_once(stub, folder, tmp_path):
    model = _file(tmp_path, "a", 2 * CHUNK_BYTES + 7)
    assert not _has(stub, model)
    assert _put(stub, model.chunks()) == []
    assert _has(stub, model)
    assert (folder / model.sha256).read_bytes() == model.path.read_bytes()
    assert _put(stub, model.chunks()) == []
    # What is there is not asked for again: the announcement is enough.
    assert _put(stub, itertools.islice(model.chunks(), 1)) == []


def _said(**changes):
    content = b"12345678"
    return ModelFile(**({"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)} | changes))


def _messages(file, *parts):
    return [ModelChunk(file=file), *(ModelChunk(data=part) for part in parts)]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "first message announces no file"),
        ([ModelChunk()], "first message announces no file"),
        ([ModelChunk(data=b"12345678")], "first message announces no file"),
        (_messages(_said(sha256="../../etc/passwd"), b"1"), "64 hexadecimal digits"),
        (_messages(_said(sha256="A" * 64), b"1"), "64 hexadecimal digits"),
        (_messages(_said(size_bytes=0)), "size_bytes: 0"),
        (_messages(_said()), "8 bytes were announced, 0 bytes came"),
        (_messages(_said(), b"1234"), "8 bytes were announced, 4 bytes came"),
        (_messages(_said(), b"1234", b"56789"), "8 bytes were announced, more came"),
        (_messages(_said(), b"1234", b"567x"), r"SHA-256 is [0-9a-f]{12}\.\.\., not the announced one"),
        (_messages(_said(), b"1234", b""), "holds 0 bytes of data"),
        ([*_messages(_said(), b"1234"), ModelChunk(file=_said())], "after 4 bytes holds 0 bytes of data"),
        ([*_messages(_said(), b"1234"), ModelChunk()], "after 4 bytes holds 0 bytes of data"),
        (_messages(_said(size_bytes=LIMIT), bytes(CHUNK_BYTES + 1)), "holds 1048577 bytes of data"),
    ],
)
def test_what_is_not_as_announced_is_one_line_and_leaves_nothing(stub, folder, messages, says):
    before = sorted(folder.glob("*")) if folder.exists() else []
    with pytest.raises(grpc.RpcError) as refused:
        _put(stub, messages)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "\n" not in refused.value.details()
    assert re.search(says, refused.value.details()), refused.value.details()
    assert sorted(folder.glob("*")) == before
    assert not stub.HasModel(_said(), timeout=5).present


def test_a_file_over_the_limit_is_refused_before_it_is_read(stub, folder):
    asked = threading.Event()

    def messages():
        yield ModelChunk(file=_said(size_bytes=LIMIT + 1))
        asked.wait(10)

    with pytest.raises(grpc.RpcError, match="has 5000001 bytes, this agent keeps 5000000") as refused:
        _put(stub, messages())
    asked.set()
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--model-bytes" in refused.value.details()
    assert not list(folder.glob("*.partial"))


def test_a_copy_that_breaks_off_leaves_nothing(stub, folder):
    before = sorted(folder.glob("*"))
    sent = threading.Event()

    def messages():
        yield from _messages(_said(size_bytes=LIMIT), bytes(CHUNK_BYTES), bytes(CHUNK_BYTES))
        sent.set()
        time.sleep(5)

    call = stub.PutModel.future(messages())
    assert sent.wait(10)
    _wait(lambda: list(folder.glob("*.partial")))
    call.cancel()
    _wait(lambda: sorted(folder.glob("*")) == before)


def _wait(holds, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_size_that_is_not_the_files_is_told(stub, tmp_path):
    model = _file(tmp_path, "s", 100)
    _put(stub, model.chunks())
    with pytest.raises(grpc.RpcError, match="it has 100 bytes, not 99") as refused:
        stub.HasModel(ModelFile(sha256=model.sha256, size_bytes=99), timeout=5)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_damaged_file_is_as_good_as_none(stub, folder, tmp_path):
    model = _file(tmp_path, "d", 1000)
    _put(stub, model.chunks())
    (folder / model.sha256).write_bytes(b"e" * 1000)
    assert not _has(stub, model)
    _put(stub, model.chunks())
    assert _has(stub, model)


def test_the_least_used_files_make_room_and_the_new_one_stays(stub, tmp_path):
    old, young, new = (_file(tmp_path, letter, 2_000_000) for letter in "opq")
    _put(stub, old.chunks())
    _put(stub, young.chunks())
    assert _has(stub, old)  # which is a use
    assert young.sha256 in _put(stub, new.chunks())
    assert [_has(stub, each) for each in (old, young, new)] == [True, False, True]


def test_the_file_in_use_stays(stub, cnn14, tmp_path):
    _put(stub, cnn14.chunks())
    part = agent_pb2.SliceConfig(model_sha256=cnn14.sha256, feeds=cnn14.ends[:1], fetches=cnn14.ends[1:2])
    stage = agent_pb2.StageConfig(name="slice", queue=waits(1), slice=part)
    config = agent_pb2.RunConfig(run_id="uses", host="edge", previous_host="client", stages=[stage])
    stub.Prepare(config, timeout=20)
    large = _file(tmp_path, "L", LIMIT)
    assert cnn14.sha256 not in _put(stub, large.chunks())
    assert _has(stub, cnn14)
    assert _has(stub, large)


def test_two_who_bring_the_same_file_both_succeed(stub, folder, tmp_path):
    model = _file(tmp_path, "t", 3 * CHUNK_BYTES)
    calls = [stub.PutModel.future(model.chunks(), timeout=20) for _ in range(4)]
    for call in calls:
        call.result()
    assert _has(stub, model)
    assert not list(folder.glob("*.partial"))


def test_a_file_comes_while_a_run_is_under_way(chain, tmp_path):
    chain.prepare("busy", client={"source": camera(frames=1000, frames_per_s=50), "queue": waits(4)})
    chain.start("busy")
    chain.wait("busy", lambda status: status.completed >= 3)
    chain.place(_file(tmp_path, "b", 4 * CHUNK_BYTES))
    assert chain.status("busy").phase == agent_pb2.RUN_PHASE_RUNNING
    before = chain.status("busy").completed
    chain.wait("busy", lambda status: status.completed > before)
    chain.finish("busy")
    chain.samples("busy").assert_conserved()


def test_prepare_waits_for_no_copy(chain, tmp_path):
    """A copy that stands still holds up nothing else."""
    release = threading.Event()

    def messages():
        yield ModelChunk(file=_said())
        release.wait(20)
        yield ModelChunk(data=b"12345678")

    call = chain.stub["edge"].PutModel.future(messages(), timeout=30)
    try:
        assert chain.whole_run("beside").footer["completed"] == 10
    finally:
        release.set()
    call.result()
    assert chain.stub["edge"].HasModel(_said(), timeout=5).present
