"""The held channel to a host's tools: one SSH session, requests and answers as lines of JSON, no new open port."""

from __future__ import annotations

import itertools
import json
import shlex
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError
from slicebed.testbed.host_tools import HOST_DIRECTORY
from slicebed.testbed.ssh import ssh_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fabric import Connection
    from paramiko import Channel as Session

    from slicebed.testbed.inventory import InventoryHost

# An answer holds the samples of a probe; more than this from a host is not an answer.
MAX_ANSWER_BYTES = 64 << 20
_END_TIMEOUT_S = 2.0
_COMMAND = f"PYTHONPATH={shlex.quote(HOST_DIRECTORY)}/lib exec /usr/bin/python3 -m slicebed_agent.host serve"


class HostChannel:
    """Speaks with one host's tools; several requests may be under way at once."""

    def __init__(self, host: InventoryHost, session: Session) -> None:
        """Take an SSH session on which the far end already runs."""
        self.host = host
        self._session = session
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._gone: ProvisionError | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, verb: str, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask the host for one verb and wait for its answer.

        Raises:
            ProvisionError: the host refused (its own words), did not answer in time, or the session broke.
        """
        number = next(self._numbers)
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._waiting[number] = answer
            line = json.dumps({"id": number, "verb": verb, "request": request})
            try:
                self._session.sendall(line.encode() + b"\n")
            except OSError as error:
                # The reader knows better why.
                self._reader.join(_END_TIMEOUT_S)
                broke = ProvisionError(f"the SSH session broke: {error}", where=f"host {self.host.name}")
                raise self._gone or broke from error
        try:
            message = answer.result(timeout_s)
        except FutureTimeoutError:
            raise ProvisionError(
                f"{verb} did not answer in {timeout_s:g} s", where=f"host {self.host.name}", mend="look at the host"
            ) from None
        finally:
            self._waiting.pop(number, None)
        if (refusal := message.get("error")) is not None:
            where = f"host {self.host.name}" + (f", {refusal['where']}" if refusal.get("where") else "")
            raise ProvisionError(str(refusal["what"]), where=where, mend=refusal.get("mend"))
        result: dict[str, Any] = message["result"]
        return result

    def _read(self) -> None:
        said = "it ended"
        with self._session.makefile("rb") as answers:
            while line := answers.readline(MAX_ANSWER_BYTES):
                try:
                    message = json.loads(line)
                    waiting = self._waiting.get(message["id"])
                except (ValueError, KeyError, TypeError):
                    said = f"not an answer: {line[:80]!r}"
                    break
                # Nobody waits any more for an answer that came too late.
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        errors = self._session.makefile_stderr("rb").read().decode(errors="replace").strip().splitlines()
        self._gone = ProvisionError(
            f"no host tools answer: {errors[-1] if errors else said}",
            where=f"host {self.host.name}",
            mend="slicebed apply brings them to the host",
        )
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(self._gone)


@contextmanager
def open_channel(host: InventoryHost) -> Iterator[HostChannel]:
    """Hold a channel to a host for the `with` block.

    Raises:
        ProvisionError: no SSH connection, or no host tools there.
    """
    with ssh_connection(host) as ssh, channel_over(ssh, host) as channel:
        yield channel


@contextmanager
def channel_over(ssh: Connection, host: InventoryHost) -> Iterator[HostChannel]:
    """Hold a channel over an SSH connection that is open already."""
    session = ssh.transport.open_session()
    try:
        session.exec_command(_COMMAND)
        yield HostChannel(host, session)
    finally:
        session.close()


@contextmanager
def open_channels(hosts: Mapping[str, InventoryHost]) -> Iterator[dict[str, HostChannel]]:
    """Hold a channel to every host, opened at once."""
    with ExitStack() as stack:
        with ThreadPoolExecutor(max(1, len(hosts))) as pool:
            opening = {name: pool.submit(_entered, host) for name, host in hosts.items()}
        # All have ended: those that opened are closed again also when another did not.
        failures = [error for future in opening.values() if (error := future.exception()) is not None]
        opened = {}
        for name, future in opening.items():
            if future.exception() is None:
                own, opened[name] = future.result()
                stack.push(own)
        if failures:
            raise failures[0]
        yield opened


def _entered(host: InventoryHost) -> tuple[ExitStack, HostChannel]:
    with ExitStack() as stack:
        channel = stack.enter_context(open_channel(host))
        return stack.pop_all(), channel


def on_all(channels: Mapping[str, HostChannel], act: Callable[[str, HostChannel], Any]) -> dict[str, Any]:
    """Do one thing on every host at once; the first failure is raised once all have ended."""
    with ThreadPoolExecutor(max(1, len(channels))) as pool:
        under_way = {name: pool.submit(act, name, channel) for name, channel in channels.items()}
    return {name: future.result() for name, future in under_way.items()}
