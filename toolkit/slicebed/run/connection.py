"""SSH to a host (fabric over paramiko), and the agent's control service through it."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import grpc
from paramiko.ssh_exception import SSHException

from slicebed.errors import ProvisionError
from slicebed.run.tunnel import Tunnel
from slicebed.testbed.channel import channel_over
from slicebed.testbed.ssh import ssh_connection
from slicebed_agent.rpc.v1 import agent_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from fabric import Connection

    from slicebed.testbed.channel import HostChannel
    from slicebed.testbed.inventory import InventoryHost

_AGENT_CONTROL_PORT = 7070
_SPOOL = "/var/lib/slicebed/agent/spool"
# What of a file that is fetched this machine refuses; of a host's refusals SFTP has no such numbers.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class HostConnection:
    """A held SSH connection to one host: the agent's Control service through a tunnel, and the host tools' channel.

    The agent's control port listens on the host's loopback; nothing is opened on any network.
    """

    def __init__(self, host: InventoryHost) -> None:
        """Remember the host; `with` opens the connection."""
        self.host = host
        self._stack = ExitStack()
        self._ssh: Connection
        self.control: agent_pb2_grpc.ControlStub
        self.channel: HostChannel

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ProvisionError: no SSH connection, an unknown host key, or a refused login.
        """
        ssh = self._stack.enter_context(ssh_connection(self.host))
        self._ssh = ssh
        self.channel = self._stack.enter_context(channel_over(ssh, self.host))
        tunnel = self._stack.enter_context(Tunnel(ssh.transport, _AGENT_CONTROL_PORT))
        channel = grpc.insecure_channel(
            f"127.0.0.1:{tunnel.port}",
            options=[
                # A proxy of the shell's environment is not between this process and its own tunnel.
                ("grpc.enable_http_proxy", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._stack.callback(channel.close)
        self.control = agent_pb2_grpc.ControlStub(channel)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the tunnel and the connection."""
        self._stack.close()

    def command(self, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run a command on the host; give its exit code and its standard output.

        Raises:
            ProvisionError: it did not end in time, or the connection broke.
        """
        try:
            # paramiko joins no words: every word here is a plain token (an address, an option, a name).
            done = self._ssh.run(" ".join(argv), hide=True, warn=True, in_stream=False, timeout=timeout_s)
        except Exception as error:
            raise ProvisionError(f"{argv[0]} did not end: {error}", where=f"host {self.host.name}") from error
        return done.exited, done.stdout

    def fetch_samples(self, run_id: str, destination: Path) -> bool:
        """Copy the agent's samples of a run; False when the host has none.

        Raises:
            ProvisionError: the connection broke.
            OSError: there is no room for them here.
        """
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._ssh.get(f"{_SPOOL}/{run_id}/{self.host.name}.jsonl", str(destination))
        except FileNotFoundError:
            destination.unlink(missing_ok=True)
            return False
        except (OSError, SSHException, EOFError) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise
            raise ProvisionError(f"samples were not fetched: {error}", where=f"host {self.host.name}") from error
        return True

    def remove_samples(self, run_id: str) -> None:
        """Remove the agent's samples of a run, which are fetched and checked.

        Raises:
            ProvisionError: the connection broke.
        """
        try:
            files = self._ssh.sftp()
            files.remove(f"{_SPOOL}/{run_id}/{self.host.name}.jsonl")
            files.rmdir(f"{_SPOOL}/{run_id}")
        except (OSError, SSHException, EOFError) as error:
            raise ProvisionError(f"samples were not removed: {error}", where=f"host {self.host.name}") from error

    def container_state(self) -> str:
        """Say what the engine knows of the agent's container, for an error line."""
        argv = [self.host.engine, "container", "inspect", "--format", "'{{.State.Status}} {{.State.ExitCode}}'"]
        code, said = self.command([*argv, "slicebed-agent"], timeout_s=10)
        if code != 0:
            return "no container slicebed-agent"
        status, _, exit_code = said.strip().partition(" ")
        return f"container {status}" + (f" with exit code {exit_code}" if status == "exited" else "")
