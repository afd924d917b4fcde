"""Links that break and are opened again, for the timeline; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.run.stream.figures import LinkFigures, StreamFigures

BROKEN: Final = "link broken"
REOPENED: Final = "link reopened"


@dataclass
class LinkWatch:
    """Remembers how every link stood at the last look."""

    _before: dict[str, LinkFigures] = field(default_factory=dict)

    def events(self, figures: StreamFigures) -> Iterator[tuple[str, str]]:
        """What became of the links since the last look: name of the event, and the link as tables call it.

        A host that does not answer says nothing of its link. One that broke and was open again between two looks gives
        both events.
        """
        for host in figures.hosts:
            if host.link is None:
                continue
            before, now = self._before.get(host.host), host.link
            self._before[host.host] = now
            name = f"{host.host} - {now.peer}"
            was_open = before is None or before.connected
            between = before is not None and was_open and now.reconnects > before.reconnects
            if was_open and (between or not now.connected):
                yield BROKEN, name
            if now.connected and (between or not was_open):
                yield REOPENED, name
