"""The account of a run's frames on one agent: each leaves once, each ends once, and none is forgotten."""

from __future__ import annotations

import collections
import dataclasses
import threading
from typing import TYPE_CHECKING

from slicebed_agent.pipeline.contracts import End, Ending, Frame, Left, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.samples import Spool

_MEASURES = tuple(
    field.name for field in dataclasses.fields(Frame) if field.name not in {"frame_id", "complete_ns", "stage"}
)


class Ledger:
    """Counts frames, writes one sample line when a frame leaves, and passes on one report when it ends.

    A frame leaves the agent when it was sent, answered, dropped or failed here; it ends when its fate is known, which
    on the agents before that point is later. Both happen once: what comes second is ignored.
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
        self._abandoned = False
        self._ends: collections.Counter[End] = collections.Counter()

    def opened(self, frame: Frame) -> None:
        """A frame came into this agent's hands."""
        with self._changed:
            self._here[frame.frame_id] = self._open[frame.frame_id] = frame
            self._captured += 1

    def left(self, frame: Frame, how: Left, stage: Stage | None = None, reason: str | None = None) -> None:
        """The frame left this agent."""
        with self._changed:
            if self._here.pop(frame.frame_id, None) is None:
                return
        line: dict[str, object] = {
            "kind": "frame",
            "run_id": self._run_id,
            "host": self._host,
            "frame_id": frame.frame_id,
        }
        line |= {name: getattr(frame, name) for name in _MEASURES}
        self._spool.write(line | {"left": how, "stage": stage, "reason": reason})

    def ended(self, frame_id: int, ending: Ending) -> None:
        """The frame's end is known."""
        with self._changed:
            frame = self._open.get(frame_id)
            if frame is None:
                return
            del self._open[frame_id]
        counted_as = self._sink(frame, ending)
        with self._changed:
            self._ends[counted_as] += 1
            self._changed.notify_all()

    def stopped_here(self, frame: Frame, end: End, stage: Stage, reason: str) -> None:
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

        A frame whose end is known was sent: its answer came back before the sender noted that it had finished.
        """
        with self._changed:
            here = [(frame, frame.frame_id in self._open) for frame in self._here.values()]
        for frame, is_open in here:
            if is_open:
                self.stopped_here(frame, End.FAILED, frame.stage, reason)
            else:
                self.left(frame, Left.SENT)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every frame has ended; False when that took too long or will not happen."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._idle(), timeout_s)
            return self._idle()

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

    def counts(self) -> dict[str, int]:
        """Frames captured (on later agents: received), completed, dropped and failed."""
        with self._changed:
            return {
                "captured": self._captured,
                "completed": self._ends[End.COMPLETED],
                "dropped": self._ends[End.DROPPED],
                "failed": self._ends[End.FAILED],
            }
