"""What an agent says is one plain line for the user, whatever is wrong with it, and says nothing twice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slicebed.run.driver import blame
from slicebed_agent.rpc.v1 import agent_pb2

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
