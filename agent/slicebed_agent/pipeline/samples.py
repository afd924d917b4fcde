"""The spool file: one JSON line per event, on its way to the disk as soon as it happened."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, TextIO

from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path


class Spool:
    """Writes the samples of one run; any thread may write, lines never mix.

    A line is handed to the operating system at once, so that a killed agent loses none; `close` waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Start the file anew.

        Raises:
            AgentError: it cannot be written.
        """
        self.path = path
        self.lines = 0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO | None = path.open("w", encoding="utf-8")
        except OSError as error:
            raise AgentError(
                f"cannot write samples: {error.strerror}", where=str(path), mend="check --state-dir and its owner"
            ) from error

    def write(self, line: dict[str, object]) -> None:
        """Append one line; nothing after `close`."""
        text = json.dumps(line, separators=(",", ":")) + "\n"
        with self._lock:
            if self._file is not None:
                self._file.write(text)
                self._file.flush()
                self.lines += 1

    def close(self, last: dict[str, object]) -> None:
        """Append the last line and wait until the file is on the disk."""
        self.write(last)
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._file = None
