"""A stage: a thread that takes one frame at a time through its work, and the queue before it."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING

from slicebed_agent.errors import AgentError
from slicebed_agent.pipeline.contracts import At, Decode, End, Frame, Payload, QueuePlan, StagePlan, StageTimes, Tensors
from slicebed_agent.pipeline.queues import BoundedQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.contracts import Result, Work
    from slicebed_agent.pipeline.ledger import Ledger

_LOG = logging.getLogger(__name__)


class Waiting:
    """Frames that wait before a stage; the one that has no place is dropped, under the queue's name."""

    def __init__(self, plan: QueuePlan, name: str, ledger: Ledger) -> None:
        """Make an empty queue.

        Args:
            plan: how many places, and who loses.
            name: what a drop is told as: "source", or the stage's own.
            ledger: told of drops.
        """
        self._queue: BoundedQueue[tuple[Frame, Tensors]] = BoundedQueue(plan.places, plan.policy)
        self._name, self._ledger = name, ledger

    def put(self, frame: Frame, tensors: Tensors) -> None:
        """Let a frame wait here; with BLOCK, once there is a place."""
        frame.stage = self._name
        frame.complete_ns = time.monotonic_ns()
        lost = self._queue.offer((frame, tensors))
        # A closed queue belongs to a run that ends: what it gives back ends with the run.
        if lost is None or self._queue.closed:
            return
        self._ledger.stopped_here(lost[0], End.DROPPED, self._name, self._queue.why_lost)

    def take(self) -> tuple[Frame, Tensors] | None:
        """Wait for the next frame; None once closed."""
        return self._queue.take()

    def close(self) -> None:
        """Wake whoever waits and take nothing more; the ledger knows the frames that are left."""
        self._queue.close()

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._queue)


@dataclasses.dataclass(slots=True)
class Totals:
    """Sums over the frames that a stage was done with."""

    frames: int = 0
    queue_wait_ns: int = 0
    compute_ns: int = 0
    overhead_ns: int = 0


@dataclasses.dataclass(frozen=True)
class Ways:
    """Where a stage's frames come from and where they go.

    Attributes:
        take: waits for the next frame, encoded or as arrays; None ends the stage.
        deliver: takes what goes on.
        answer: takes what ends here, and the stage's name.
        decode: of what comes encoded.
    """

    take: Callable[[], tuple[Frame, Tensors | Payload] | None]
    deliver: Callable[[Frame, Tensors], None]
    answer: Callable[[Frame, Tensors, str], None]
    decode: Decode


class Worker:
    """Takes frames, does the stage's work on them, and passes the result on; a frame that fails does not stop it."""

    def __init__(self, plan: StagePlan, work: Work, ledger: Ledger, ways: Ways) -> None:
        """Make a worker that stands still until `start`.

        Args:
            plan: name, and how long to sleep after computing, in multiples of the compute time.
            work: of the stage.
            ledger: told of frames that fail here.
            ways: from and to the neighbours.
        """
        self.plan = plan
        self.totals = Totals()
        self._work, self._ledger, self._ways = work, ledger, ways
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=plan.name, daemon=True)

    def start(self) -> None:
        """Begin taking frames."""
        self._thread.start()

    def halt(self) -> None:
        """Cut an overhead sleep short; the caller closes what `take` waits for."""
        self._halt.set()

    def join(self, deadline_s: float) -> None:
        """Wait for the frame in hand, until this instant of the monotonic clock."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
            if self._thread.is_alive():
                _LOG.error("%s: a frame computes for too long, its thread was left behind", self.plan.name)

    def _loop(self) -> None:
        while (job := self._ways.take()) is not None:
            frame, content = job
            try:
                result = self._process(frame, content)
                if result.answered:
                    self._ways.answer(frame, result.tensors, self.plan.name)
                else:
                    self._ways.deliver(frame, result.tensors)
            except AgentError as error:
                self._fail(frame, str(error))
            # TensorFlow raises what its kernels meet (memory, shapes); the frame is lost, the agent is not.
            except Exception as error:  # noqa: BLE001 - reported as the frame's end and logged
                self._fail(frame, f"{type(error).__name__}: {error}")

    def _process(self, frame: Frame, content: Tensors | Payload) -> Result:
        begin = time.monotonic_ns()
        times = StageTimes(queue_wait_ns=begin - frame.complete_ns)
        frame.stages[self.plan.name] = times
        if isinstance(content, Payload):
            frame.stage = At.DECODE
            content = self._ways.decode(content)
            frame.decode_ns, begin = _lap(begin)
        frame.stage = self.plan.name
        result = self._work(frame.version, content)
        times.notes = result.notes
        times.compute_ns, begin = _lap(begin)
        self._halt.wait(self.plan.overhead_ratio * times.compute_ns / 1e9)
        times.overhead_ns, begin = _lap(begin)
        self.totals.frames += 1
        self.totals.queue_wait_ns += times.queue_wait_ns
        self.totals.compute_ns += times.compute_ns
        self.totals.overhead_ns += times.overhead_ns
        return result

    def _fail(self, frame: Frame, reason: str) -> None:
        line = " ".join(reason.split())
        _LOG.error("frame %d failed at %s: %s", frame.frame_id, frame.stage, line)
        self._ledger.stopped_here(frame, End.FAILED, frame.stage, line)


def _lap(begin_ns: int) -> tuple[int, int]:
    now = time.monotonic_ns()
    return now - begin_ns, now
