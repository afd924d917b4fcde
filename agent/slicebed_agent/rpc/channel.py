"""One factory for Control's channels and servers, so that both ends agree on limits, windows and keepalive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slicebed_agent.errors import AgentError
from slicebed_agent.rpc.address import split

SERVING: Final = "SERVING"

MESSAGE_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""Longest message either side takes; a piece of a model's file is 1 MiB."""

KEEPALIVE_MS: Final = 5_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000

_SHARED: Final = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    # A killed process closes its connections and is noticed at once; a tunnel that hangs only by an unanswered ping.
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
_CHANNEL: Final = (
    *_SHARED,
    # An agent that was restarted is found again within a second ...
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # ... and a handshake through a slow tunnel has the time it needs: despite its name this option is its timeout.
    ("grpc.min_reconnect_backoff_ms", 20_000),
    # Straight to the address that was given, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_SERVER: Final = (
    *_SHARED,
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    # A second agent on the same address is an error, not a sharer of its connections.
    ("grpc.so_reuseport", 0),
)


def open_channel(address: str) -> grpc.Channel:
    """A channel to host:port; it connects on first use and again whenever it was lost."""
    return grpc.insecure_channel(address, options=_CHANNEL)


def ask_health(channel: grpc.Channel, timeout_s: float, *, wait: bool) -> str:
    """Ask the agent at the other end how it is: one round trip.

    Args:
        channel: leads to Control of an agent.
        timeout_s: how long the answer may take.
        wait: try to connect until then; else give up when the first attempt fails.

    Returns:
        SERVING, NOT_SERVING, or the gRPC status that kept it from answering, such as UNAVAILABLE.
    """
    try:
        reply = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=wait
        )
    except grpc.RpcError as error:
        return str(error.code().name) if isinstance(error, grpc.Call) else type(error).__name__
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def make_server(threads: int) -> grpc.Server:
    """A server that runs at most `threads` calls at a time and refuses more with RESOURCE_EXHAUSTED."""
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rpc")
    return grpc.server(pool, options=_SERVER, maximum_concurrent_rpcs=threads)


def bind(server: grpc.Server, address: str) -> int:
    """Listen on host:port (port 0: any free one).

    Returns:
        The port.

    Raises:
        AgentConfigError: the address is not host:port.
        AgentError: it cannot be listened on.
    """
    split(address)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise AgentError(
            "cannot listen", where=address, mend="is the address this host's, and does another agent hold the port?"
        ) from error
    return int(bound)
