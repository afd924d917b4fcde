"""Whatever a request holds, and whatever this host's disk does, Control refuses in one plain line."""

from __future__ import annotations

import grpc
import pytest
from conftest import make_agent

from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc


def refusal_of(method, message):
    with pytest.raises(grpc.RpcError) as refused:
        method(message, timeout=10)
    return refused.value.code(), refused.value.details()


@pytest.fixture
def lone(tmp_path):
    agent = make_agent("client", tmp_path)
    with grpc.insecure_channel(f"127.0.0.1:{agent.control_port}") as channel:
        yield agent_pb2_grpc.ControlStub(channel), tmp_path
    agent.stop()


def test_what_the_agent_was_not_made_for_is_told_without_pythons_words(chain):
    for host in ("cloud", "edge"):
        chain.stub[host].Prepare(chain.config(host, "odd"), timeout=30)
    config = chain.config("client", "odd")
    config.source.check.feeds[:] = ["no tensor's name"]
    code, said = refusal_of(chain.stub["client"].Prepare, config)
    assert code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT}
    assert "\n" not in said
    assert "Exception" not in said
    assert "KeyError" not in said


# Describe is not here: its message has no fields, so that any well-formed one is passed over.
METHODS = (
    *("HasModel", "PutModel", "Prepare", "Start", "Status", "PrepareCut", "SwitchCut", "ReleaseCut", "Finish"),
    *("Profile", "Time"),
)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\x00", b"\x0a\x02\xff\xfe"], ids=["junk", "no text"])
@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_message_are_an_invalid_argument(chain, method, data):
    with grpc.insecure_channel(f"127.0.0.1:{chain.control['client']}") as channel:
        path = f"/slicebed_agent.rpc.v1.Control/{method}"
        if method == "PutModel":
            code, said = refusal_of(channel.stream_unary(path), iter([data]))
        else:
            code, said = refusal_of(channel.unary_unary(path), data)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert said == f"{method}: these bytes are no message of this call; use agents and slicebed of one version"


def test_a_disk_that_refuses_is_told_by_its_file(lone):
    stub, folder = lone
    (folder / "models").write_text("in the way")
    code, said = refusal_of(stub.HasModel, agent_pb2.ModelFile(sha256="0" * 64, size_bytes=1))
    assert code == grpc.StatusCode.ABORTED
    assert said == f"{folder}/models/{'0' * 64}: Not a directory; see its log: slicebed gather"
