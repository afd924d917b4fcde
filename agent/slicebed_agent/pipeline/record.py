"""The record of how frames ended, kept by the first agent: it alone knows when each began."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.contracts import At, End, Ending
from slicebed_agent.pipeline.state import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Agreement, Frame, RunPlan
    from slicebed_agent.pipeline.samples import Spool


class Record:
    """Judges answers and writes one line for each frame's end."""

    def __init__(
        self, plan: RunPlan, spool: Spool, judge: Callable[[int, bytes, str], Agreement | None] | None
    ) -> None:
        """Write into this spool; answers are compared where there is a judge."""
        self._plan, self._spool, self._judge = plan, spool, judge
        self.latencies = Latencies()

    def write(self, frame: Frame, told: Ending) -> Ending:
        """A frame ended so; gives back how it ended indeed: an answer that is none is a failure."""
        ended_ns = time.monotonic_ns()
        latency_ns = ended_ns - frame.received_ns
        ending, agreement = self._judged(frame, told)
        completed = ending.end is End.COMPLETED
        if completed:
            self.latencies.add(ended_ns, latency_ns)
        self._spool.write(
            {
                "kind": "end",
                "run_id": self._plan.run_id,
                "host": self._plan.host,
                "frame_id": frame.frame_id,
                "version": frame.version,
                "captured_ns": frame.received_ns,
                "ended_ns": ended_ns,
                "latency_ns": latency_ns,
                "end": ending.end,
                "end_host": None if completed else ending.host,
                "end_stage": None if completed else ending.stage,
                "end_reason": None if completed else ending.reason,
                "answered_by": ending.host if completed else None,
                "exit": ending.exit or None,
                "images": self._plan.source.batch_size if self._plan.source else None,
                "checked": agreement.images if agreement else 0,
                "labels_equal": agreement.labels_equal if agreement else None,
                "labels_correct": agreement.labels_correct if agreement else None,
                "max_abs_error": agreement.max_abs_error if agreement else None,
                "max_rel_error": agreement.max_rel_error if agreement else None,
            }
        )
        return ending

    def _judged(self, frame: Frame, ending: Ending) -> tuple[Ending, Agreement | None]:
        if ending.end is not End.COMPLETED or self._judge is None:
            return ending, None
        try:
            return ending, self._judge(frame.frame_id, ending.output, ending.exit)
        except PayloadError as error:
            return Ending(End.FAILED, ending.host, At.ANSWER, str(error)), None
