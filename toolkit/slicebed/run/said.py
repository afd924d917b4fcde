"""What agents say when something is wrong, as an error line or an event takes it up: plain, and nothing of it twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from slicebed_agent.rpc.v1 import agent_pb2

_NOBODY_THERE: Final = {
    grpc.StatusCode.UNAVAILABLE: "the connection to it is refused or lost",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time",
    # What was under way when the connection was made anew.
    grpc.StatusCode.CANCELLED: "the connection to it was closed",
}
# What Python's gRPC sends for an exception that a server or a client did not expect; what follows is Python's own.
_UNEXPECTED: Final = ("Exception ", "Unexpected <class")


def reason_of(status: agent_pb2.StatusReply) -> str:
    """Why a run failed, without the host and the stage that the agent puts before it and has fields for."""
    return status.error.removeprefix(f"{status.error_host}: {status.error_stage}: ")


def is_gone(error: grpc.RpcError) -> bool:
    """Whether nobody answered; else an agent did, and refused."""
    return not isinstance(error, grpc.Call) or error.code() in _NOBODY_THERE


def refusal_of(error: grpc.RpcError, host: str) -> str:
    """Why a call failed, in words without gRPC's, Python's, or the host's name, which is told beside it.

    Args:
        error: of the call.
        host: whose agent was called.
    """
    if not isinstance(error, grpc.Call):
        return "the call was not made: the connection is closed"
    if error.code() in _NOBODY_THERE:
        return _NOBODY_THERE[error.code()]
    said = " ".join((error.details() or "").split()).removeprefix(f"{host}: ")
    if not said or said.startswith(_UNEXPECTED):
        return "the agent failed over this request; see its log: slicebed gather"
    return said
