"""What an agent says is one plain line for the user, whatever is wrong with it, and says nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest

from slicebed.errors import RunError
from slicebed.run.driver import blame, prepare_host
from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

FULL = "samples cannot be written: No space left on device"


class Agent:
    """A host whose agent tells one status."""

    def __init__(self, status):
        self.control, self.status = self, status

    def Status(self, _request, timeout):  # noqa: N802 - as the service calls it
        return self.status


@pytest.mark.parametrize(
    "said",
    [
        {"error": f"edge: agent: {FULL}", "error_host": "edge", "error_stage": "agent"},
        {"error": FULL, "error_host": "edge", "error_stage": "agent"},
    ],
)
def test_the_error_of_a_run_names_host_and_stage_once(said):
    status = agent_pb2.StatusReply(phase=agent_pb2.RUN_PHASE_FAILED, **said)
    connections = dict.fromkeys(("client", "edge"), Agent(status))
    job = SimpleNamespace(chain=("client", "edge"), run_id="r", model=SimpleNamespace(pictures=None))
    assert str(blame(connections, job, "client", status)) == f"host edge, stage agent: {FULL}"


class Refusing(agent_pb2_grpc.ControlServicer):
    """A server that does with Prepare what the run's name says."""

    def Prepare(self, request, context):  # noqa: N802 - as the service calls it
        if request.run_id == "refuse":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "edge: stages: none is not allowed;\nallowed: one or more")
        raise KeyError(request.run_id)


class Reached:
    """A host with a server on this machine, or with nobody."""

    def __init__(self, port):
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
        self.control = agent_pb2_grpc.ControlStub(self._channel)

    def container_state(self):
        return "container exited with exit code 137"


@pytest.fixture(scope="module")
def port():
    server = grpc.server(ThreadPoolExecutor(2))
    agent_pb2_grpc.add_ControlServicer_to_server(Refusing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@pytest.mark.parametrize(
    ("run_id", "says"),
    [
        ("refuse", "stages: none is not allowed; allowed: one or more"),
        ("raise", "the agent failed over this request; see its log: slicebed gather"),
    ],
)
def test_an_agent_that_refuses_is_told_in_its_words_and_is_not_called_silent(port, run_id, says):
    with pytest.raises(RunError) as refused:
        prepare_host({"edge": Reached(port)}, "edge", agent_pb2.RunConfig(run_id=run_id))
    assert str(refused.value) == f"host edge, stage prepare: {says}"


def test_nobody_there_is_told_with_the_containers_state_and_without_the_tunnels_address():
    with pytest.raises(RunError) as refused:
        prepare_host({"edge": Reached(1)}, "edge", agent_pb2.RunConfig())
    assert str(refused.value) == (
        "host edge, stage prepare: the agent does not answer (the connection to it is refused or lost);"
        " container exited with exit code 137;"
        " see its log (slicebed gather), then run again; slicebed run starts a stopped agent"
    )
