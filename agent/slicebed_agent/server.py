"""The agent's process: Control and its health, the data plane, and a graceful end."""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from slicebed_agent import __version__
from slicebed_agent.control import Control
from slicebed_agent.data import DataPlane
from slicebed_agent.errors import AgentConfigError, OneLineError
from slicebed_agent.model import runtime
from slicebed_agent.model.execute.capi import library
from slicebed_agent.rpc import channel as channels
from slicebed_agent.strict import add_control

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.rpc.flight import Security

_LOG = logging.getLogger(__name__)
_CONTROL_CALLS: Final = 8
_GOODBYE_S: Final = 2.0
_SWITCH_S: Final = 0.0005


@dataclasses.dataclass(frozen=True)
class Options:
    """What `slicebed-agent serve` was told.

    Attributes:
        host: name of the testbed host, as in the inventory.
        control: loopback host:port of the Control service.
        data: host:port of the data plane, one or more.
        security: of the data plane.
        state_dir: where samples and model files are kept.
        model_bytes: how much of model files it keeps.
        grace_s: how long frames under way may take after SIGTERM.
    """

    host: str
    control: str
    data: tuple[str, ...]
    security: Security
    state_dir: Path
    model_bytes: int
    grace_s: float


class Agent:
    """Control and the data plane of one agent."""

    def __init__(self, options: Options) -> None:
        """Bind every address; Control serves nothing yet, and the data plane has no run to feed.

        Raises:
            AgentConfigError: an address is malformed, or Control would listen beyond this host.
            AgentError: an address cannot be listened on.
        """
        _check_loopback(options.control)
        self._options = options
        self.control = Control(options.host, options.state_dir, options.model_bytes, options.security)
        self._health = health.HealthServicer()
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server = channels.make_server(_CONTROL_CALLS)
        add_control(self.control, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.control_port = channels.bind(self._server, options.control)
        self._data = DataPlane(lambda: self.control.run, options.security)
        try:
            self.data_ports = tuple(self._data.listen(address) for address in options.data)
        except OneLineError:
            self._data.stop(0.0)
            raise

    def start(self) -> None:
        """Serve; healthy once TensorFlow's library is loaded, so that no run waits for that.

        Raises:
            AgentError: TensorFlow is not installed, or cannot be loaded.
        """
        self._server.start()
        _LOG.info(
            "slicebed-agent %s: host %s, control port %d, data ports %s (%s)",
            *(__version__, self._options.host, self.control_port, ", ".join(map(str, self.data_ports))),
            "mutual TLS" if self._options.security.mutual else "plaintext",
        )
        version = runtime.tensorflow_version()
        library()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        _LOG.info("ready: TensorFlow %s, %d cores", version, runtime.usable_cores())

    def stop(self) -> None:
        """Drain the current run for at most the grace, keep its samples, and stop serving."""
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.control.shutdown(self._options.grace_s)
        self._data.stop(_GOODBYE_S)
        self._server.stop(_GOODBYE_S).wait()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", "slicebed_agent.rpc.v1.Control"):
            self._health.set(service, status)


def serve(options: Options) -> None:
    """Run an agent until SIGTERM or SIGINT.

    Raises:
        AgentConfigError: see `Agent`.
        AgentError: see `Agent`; or TensorFlow cannot be loaded.
    """
    # While a cut is prepared Python is busy, and by default keeps a frame's thread waiting for 5 ms at every step: two
    # steps took 8 ms beside a busy thread, 1 ms with this.
    sys.setswitchinterval(_SWITCH_S)
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    agent = Agent(options)
    try:
        agent.start()
        asked.wait()
        _LOG.info("stopping: frames under way have %g s", options.grace_s)
    finally:
        agent.stop()
    _LOG.info("stopped")


def _check_loopback(address: str) -> None:
    host = address.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise AgentConfigError(
            f"Control may not listen on {address}", where="--control", mend="give a loopback address: 127.0.0.1:PORT"
        )
