"""Brings files to the hosts: once to each, to all at the same time, through the held SSH connections."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from slicebed.errors import ProvisionError, RunError
from slicebed.run.files import RunFile
from slicebed.spec.pipeline import StageKind
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from slicebed.run.connection import HostConnection
    from slicebed.run.layout import HostStages
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.split.model import OpenedModel

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.2
# The host may compare a large file with its hash before it answers.
_ASK_TIMEOUT_S = 120.0
_STALL_S = 30.0
# A host that was sent everything still brings it to its disk, which may be a slow one.
_SETTLE_S = 180.0


@dataclass(frozen=True)
class ModelPlacement:
    """A file that hosts have: a model's, an early exit's head, a video, a folder of pictures.

    Attributes:
        sha256: of its content.
        size_bytes: its size.
        sent: hosts that got it now; the others had it.
        seconds: by host, from the beginning until it was known to be there.
    """

    sha256: str
    size_bytes: int
    sent: tuple[str, ...]
    seconds: Mapping[str, float]


def place_model(
    connections: Mapping[str, HostConnection], opened: OpenedModel, say: Callable[[str], None]
) -> ModelPlacement:
    """Make sure that every host has the model's file; a host that has it is sent nothing.

    Args:
        connections: held, by host.
        opened: the model.
        say: told how much is sent, some times a second.

    Raises:
        RunError: the file did not come to a host, which is named. The transfers to the others are ended; what had
            come of the file is on no host, and who had it whole keeps it.
    """
    return place_file(connections, model_file(opened), say)


def model_file(opened: OpenedModel) -> RunFile:
    """A model's frozen graph."""
    frozen = opened.frozen
    return RunFile(opened.name, frozen.path, frozen.graph_sha256(), frozen.card.graph_bytes)


def place_file(connections: Mapping[str, HostConnection], file: RunFile, say: Callable[[str], None]) -> ModelPlacement:
    """Make sure that every host has a file; as `place_model`."""
    begin = time.monotonic()
    wanted = agent_pb2.ModelFile(sha256=file.sha256, size_bytes=file.size_bytes)
    asked = [_Question(host, connection, wanted, file) for host, connection in connections.items()]
    _finish(asked, lambda: None)
    sent = [_Transfer(call.host, call.connection, wanted, file) for call in asked if not call.present]
    _finish(sent, lambda: say(_progress(file.name, sent)))
    return ModelPlacement(
        file.sha256,
        file.size_bytes,
        sent=tuple(call.host for call in sent),
        seconds={call.host: (call.ended_at or begin) - begin for call in (*asked, *sent)},
    )


def files_by_host(
    opened: OpenedModel, model: SlicedModel, layouts: Iterable[tuple[HostStages, ...]]
) -> dict[RunFile, tuple[str, ...]]:
    """Which hosts need which files.

    Args:
        opened: the model.
        model: what is known of its cuts.
        layouts: of every run, its hosts with their stages.

    Returns:
        The model on the camera's host, which asks the whole of it, and on those with slices; heads where their exits
        are; the camera's pictures beside it.
    """
    whole = model_file(opened)
    found: dict[RunFile, dict[str, None]] = {whole: {}}
    for layout in layouts:
        camera = layout[0].host
        found[whole][camera] = None
        if model.pictures is not None:
            found.setdefault(model.pictures, {})[camera] = None
        for each in layout:
            for stage in each.stages:
                if stage.kind is StageKind.SLICE:
                    found[whole][each.host] = None
                elif stage.head is not None:
                    found.setdefault(stage.head.file, {})[each.host] = None
    return {file: tuple(hosts) for file, hosts in found.items()}


def place_files(
    connections: Mapping[str, HostConnection],
    wanted: Mapping[RunFile, Sequence[str]],
    say: Callable[[str], None],
) -> dict[str, ModelPlacement]:
    """Bring every file to the hosts that need it, one file after the other; by the file's name.

    Raises:
        RunError: as of `place_model`.
    """
    return {
        file.name: place_file({host: connections[host] for host in hosts}, file, say) for file, hosts in wanted.items()
    }


class _Call:
    """A call to one host's agent that is under way."""

    def __init__(self, host: str, connection: HostConnection, file: RunFile) -> None:
        self.host, self.connection, self.file = host, connection, file
        self.future: grpc.Future[Any]
        self.ended_at: float | None = None

    def trouble(self) -> str | None:
        """What has gone wrong; also notes when the call ended."""
        if not self.future.done():
            return None
        self.ended_at = self.ended_at or time.monotonic()
        error = self.future.exception()
        return error.details() if isinstance(error, grpc.Call) else None if error is None else str(error)

    def error(self, said: str) -> RunError:
        """The file did not come to this host."""
        try:
            state = self.connection.container_state()
        except ProvisionError as lost:
            state = str(lost)
        return RunError(
            f"the file of {self.file.name} was not taken ({said}); {state}",
            where=f"host {self.host}, stage model",
            mend="see its log (slicebed gather), then run again",
        )


class _Question(_Call):
    """Whether a host has the file."""

    def __init__(self, host: str, connection: HostConnection, wanted: agent_pb2.ModelFile, file: RunFile) -> None:
        super().__init__(host, connection, file)
        self.future = connection.control.HasModel.future(wanted, timeout=_ASK_TIMEOUT_S)

    @property
    def present(self) -> bool:
        """The answer, once there is one."""
        return bool(self.future.result().present)


class _Transfer(_Call):
    """The file on its way to a host."""

    def __init__(self, host: str, connection: HostConnection, wanted: agent_pb2.ModelFile, file: RunFile) -> None:
        super().__init__(host, connection, file)
        self.size_bytes = file.size_bytes
        self.sent_bytes = 0
        self._moved_at = time.monotonic()
        self._unreadable: OSError | None = None
        self.future = connection.control.PutModel.future(self._chunks(wanted))

    def trouble(self) -> str | None:
        """As of every call; also a file that cannot be read, and a host that takes nothing for too long."""
        said = super().trouble()
        if self._unreadable is not None:
            # The agent, too, refuses a file that ends early; here is why it did.
            return f"it cannot be read here: {self._unreadable}"
        limit_s = _STALL_S if self.sent_bytes < self.size_bytes else _SETTLE_S
        if self.ended_at is None and time.monotonic() - self._moved_at > limit_s:
            return f"nothing moved for {limit_s:.0f} s"
        return said

    def _chunks(self, wanted: agent_pb2.ModelFile) -> Iterator[agent_pb2.ModelChunk]:
        yield agent_pb2.ModelChunk(file=wanted)
        try:
            with self.file.path.open("rb") as stream:
                while data := stream.read(_CHUNK_BYTES):
                    yield agent_pb2.ModelChunk(data=data)
                    self.sent_bytes += len(data)
                    self._moved_at = time.monotonic()
        except OSError as error:
            self._unreadable = error


def _finish(calls: Sequence[_Call], tell: Callable[[], None]) -> None:
    """Wait until every call has ended well; when one has not, or on Ctrl-C, end the others."""
    woken = threading.Event()
    for call in calls:
        call.future.add_done_callback(lambda _: woken.set())
    try:
        while True:
            troubles = [(call, said) for call in calls if (said := call.trouble()) is not None]
            if troubles or all(call.ended_at is not None for call in calls):
                break
            tell()
            woken.wait(_POLL_S)
            woken.clear()
    finally:
        for call in calls:
            call.future.cancel()
    if troubles:
        failed, said = troubles[0]
        raise failed.error(said)


def _progress(name: str, sent: Sequence[_Transfer]) -> str:
    done_mb = sum(call.sent_bytes for call in sent) / 1e6
    whole_mb = sum(call.size_bytes for call in sent) / 1e6
    return f"sent {done_mb:.0f} of {whole_mb:.0f} MB of {name} to {', '.join(call.host for call in sent)}"
