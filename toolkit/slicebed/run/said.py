"""What agents say when something is wrong, as an error line or an event takes it up: plain, and nothing of it twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slicebed_agent.rpc.v1 import agent_pb2


def reason_of(status: agent_pb2.StatusReply) -> str:
    """Why a run failed, without the host and the stage that the agent puts before it and has fields for."""
    return status.error.removeprefix(f"{status.error_host}: {status.error_stage}: ")
