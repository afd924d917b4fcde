"""The account of a run's frames on one agent: each leaves once, each ends once, and none is forgotten."""

from __future__ import annotations

import collections
import dataclasses
import threading
from typing import TYPE_CHECKING, Final

from slicebed_agent.pipeline.contracts import At, End, Ending, Frame, Left

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.samples import Spool

_MEASURES: Final = tuple(
    field.name for field in dataclasses.fields(Frame) if field.name not in {"frame_id", "complete_ns", "stage"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """What the account of an agent says, all of it at one instant.

    Attributes:
        captured: frames; on later agents: received.
        early: of the completed ones, those that an early exit answered.
        ended_below: every frame with a smaller number has ended; of use on the first agent only.
    """

    captured: int
    completed: int
    dropped: int
    failed: int
    early: int
    ended_below: int


class Ledger:
    """Counts frames, writes one sample line when a frame leaves, and passes on one report when it ends.

    A frame leaves the agent when it was sent, answered, dropped or failed here; it ends when its fate is known, which
    on the agents before that point is later. Both happen once: what comes second is ignored. Of a frame that left and
    ended nothing is kept but its part in the counts.
    """

    def __init__(self, run_id: str, host: str, spool: Spool, sink: Callable[[Frame, Ending], End]) -> None:
        """Start an empty account.

        Args:
            run_id: labels every line.
            host: labels every line.
            spool: where the lines go.
            sink: passes an ending on and returns how the frame is to be counted; called once per frame.
        """
        self._run_id, self._host = run_id, host
        self._spool, self._sink = spool, sink
        self._changed = threading.Condition()
        self._here: dict[int, Frame] = {}
        self._open: dict[int, Frame] = {}
        self._captured = 0
        self._early = 0
        self._abandoned = False
        self._ends: collections.Counter[End] = collections.Counter()
        self._stopped: collections.Counter[tuple[str, End]] = collections.Counter()

    def opened(self, frame: Frame) -> None:
        """A frame came into this agent's hands."""
        with self._changed:
            self._here[frame.frame_id] = self._open[frame.frame_id] = frame
            self._captured += 1

    def left(self, frame: Frame, how: Left, stage: str | None = None, reason: str | None = None) -> None:
        """The frame left this agent."""
        with self._changed:
            if self._here.pop(frame.frame_id, None) is None:
                return
            if how is Left.DROPPED or how is Left.FAILED:
                self._stopped[str(stage), End.DROPPED if how is Left.DROPPED else End.FAILED] += 1
            self._changed.notify_all()
        line: dict[str, object] = {
            "kind": "frame",
            "run_id": self._run_id,
            "host": self._host,
            "frame_id": frame.frame_id,
        }
        line |= {name: getattr(frame, name) for name in _MEASURES if name != "stages"}
        line["stages"] = {
            name: {
                "queue_wait_ns": times.queue_wait_ns,
                "compute_ns": times.compute_ns,
                "overhead_ns": times.overhead_ns,
                "notes": dict(times.notes),
            }
            for name, times in list(frame.stages.items())
        }
        self._spool.write(line | {"left": how, "stage": stage, "reason": reason})

    def ended(self, frame_id: int, ending: Ending) -> None:
        """The frame's end is known."""
        with self._changed:
            frame = self._open.pop(frame_id, None)
            if frame is None:
                return
        counted_as = self._sink(frame, ending)
        with self._changed:
            self._ends[counted_as] += 1
            if counted_as is End.COMPLETED and ending.exit:
                self._early += 1
            self._changed.notify_all()

    def stopped_here(self, frame: Frame, end: End, stage: str, reason: str) -> None:
        """The frame goes no further: dropped or failed in this agent."""
        self.left(frame, Left.DROPPED if end is End.DROPPED else Left.FAILED, stage, reason)
        self.ended(frame.frame_id, Ending(end, self._host, stage, reason))

    def fail_sent(self, ending: Ending) -> None:
        """End every open frame that has left this agent: nobody will tell what became of it."""
        with self._changed:
            lost = [frame_id for frame_id in self._open if frame_id not in self._here]
        for frame_id in lost:
            self.ended(frame_id, ending)

    def fail_here(self, reason: str) -> None:
        """Fail every frame that is still in this agent, at the stage where it is.

        A frame whose end is known was answered here, or sent: its answer came back before the sender noted that.
        """
        with self._changed:
            here = [(frame, frame.frame_id in self._open) for frame in self._here.values()]
        for frame, is_open in here:
            if is_open:
                self.stopped_here(frame, End.FAILED, frame.stage, reason)
            else:
                self.left(frame, Left.ANSWERED if frame.stage == At.ANSWER else Left.SENT)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every frame has ended; False when that took too long or will not happen."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._idle(), timeout_s)
            return self._idle()

    def wait_passed(self, version: int, timeout_s: float) -> bool:
        """Wait until no frame of an earlier version of the cut is here or without an end; False after the time."""

        def passed() -> bool:
            held = (*self._here.values(), *self._open.values())
            return all(frame.version >= version for frame in held)

        with self._changed:
            return self._changed.wait_for(passed, timeout_s)

    def abandon(self) -> None:
        """A neighbour is gone: frames under way have nowhere to go, or nobody who waits for them."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def _idle(self) -> bool:
        return self._captured == self._ends.total()

    @property
    def idle(self) -> bool:
        """True when every frame that came has ended."""
        with self._changed:
            return self._idle()

    def counted(self) -> Counted:
        """The account as it stands."""
        with self._changed:
            return Counted(
                captured=self._captured,
                completed=self._ends[End.COMPLETED],
                dropped=self._ends[End.DROPPED],
                failed=self._ends[End.FAILED],
                early=self._early,
                # Frames are opened in the order of their numbers where there is a camera.
                ended_below=next(iter(self._open), self._captured),
            )

    def stopped(self, stages: tuple[str, ...], end: End) -> int:
        """Frames that were dropped or failed in this agent at any of these stages."""
        with self._changed:
            return sum(self._stopped[stage, end] for stage in stages)

    def counts(self) -> dict[str, int]:
        """Frames captured (on later agents: received), completed, dropped and failed."""
        counted = self.counted()
        return {name: getattr(counted, name) for name in ("captured", "completed", "dropped", "failed")}
