"""What the agent's container uses, read twice a second while a run is prepared or goes on."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reading = Mapping[str, int | None]

_LOG = logging.getLogger(__name__)
_EVERY_S: Final = 0.5
_LEVELS: Final = frozenset({"memory_bytes"})


class Sampler:
    """Reads a meter in a thread of its own and writes a line for each reading.

    Counters are told since the sampler was made, levels (memory) as they are.
    """

    def __init__(self, read: Callable[[], Reading], write: Callable[[dict[str, object]], None]) -> None:
        """Take the first reading; the thread begins with `start`.

        Args:
            read: the meter; None for what the host does not tell.
            write: takes a sample line.
        """
        self._read, self._write = read, write
        self._first = read()
        self._last = self._since(self._first)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="usage", daemon=True)

    @property
    def last(self) -> Reading:
        """The last reading."""
        return self._last

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """Read once more and end."""
        self._halt.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _sample(self) -> None:
        ended = False
        while not ended:
            ended = self._halt.wait(_EVERY_S)
            try:
                self._last = self._since(self._read())
            except OSError as error:
                _LOG.warning("usage cannot be read: %s", error)
                continue
            self._write({"kind": "usage", "at_ns": time.monotonic_ns(), **self._last})

    def _since(self, reading: Reading) -> Reading:
        found: dict[str, int | None] = {}
        for name, value in reading.items():
            first = self._first.get(name)
            if value is None or name in _LEVELS:
                found[name] = value
            else:
                found[name] = value - (first or 0)
        return found
