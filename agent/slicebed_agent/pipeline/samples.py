"""The spool file: one JSON line per event, on its way to the disk as soon as it happened."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Spool:
    """Writes the samples of one run; any thread may write, lines never mix.

    A line is handed to the operating system at once, so that a killed agent loses none; `close` waits for the disk.
    When the disk refuses a line, whole lines stay, the later ones are counted only, and the last one is tried again.

    Attributes:
        path: of the file.
        lines: written.
        lost: refused by the disk, or not tried after that.
    """

    def __init__(self, path: Path, on_refused: Callable[[str], None] | None = None) -> None:
        """Start the file anew.

        Args:
            path: of the file; its folder is made.
            on_refused: told once, in the writing thread, why the disk refused a line.

        Raises:
            AgentError: it cannot be written.
        """
        self.path = path
        self.lines = 0
        self.lost = 0
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._whole_bytes = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._refused(error) from error

    def begin(self, line: Mapping[str, object]) -> None:
        """Write the first line.

        Raises:
            AgentError: the disk refuses it; nothing else can be written either.
        """
        try:
            with self._lock:
                self._append(line)
        except OSError as error:
            self.close(None)
            raise self._refused(error) from error

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line; nothing after `close`."""
        with self._lock:
            if self._file is None:
                return
            if self.lost:
                self.lost += 1
                return
            try:
                self._append(line)
            except OSError as error:
                self.lost = 1
                why = f"samples cannot be written: {error.strerror}"
            else:
                return
        # Outside of the lock: whoever is told may want to write.
        if self._on_refused is not None:
            self._on_refused(why)

    def close(self, last: Mapping[str, object] | None) -> None:
        """Append the last line and wait until the file is on the disk; `lost` tells when that was refused."""
        with self._lock:
            if self._file is None:
                return
            try:
                if last is not None:
                    self._append({**last, "lost": self.lost} if self.lost else last)
                os.fsync(self._file)
            except OSError:
                self.lost += 1
            os.close(self._file)
            self._file = None

    def _append(self, line: Mapping[str, object]) -> None:
        """Write a whole line or none."""
        if self._file is None:
            return
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._whole_bytes)
            os.lseek(self._file, self._whole_bytes, os.SEEK_SET)
            raise
        self._whole_bytes += len(data)
        self.lines += 1

    def _refused(self, error: OSError) -> AgentError:
        return AgentError(
            f"cannot write samples: {error.strerror}",
            where=str(self.path),
            mend="check --state-dir, its owner and the room on its disk",
        )
