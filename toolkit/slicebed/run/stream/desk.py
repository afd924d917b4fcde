"""How a running stream is asked for something: a JSON line over a Unix socket of the user's own, answered by lines."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from slicebed import errors
from slicebed.errors import ConflictError, MissingRequirementError, RunError, SlicebedError, SpecError
from slicebed.spec.cuts import digest
from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_LONGEST_LINE: Final = 1 << 20
_REQUEST_S: Final = 10.0
# struct sockaddr_un of Linux holds 108 bytes, the last of them zero.
_LONGEST_PATH: Final = 107
_START: Final = "start one: slicebed stream --model MODEL --cut A,B"
_KINDS: Final = {
    kind.exit_code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SlicebedError)
}

END_IT: Final = "end it: slicebed stream --stop"

Plain = dict[str, Any]
Tell = Callable[[Plain], None]


class Ask(StrEnum):
    """What a stream may be asked for."""

    SET_CUT = "set-cut"
    STATUS = "status"
    STOP = "stop"


@dataclass(frozen=True)
class Request:
    """A question: its kind, and the split points of a cut that is wanted."""

    ask: Ask
    cut: str = ""

    def to_plain(self) -> Plain:
        """As the socket carries it."""
        return {"ask": self.ask.value, "cut": self.cut}


def socket_path(inventory: Path) -> Path:
    """Where the stream on an inventory's hosts listens; one per inventory and user."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "slicebed" if runtime else Path.home() / ".local" / "state" / "slicebed"
    return folder / f"stream-{digest(str(inventory.resolve()))}.sock"


class Desk:
    """Takes requests, each in a thread of its own, until it is closed."""

    def __init__(self, path: Path, answer: Callable[[Request, Tell], Plain]) -> None:
        """Remember who answers; `with` opens the socket.

        Args:
            path: of the socket.
            answer: called with a request and a function that sends a line to whoever asked; gives the last line. What
                it raises of Slicebed's own is sent as an error.
        """
        self._path, self._answer = path, answer
        self._socket: socket.socket
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Listen; a socket that a killed stream left is replaced.

        Raises:
            MissingRequirementError: the socket cannot be made here.
            ConflictError: another stream listens there.
        """
        if len(os.fsencode(self._path)) > _LONGEST_PATH:
            what = f"a socket's path has at most {_LONGEST_PATH} bytes"
            raise MissingRequirementError(what, where=str(self._path), mend="set XDG_RUNTIME_DIR to a shorter one")
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if listens(self._path):
                raise ConflictError("a stream runs already", where=str(self._path), mend=END_IT)
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            what = f"no socket can be made: {error.strerror}"
            raise MissingRequirementError(what, where=str(self._path), mend="check the folder's rights") from error
        except SlicebedError:
            self._socket.close()
            raise
        threading.Thread(target=self._accept, name="desk", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no more requests; those under way get their last line first."""
        self._path.unlink(missing_ok=True)
        # close() alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(_REQUEST_S)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._serve, args=(line,), name="desk request", daemon=True)
            thread.start()
            # Started first: what is here may be joined at any moment.
            self._threads.append(thread)

    def _serve(self, line: socket.socket) -> None:
        def tell(said: Plain) -> None:
            # Whoever asked may have gone; what was asked for goes on.
            with contextlib.suppress(OSError):
                line.sendall(json.dumps(said).encode() + b"\n")

        with line:
            line.settimeout(_REQUEST_S)
            try:
                _require_own(line)
                last = {"done": True, **self._answer(_read_request(line), tell)}
            except OneLineError as error:
                last = {
                    "error": {"what": error.what, "where": error.where, "mend": error.mend, "code": error.exit_code}
                }
            except OSError:
                return
            tell(last)


def listens(path: Path) -> bool:
    """Whether a stream listens at a path; see `socket_path`."""
    try:
        with _connected(path):
            return True
    except MissingRequirementError:
        return False


def ask(path: Path, request: Request, hear: Tell) -> Plain:
    """Ask the stream that listens at a path.

    Args:
        path: see `socket_path`.
        request: what is wanted.
        hear: called with every line but the last.

    Returns:
        The last line.

    Raises:
        MissingRequirementError: no stream listens there.
        RunError: the stream ended before it had answered.
        SlicebedError: what the stream says went wrong, of its kind.
    """
    with _connected(path) as line:
        line.sendall(json.dumps(request.to_plain()).encode() + b"\n")
        with line.makefile("r", encoding="utf-8") as lines:
            for text in lines:
                said = json.loads(text)
                if said.get("done"):
                    return dict(said)
                if "error" in said:
                    raise _error(said["error"])
                hear(said)
    raise RunError("the stream ended before it answered", where="slicebed stream", mend="see its own words")


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    line = socket.socket(socket.AF_UNIX)
    try:
        try:
            line.connect(str(path))
        except OSError as error:
            raise MissingRequirementError(
                "no stream runs on the hosts of this inventory", where=str(path), mend=_START
            ) from error
        yield line
    finally:
        line.close()


def _error(said: Plain) -> SlicebedError:
    kind = _KINDS.get(said["code"], SlicebedError)
    return kind(said["what"], where=said["where"], mend=said["mend"])


def _require_own(line: socket.socket) -> None:
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    if user not in {0, os.getuid()}:
        raise ConflictError(f"user {user} may not", where="slicebed stream", mend="ask as the user who runs the stream")


def _read_request(line: socket.socket) -> Request:
    mend = "ask with slicebed stream --set-cut, --status or --stop"
    received = b""
    while not received.endswith(b"\n") and len(received) < _LONGEST_LINE:
        chunk = line.recv(1 << 16)
        if not chunk:
            break
        received += chunk
    try:
        fields = json.loads(received)
        return Request(Ask(fields["ask"]), str(fields.get("cut", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError("not a request", where="slicebed stream", mend=mend) from error
