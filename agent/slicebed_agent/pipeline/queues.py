"""The queue between two stages: bounded; what becomes of a frame that finds no place is the queue's policy."""

from __future__ import annotations

import collections
import enum
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Policy(enum.StrEnum):
    """What becomes of an item that finds no place."""

    NEWEST = "newest"
    OLDEST = "oldest"
    BLOCK = "block"


class BoundedQueue(Generic[Item]):
    """First in, first out, with a fixed number of places."""

    def __init__(self, places: int, policy: Policy = Policy.NEWEST) -> None:
        """Make an empty queue of `places`, at least 1."""
        if places < 1:
            raise ValueError(f"a queue of {places} places")
        self.places, self.policy = places, policy
        self._items: collections.deque[Item] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False

    def offer(self, item: Item) -> Item | None:
        """Add an item, and give back the one that has no place then.

        Returns:
            None when all have one. Else, by policy: NEWEST the item itself, OLDEST the one that waited longest; BLOCK
            waits for a place instead. Once the queue is closed, always the item itself.
        """
        with self._changed:
            if self.policy is Policy.BLOCK:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self.places)
            lost: Item | None = None
            if self._closed:
                return item
            if len(self._items) >= self.places:
                if self.policy is not Policy.OLDEST:
                    return item
                lost = self._items.popleft()
            self._items.append(item)
            self._changed.notify_all()
            return lost

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is an item to take; False when none came in time, or the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            return bool(self._items)

    def take(self) -> Item | None:
        """Wait for the next item; None once the queue is closed, whatever it still held."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if self._closed:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def why_lost(self) -> str:
        """Why an item that `offer` gave back has no place, as a sample says it."""
        return f"older than {self.places} that wait" if self.policy is Policy.OLDEST else "queue full"

    def close(self) -> list[Item]:
        """Wake whoever waits, refuse further items, and hand back those nobody took."""
        with self._changed:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return left

    @property
    def closed(self) -> bool:
        """True once nothing is taken any more."""
        return self._closed

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)
