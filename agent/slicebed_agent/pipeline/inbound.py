"""The inbound queue: frames, or the messages that they are made of, between the network and the first stage.

Where messages are counted, a frame in twenty parts takes twenty places. A part that finds no place is lost, and its
frame with it; the other parts of that frame still come and still take places until the worker throws them away. Under
small parts a busy worker therefore loses more than the frames it has no time for: the effect of partial packet discard,
A. Romanow and S. Floyd, "Dynamics of TCP Traffic over ATM Networks", IEEE Journal on Selected Areas in Communications
13(4), 1995.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.contracts import At, End, Frame, Payload, QueuePlan
from slicebed_agent.pipeline.parts import Assembly
from slicebed_agent.pipeline.queues import BoundedQueue, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.ledger import Ledger
    from slicebed_agent.pipeline.parts import Part

_NO_CREDIT: Final = "more frames came than there was credit for"


@dataclasses.dataclass(slots=True)
class _Arrival:
    """The frame whose parts come in; without an assembly it is lost already."""

    frame: Frame
    part_count: int
    assembly: Assembly | None
    parts: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """What one place holds: a whole frame (counting messages: in the place of its last part), else nothing."""

    frame: Frame
    payload: Payload | None


class Inbound:
    """Takes parts from the network without ever blocking it, hands whole frames to the worker.

    Where the plan's policy is BLOCK, the agent before holds its frames back instead: it may send as many as `credit`
    says when its stream begins, and one more for each call of `on_taken`.
    """

    def __init__(self, plan: QueuePlan, ledger: Ledger, on_taken: Callable[[], None]) -> None:
        """Make an empty queue.

        Args:
            plan: its places and who loses.
            ledger: told of frames that come in, and of those that end here.
            on_taken: a place is free again; called from `take`, and with BLOCK only. Must not wait.
        """
        self._plan, self._ledger, self._on_taken = plan, ledger, on_taken
        blocks = plan.policy is Policy.BLOCK
        self._queue: BoundedQueue[_Place] = BoundedQueue(plan.places, Policy.NEWEST if blocks else plan.policy)
        self._blocks = blocks
        self._arrival: _Arrival | None = None
        self._last_id = -1
        self._lock = threading.Lock()
        self._refusal: str | None = None
        # For the credit: frames that hold a place, until `take` has told so; and whether a stream counts on that.
        self._occupied, self._granting = 0, False

    def offer(self, part: Part) -> None:
        """Take one message that `parts.check` found sound.

        Raises:
            PayloadError: the message contradicts earlier ones; its frame has failed by that.
        """
        with self._lock:
            arrival = self._arriving(part)
            frame = arrival.frame
            arrival.parts += 1
            frame.parts_in = arrival.parts
            frame.bytes_in = (frame.bytes_in or 0) + part.payload.nbytes
            payload = self._add(arrival, part)
            if part.last:
                self._arrival = None
            if self._plan.messages or payload is not None:
                self._place(arrival, payload)

    def _arriving(self, part: Part) -> _Arrival:
        arrival = self._arrival
        if arrival is None:
            return self._begin(part)
        if arrival.frame.frame_id != part.frame_id or arrival.part_count != part.part_count:
            raise self._contradiction(
                arrival,
                PayloadError(
                    f"part {part.part_index} of {part.part_count} came before part {arrival.parts} "
                    f"of {arrival.part_count} of frame {arrival.frame.frame_id}",
                    where=f"frame {part.frame_id}",
                ),
            )
        return arrival

    def _begin(self, part: Part) -> _Arrival:
        if part.frame_id <= self._last_id:
            raise PayloadError(f"came after frame {self._last_id}", where=f"frame {part.frame_id}")
        assembly = Assembly(part)
        self._last_id = part.frame_id
        now = time.monotonic_ns()
        frame = Frame(part.frame_id, now, now, At.INBOUND)
        if part.head is not None:
            frame.version, frame.upstream_sent_ns = part.head.version, part.head.sent_ns
        arrival = self._arrival = _Arrival(frame, part.part_count, assembly)
        self._ledger.opened(frame)
        if self._refusal is not None:
            self._stop(arrival, End.FAILED, self._refusal)
        return arrival

    def _add(self, arrival: _Arrival, part: Part) -> Payload | None:
        if arrival.assembly is None:
            return None
        try:
            payload = arrival.assembly.add(part)
        except PayloadError as error:
            raise self._contradiction(arrival, error) from error
        if payload is not None:
            frame = arrival.frame
            frame.complete_ns = time.monotonic_ns()
            frame.receive_ns = frame.complete_ns - frame.received_ns
        return payload

    def _place(self, arrival: _Arrival, payload: Payload | None) -> None:
        lost = self._queue.offer(_Place(arrival.frame, payload))
        if lost is None:
            self._occupied += 1
            return
        if self._queue.closed:
            if arrival.assembly is not None:
                self._stop(arrival, End.FAILED, "the run is over")
            return
        if self._blocks:
            raise self._contradiction(arrival, PayloadError(_NO_CREDIT, where=f"frame {arrival.frame.frame_id}"))
        if lost.frame is not arrival.frame:
            self._ledger.stopped_here(lost.frame, End.DROPPED, At.INBOUND, self._queue.why_lost)
        elif arrival.assembly is not None:
            self._stop(arrival, End.DROPPED, self._queue.why_lost)

    def _stop(self, arrival: _Arrival, end: End, reason: str) -> None:
        arrival.assembly = None
        self._ledger.stopped_here(arrival.frame, end, At.INBOUND, reason)

    def _contradiction(self, arrival: _Arrival, error: PayloadError) -> PayloadError:
        self._arrival = None
        if arrival.assembly is not None:
            self._stop(arrival, End.FAILED, error.what)
        return error

    def take(self) -> tuple[Frame, Payload] | None:
        """Wait for the next whole frame, freeing the places before it; None once closed."""
        while (place := self._queue.take()) is not None:
            if place.payload is None:
                continue
            with self._lock:
                self._occupied -= 1
                if self._blocks and self._granting:
                    self._on_taken()
            return place.frame, place.payload
        return None

    def credit(self) -> int | None:
        """How many frames a stream that begins now may send, until places are free again; None: as many as it likes."""
        if not self._blocks:
            return None
        with self._lock:
            self._granting = True
            return self._plan.places - self._occupied

    def refuse(self, reason: str) -> None:
        """Fail every frame that begins from now on; one under way goes on."""
        with self._lock:
            self._refusal = reason

    def broken(self, reason: str) -> None:
        """The stream ended: a frame that misses parts will never be whole. The next stream counts anew."""
        with self._lock:
            arrival, self._arrival = self._arrival, None
            self._last_id, self._granting = -1, False
            if arrival is not None and arrival.assembly is not None:
                self._stop(arrival, End.FAILED, reason)

    def close(self) -> None:
        """Wake the worker and refuse everything from now on."""
        self._queue.close()

    def __len__(self) -> int:
        """Places that are taken."""
        return len(self._queue)
