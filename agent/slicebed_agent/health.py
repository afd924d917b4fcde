"""Asks a running agent how it is: for container health checks."""

from __future__ import annotations

from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slicebed_agent.rpc import channel as channels

SERVING: Final = "SERVING"


def check(address: str, timeout_s: float) -> str:
    """SERVING, NOT_SERVING, or the gRPC status that kept the agent from answering, such as UNAVAILABLE."""
    with channels.open_channel(address) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            return str(error.code().name) if isinstance(error, grpc.Call) else type(error).__name__
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))
