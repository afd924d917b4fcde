"""Something slow, done ahead in a thread of its own, so that whoever takes from it need not wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from slicebed_agent.errors import AgentError
from slicebed_agent.pipeline.queues import BoundedQueue, Policy

if TYPE_CHECKING:
    from collections.abc import Generator

Item = TypeVar("Item")

_PATIENCE_S: Final = 2.0
_PATIENCE: Final = 0.1
"""Waiting more than both, seconds and share of the time, is a film that decodes too slowly, not a busy moment."""
_JOIN_S: Final = 5.0


class Ahead(Generic[Item]):
    """Items of a generator, some of which are always ready."""

    def __init__(self, items: Generator[Item], places: int, where: str) -> None:
        """Begin.

        Args:
            items: the thread's alone from now on, which closes them.
            places: how many are kept ready.
            where: what they are of, for errors.
        """
        self._items, self._where = items, where
        self._ready: BoundedQueue[Item | Exception | None] = BoundedQueue(places, Policy.BLOCK)
        self._begun_s: float | None = None
        self._waited_s = 0.0
        self._taken = 0
        self._over = False
        self._thread = threading.Thread(target=self._work, name=f"ahead-{where[-40:]}", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it is as far ahead as it gets; or until it is over, or so long."""
        deadline_s = time.monotonic() + timeout_s
        while self._thread.is_alive() and len(self._ready) < self._ready.places and time.monotonic() < deadline_s:
            time.sleep(0.005)

    def take(self) -> Item | None:
        """The next item; None when there are no more, and ever after.

        Raises:
            AgentError: as the generator raised it; or items are taken faster than it makes them.
        """
        if self._over:
            return None
        begin_s = time.monotonic()
        self._begun_s = begin_s if self._begun_s is None else self._begun_s
        item = self._ready.take()
        self._taken += 1
        self._waited_s += time.monotonic() - begin_s
        if isinstance(item, Exception):
            self._over = True
            raise item
        if item is None:
            self._over = True
        elif self._waited_s > max(_PATIENCE_S, _PATIENCE * (time.monotonic() - self._begun_s)):
            raise AgentError(
                f"only {self._taken / (time.monotonic() - self._begun_s):.1f} frames/s can be decoded here",
                where=self._where,
                mend="lower the rate, the resolution or the batch size, or give a video that is easier to decode",
            )
        return item

    def close(self) -> None:
        """End the thread, in the middle of an item at the latest after that item."""
        self._ready.close()
        self._thread.join(_JOIN_S)

    def _work(self) -> None:
        last: Exception | None = None
        try:
            for item in self._items:
                if self._ready.offer(item) is not None:
                    break
        except Exception as error:  # noqa: BLE001 - the one who takes is told, whatever it was
            last = error
        self._ready.offer(last)
        self._items.close()
