"""The agents of a stream: reached, asked together, and started again when they are gone."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from slicebed.errors import ProvisionError, RunError
from slicebed.run.connection import HostConnection
from slicebed.run.said import is_gone, refusal_of
from slicebed.run.stream.figures import Look
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from slicebed.testbed.inventory import InventoryHost

_STATUS_S: Final = 2.0
_ENGINE_S: Final = 60.0
# An agent's first seconds go into loading TensorFlow.
_HEALTHY_S: Final = 60.0
_HEALTHY_POLL_S: Final = 0.25
_CONTAINER: Final = "slicebed-agent"


class Agents:
    """Held connections to the agents of a chain; a connection that breaks is made again by `revive`."""

    def __init__(self, hosts: Mapping[str, InventoryHost], chain: Sequence[str]) -> None:
        """Remember the hosts; `with` connects.

        Args:
            hosts: of the inventory, at least those of the chain.
            chain: first to last.
        """
        self.chain = tuple(chain)
        self._hosts = {name: hosts[name] for name in chain}
        self._connections: dict[str, HostConnection] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(len(self.chain), thread_name_prefix="agents")

    def __enter__(self) -> Self:
        """Connect to all.

        Raises:
            ProvisionError: no SSH connection to a host.
        """
        try:
            for name, host in self._hosts.items():
                self._connections[name] = HostConnection(host).__enter__()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._pool.shutdown()
        for connection in self._connections.values():
            # A broken one has nothing left to close well.
            with contextlib.suppress(Exception):
                connection.__exit__(None, None, None)
        self._connections.clear()

    @property
    def connections(self) -> Mapping[str, HostConnection]:
        """By host; those of now."""
        with self._lock:
            return dict(self._connections)

    def connection(self, host: str) -> HostConnection:
        """That of now."""
        with self._lock:
            return self._connections[host]

    def call(self, host: str, method: str, request: Any, timeout_s: float) -> Any:
        """Call an agent's Control service.

        Args:
            host: whose agent.
            method: name of the call, such as ``PrepareCut``.
            request: its message.
            timeout_s: seconds until it must have answered.

        Raises:
            RunError: it is not there, or refuses; host and call are named.
        """
        try:
            return getattr(self.connection(host).control, method)(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise RunError(
                f"{method}: {refusal_of(error, host)}{self._state_unless_it_spoke(host, error)}", where=f"host {host}"
            ) from error

    def look(self, run_id: str) -> Look:
        """Ask every agent for its status, all at the same time."""
        request = agent_pb2.RunRequest(run_id=run_id)
        asked = {host: self._pool.submit(self._status, host, request) for host in self.chain}
        answers: dict[str, agent_pb2.StatusReply] = {}
        troubles: dict[str, str] = {}
        strangers: set[str] = set()
        for host, answer in asked.items():
            reply = answer.result()
            if isinstance(reply, grpc.RpcError):
                troubles[host] = "no answer" if is_gone(reply) else refusal_of(reply, host)
                strangers |= set() if is_gone(reply) else {host}
            else:
                answers[host] = reply
        return Look(time.monotonic(), answers, troubles, frozenset(strangers))

    def revive(self, host: str) -> None:
        """Make sure that a host's agent runs and answers: connect anew where that is needed, start its container.

        Raises:
            ProvisionError: no SSH connection.
            RunError: the container cannot be started, or its agent does not answer in time.
        """
        argv = [self._hosts[host].engine, "start", _CONTAINER]
        try:
            code, _ = self.connection(host).command(argv, _ENGINE_S)
        except ProvisionError:
            self._reconnect(host)
            code, _ = self.connection(host).command(argv, _ENGINE_S)
        if code != 0:
            raise RunError(
                f"{' '.join(argv)} ended with exit code {code}; {self.connection(host).container_state()}",
                where=f"host {host}",
                mend="see its log (slicebed gather); slicebed deploy makes the container anew",
            )
        self._await_health(host)

    def _await_health(self, host: str) -> None:
        deadline = time.monotonic() + _HEALTHY_S
        while True:
            try:
                self.connection(host).control.Describe(agent_pb2.DescribeRequest(), timeout=_STATUS_S)
            except grpc.RpcError as error:
                if time.monotonic() > deadline:
                    said = f"started, but does not answer within {_HEALTHY_S:.0f} s: {refusal_of(error, host)}"
                    raise RunError(
                        f"{said}{self._state_unless_it_spoke(host, error)}",
                        where=f"host {host}",
                        mend="see its log: slicebed gather",
                    ) from error
            else:
                return
            time.sleep(_HEALTHY_POLL_S)

    def _reconnect(self, host: str) -> None:
        fresh = HostConnection(self._hosts[host]).__enter__()
        with self._lock:
            broken, self._connections[host] = self._connections[host], fresh
        with contextlib.suppress(Exception):
            broken.__exit__(None, None, None)

    def _status(self, host: str, request: agent_pb2.RunRequest) -> agent_pb2.StatusReply | grpc.RpcError:
        try:
            reply: agent_pb2.StatusReply = self.connection(host).control.Status(request, timeout=_STATUS_S)
        except grpc.RpcError as error:
            return error
        except ValueError:
            # The connection was made anew at this moment, and its channel closed: Python's gRPC knows no better word.
            return grpc.RpcError()
        return reply

    def _state_unless_it_spoke(self, host: str, error: grpc.RpcError) -> str:
        if not is_gone(error):
            return ""
        try:
            return f"; {self.connection(host).container_state()}"
        except ProvisionError as lost:
            return f"; {lost}"
