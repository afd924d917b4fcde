"""The held channel: one process on the host, spoken to in lines of JSON over an SSH session; no port is opened.

A request is ``{"id": 1, "verb": "plan", "request": {...}}``; its answer, in whatever order acts end, is
``{"id": 1, "result": {...}}`` or ``{"id": 1, "error": {"what", "where", "mend"}}``.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError, OneLineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

# Room for the wish of a host with twenty thousand peers.
MAX_LINE_BYTES = 16 << 20
CHANGES = frozenset({"apply", "restore", "put_back"})


class Service:
    """Answers requests until the session ends."""

    def __init__(self, handlers: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]], answers: BinaryIO) -> None:
        """Take what each verb does, and where answers go."""
        self._handlers = handlers
        self._answers = answers
        self._writing = threading.Lock()

    def serve(self, requests: BinaryIO) -> None:
        """Answer every line; each request has a thread of its own, since a probe runs for minutes."""
        while line := requests.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n"):
                self._answer({"id": None, "error": _plain(HostError(f"a request of over {MAX_LINE_BYTES} bytes"))})
                return
            try:
                message = dict(json.loads(line))
            except (ValueError, TypeError) as error:
                self._answer({"id": None, "error": _plain(HostError(f"not a request: {error}"))})
                continue
            # The session may end at any time; a measure ends with it, a change is brought to its end first.
            is_change = message.get("verb") in CHANGES
            threading.Thread(target=self._handle, args=(message,), daemon=not is_change).start()

    def _handle(self, message: dict[str, Any]) -> None:
        identity: object = message.get("id")
        try:
            answer = {"id": identity, "result": self._handler(message["verb"])(message.get("request") or {})}
        except OneLineError as error:
            answer = {"id": identity, "error": _plain(error)}
        except Exception as error:  # noqa: BLE001 - the far end must hear of every failure, else it waits for ever
            answer = {"id": identity, "error": _plain(HostError(f"{type(error).__name__}: {error}"))}
        self._answer(answer)

    def _handler(self, verb: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
        handler = self._handlers.get(str(verb))
        if handler is None:
            raise HostError(f"unknown verb {verb!r}", mend=f"allowed: {', '.join(sorted(self._handlers))}")
        return handler

    def _answer(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode() + b"\n"
        # Nobody may be there any more to hear how a change ended; its record on disk says so too.
        with self._writing, suppress(BrokenPipeError):
            self._answers.write(data)
            self._answers.flush()


def _plain(error: OneLineError) -> dict[str, str | None]:
    return {"what": error.what, "where": error.where, "mend": error.mend}
