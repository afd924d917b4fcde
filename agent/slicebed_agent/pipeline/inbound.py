"""The inbound queue: it holds messages, so a frame in twenty parts takes twenty places.

A part that finds no place is lost, and its frame with it; the other parts of that frame still come and still take
places until the worker throws them away. Under small parts a busy worker therefore loses more than the frames it has
no time for: the effect of partial packet discard, A. Romanow and S. Floyd, "Dynamics of TCP Traffic over ATM Networks",
IEEE Journal on Selected Areas in Communications 13(4), 1995.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.contracts import End, Frame, Stage
from slicebed_agent.pipeline.parts import Part, Reassembler
from slicebed_agent.pipeline.queues import BoundedQueue

if TYPE_CHECKING:
    from slicebed_agent.pipeline.ledger import Ledger

_REMEMBERED: Final = 65536


@dataclasses.dataclass(slots=True)
class _Arrival:
    frame: Frame
    part_count: int
    parts: int = 0
    doomed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """What one message's place holds: the whole frame in the place of the part that completed it, else nothing."""

    frame: Frame
    payloads: list[bytes] | None


class Inbound:
    """Takes parts from the network without ever blocking it, hands whole frames to the worker."""

    def __init__(self, places: int, ledger: Ledger) -> None:
        """Make an empty queue of `places` messages."""
        self._ledger = ledger
        self._queue: BoundedQueue[_Place] = BoundedQueue(places)
        self._reassembler = Reassembler()
        self._arrivals: dict[int, _Arrival] = {}
        self._done: collections.OrderedDict[int, None] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._refusal: str | None = None

    def offer(self, part: Part) -> None:
        """Take one message that `parts.check` found sound.

        Raises:
            PayloadError: the message contradicts earlier ones of its frame, which has failed by that.
        """
        with self._lock:
            arrival = self._arrival(part)
            frame = arrival.frame
            arrival.parts += 1
            frame.parts_in = arrival.parts
            frame.bytes_in = (frame.bytes_in or 0) + len(part.payload)
            payloads = None
            if not arrival.doomed:
                try:
                    payloads = self._reassembler.add(part)
                except PayloadError as error:
                    self._stop(arrival, End.FAILED, error.what)
                    raise
            if payloads is not None:
                frame.complete_ns = time.monotonic_ns()
                frame.receive_ns = frame.complete_ns - frame.received_ns
            if not self._queue.offer(_Place(frame, payloads)) and not arrival.doomed:
                self._stop(arrival, End.DROPPED, "queue full")
            if arrival.parts >= arrival.part_count:
                self._forget(part.frame_id)

    def _arrival(self, part: Part) -> _Arrival:
        arrival = self._arrivals.get(part.frame_id)
        if arrival is None:
            if part.frame_id in self._done:
                raise PayloadError("a part came after its frame was complete", where=f"frame {part.frame_id}")
            now = time.monotonic_ns()
            arrival = _Arrival(Frame(part.frame_id, now, now, Stage.INBOUND), part.part_count)
            self._arrivals[part.frame_id] = arrival
            self._ledger.opened(arrival.frame)
            if self._refusal is not None:
                self._stop(arrival, End.FAILED, self._refusal)
        return arrival

    def _stop(self, arrival: _Arrival, end: End, reason: str) -> None:
        arrival.doomed = True
        self._reassembler.discard(arrival.frame.frame_id)
        self._ledger.stopped_here(arrival.frame, end, Stage.INBOUND, reason)

    def _forget(self, frame_id: int) -> None:
        del self._arrivals[frame_id]
        self._done[frame_id] = None
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)

    def take(self) -> tuple[Frame, bytes] | None:
        """Wait for the next whole frame, freeing the places before it; None once closed."""
        while (place := self._queue.take()) is not None:
            if place.payloads is not None:
                return place.frame, b"".join(place.payloads)
        return None

    def refuse(self, reason: str) -> None:
        """Fail every frame that begins from now on; those under way go on."""
        with self._lock:
            self._refusal = reason

    def broken(self, reason: str) -> None:
        """The stream ended: frames that miss parts will never be whole."""
        with self._lock:
            for frame_id, arrival in list(self._arrivals.items()):
                if not arrival.doomed:
                    self._stop(arrival, End.FAILED, reason)
                self._forget(frame_id)

    def close(self) -> None:
        """Wake the worker and refuse everything from now on."""
        self._queue.close()
