"""The stages of an agent, joined: each feeds the queue before the next, the last one whatever comes behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.pipeline.contracts import At, End
from slicebed_agent.pipeline.inbound import Inbound
from slicebed_agent.pipeline.stage import Waiting, Ways, Worker
from slicebed_agent.pipeline.state import StageState

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Bench, Frame, RunPlan, Tensors
    from slicebed_agent.pipeline.ledger import Ledger

    Deliver = Callable[[Frame, Tensors], None]

_JOIN_S: Final = 10.0


class Stages:
    """Queues and workers of all stages.

    Attributes:
        inbound: before the first stage, where frames come from another agent; else None.
        put: takes the camera's frames; where there is no stage, it is what comes behind.
    """

    def __init__(
        self,
        plan: RunPlan,
        bench: Bench,
        ledger: Ledger,
        ends: tuple[Deliver, Callable[[Frame, Tensors, str], None], Callable[[], None]],
    ) -> None:
        """Join them; nothing moves until `start`.

        Args:
            plan: the agent's.
            bench: what the stages do.
            ledger: told of drops and failures.
            ends: what takes the last stage's results; what takes an early exit's answers; what is told when a place
                behind a link is free again.
        """
        self._ledger = ledger
        self.inbound: Inbound | None = None
        self.put, answer, on_taken = ends
        parts: list[tuple[Waiting | Inbound, Worker]] = []
        for place, stage in reversed(list(enumerate(plan.stages))):
            waiting: Waiting | Inbound
            deliver = self.put
            if place == 0 and plan.source is None:
                self.inbound = waiting = Inbound(stage.queue, ledger, on_taken)
            else:
                waiting = Waiting(stage.queue, At.SOURCE if place == 0 else stage.name, ledger)
                self.put = waiting.put
            ways = Ways(waiting.take, deliver, answer, bench.decode)
            parts.insert(0, (waiting, Worker(stage, bench.work[stage.name], ledger, ways)))
        self._parts = tuple(parts)

    def start(self) -> None:
        """Begin to take frames."""
        for _, worker in self._parts:
            worker.start()

    def halt(self) -> None:
        """Cut overhead sleeps short."""
        for _, worker in self._parts:
            worker.halt()

    def close(self) -> None:
        """Take nothing more, and wait for the frames in hand; the ledger knows those that are left."""
        for waiting, _ in self._parts:
            waiting.close()
        deadline_s = time.monotonic() + _JOIN_S
        for _, worker in self._parts:
            worker.join(deadline_s)

    def states(self) -> tuple[StageState, ...]:
        """The totals of each."""
        return tuple(self._state(place) for place in range(len(self._parts)))

    def _state(self, place: int) -> StageState:
        waiting, worker = self._parts[place]
        name, totals = worker.plan.name, worker.totals
        # What is lost on the way into the first stage is lost to that stage.
        at = (name, At.SOURCE, At.INBOUND, At.DECODE) if place == 0 else (name,)
        return StageState(
            name=name,
            frames=totals.frames,
            dropped=self._ledger.stopped(at, End.DROPPED),
            failed=self._ledger.stopped(at, End.FAILED),
            queued=len(waiting),
            queue_wait_ns=totals.queue_wait_ns,
            compute_ns=totals.compute_ns,
            overhead_ns=totals.overhead_ns,
        )
