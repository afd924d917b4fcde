"""The queue between two stages: bounded, and never a brake on the one who fills it."""

from __future__ import annotations

import collections
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BoundedQueue(Generic[Item]):
    """First in, first out, with a fixed number of places."""

    def __init__(self, places: int) -> None:
        """Make an empty queue of `places`, at least 1."""
        if places < 1:
            raise ValueError(f"a queue of {places} places")
        self.places = places
        self._items: collections.deque[Item] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False

    def offer(self, item: Item) -> bool:
        """Add the item, or return False at once when the queue is full or closed."""
        with self._changed:
            if self._closed or len(self._items) >= self.places:
                return False
            self._items.append(item)
            self._changed.notify()
            return True

    def take(self) -> Item | None:
        """Wait for the next item; None once the queue is closed, whatever it still held."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            return None if self._closed else self._items.popleft()

    def close(self) -> list[Item]:
        """Wake whoever waits, refuse further items, and hand back those nobody took."""
        with self._changed:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return left

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)
