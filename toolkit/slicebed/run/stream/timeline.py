"""What happened to a stream and when: kept on disk as it happens, and told to whoever watches."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BEGINS: Final = "stream begins"
"""The event of the first frame."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        at_s: seconds since the stream began.
        name: ``cut asked``, ``agent lost``, ...
        facts: JSON-ready.
    """

    at_s: float
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """As manifests and the socket hold it."""
        return {"at_s": round(self.at_s, 3), "event": self.name, **self.facts}

    def __str__(self) -> str:
        """A line of the timeline."""
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in self.facts.items() if value not in ("", None))
        return f"{self.at_s:8.1f} s  {self.name}" + (f": {shown}" if shown else "")


class Timeline:
    """The events of one stream, in order; any thread may add to it."""

    def __init__(self, keep: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now.

        Args:
            keep: called with every event, in order, before `note` returns.
            clock: seconds.
        """
        self._keep, self._clock = keep, clock
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._hear: Callable[[Event], None] | None = None
        self.begun_s = clock()

    def note(self, name: str, **facts: Any) -> Event:
        """Add an event that happens now."""
        with self._lock:
            event = Event(self._clock() - self.begun_s, name, facts)
            self._events.append(event)
            self._keep(event)
            if self._hear is not None:
                self._hear(event)
        return event

    def hear(self, hear: Callable[[Event], None] | None) -> None:
        """Tell somebody else the events from now on, too; None for nobody."""
        with self._lock:
            self._hear = hear

    def events(self) -> tuple[Event, ...]:
        """All so far."""
        with self._lock:
            return tuple(self._events)

    def to_plain(self) -> list[dict[str, Any]]:
        """As manifests hold it."""
        return [event.to_plain() for event in self.events()]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, dict):
        return " ".join(f"{key}={_shown(each)}" for key, each in value.items())
    return ", ".join(map(_shown, value)) if isinstance(value, (list, tuple)) else str(value)
