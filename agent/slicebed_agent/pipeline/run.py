"""One run on one agent: its queues, worker and link, from Prepare to Finish."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import grpc

from slicebed_agent import __version__
from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import wire
from slicebed_agent.pipeline.contracts import Bench, End, Ending, Frame, Left, Phase, RunPlan, Stage, Tensors
from slicebed_agent.pipeline.inbound import Inbound
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.link import Link
from slicebed_agent.pipeline.queues import BoundedQueue
from slicebed_agent.pipeline.samples import Spool
from slicebed_agent.pipeline.source import Camera
from slicebed_agent.pipeline.stage import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.pipeline.outlet import Outlet
    from slicebed_agent.pipeline.parts import Part

_LOG = logging.getLogger(__name__)


class Run:
    """What an agent does between Prepare and Finish.

    First agent: camera, worker, link, and the record of every frame's end. Later agents: inbound queue, worker, link;
    ends are reported to the agent before. The last agent has no link: it answers.
    """

    def __init__(self, plan: RunPlan, bench: Bench, channel: grpc.Channel | None, samples: Path) -> None:
        """Make everything ready and open the link's stream.

        Raises:
            AgentError: the samples file cannot be written.
        """
        self.plan = plan
        self._bench = bench
        self._spool = Spool(samples)
        self._spool.write({"kind": "header", "run_id": plan.run_id, "host": plan.host, "agent_version": __version__})
        self._ledger = Ledger(plan.run_id, plan.host, self._spool, self._record if plan.source else self._relay)
        self._lock = threading.Lock()
        self._outlet: Outlet | None = None
        self._trouble: Ending | None = None
        self._started = False
        self._closed = False
        self._camera: Camera | None = None
        self._frames: BoundedQueue[tuple[Frame, Tensors]] | None = None
        self._inbound: Inbound | None = None
        self._link: Link | None = None
        if plan.next_host is not None and channel is not None:
            self._link = Link(plan, plan.next_host, channel, self._ledger, self._link_broken)
        deliver = self._link.deliver if self._link else self._answer
        if plan.source is not None and bench.draw is not None:
            self._frames = BoundedQueue(plan.source.queue_frames)
            self._camera = Camera(plan.source, bench.draw, self._ledger, self._frames)
            self._worker = Worker(bench, plan.overhead_ratio, self._ledger, self._frames.take, deliver)
        else:
            self._inbound = Inbound(plan.inbound_messages, self._ledger)
            self._worker = Worker(bench, plan.overhead_ratio, self._ledger, self._inbound.take, deliver)
        self._worker.start()

    @property
    def samples(self) -> int:
        """Lines in the samples file."""
        return self._spool.lines

    @property
    def is_first(self) -> bool:
        """True on the agent that holds the camera."""
        return self._camera is not None

    @property
    def started(self) -> bool:
        """True once the camera was started or a frame came in."""
        return self._started or self._ledger.counts()["captured"] > 0

    def start(self) -> None:
        """Start the camera; the first agent only, once."""
        if self._camera is not None:
            self._started = True
            self._camera.start()

    # The stream from the agent before.

    def attach(self, outlet: Outlet) -> bool:
        """Take a stream as this run's; False when it has one already, is over, or begins here."""
        with self._lock:
            if self._outlet is not None or self._closed or self._inbound is None:
                return False
            self._outlet = outlet
            return True

    def receive(self, part: Part) -> None:
        """Take a sound message of the attached stream.

        Raises:
            PayloadError: it contradicts earlier messages.
        """
        if self._inbound is not None:
            self._inbound.offer(part)

    def stream_ended(self, trouble: str | None) -> None:
        """The attached stream is over: as it should be, or with a line that says why not."""
        if self._inbound is not None:
            self._inbound.broken(trouble or "the stream ended before the frame's last part")
        if trouble is not None and not self._closed:
            self._ledger.abandon()
            self._trouble_at(Ending(End.FAILED, self.plan.host, Stage.INBOUND, trouble))

    def abandon(self) -> None:
        """The attached stream is gone: nobody waits for what is under way."""
        self._ledger.abandon()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every frame that came has ended."""
        return self._ledger.wait_idle(timeout_s)

    @property
    def over(self) -> bool:
        """True once the run was closed."""
        return self._closed

    # Ends of frames.

    def _answer(self, frame: Frame, data: bytes) -> None:
        frame.stage = Stage.ANSWER
        frame.parts_out, frame.bytes_out = 1, len(data)
        self._ledger.left(frame, Left.ANSWERED)
        self._ledger.ended(frame.frame_id, Ending(End.COMPLETED, self.plan.host, Stage.ANSWER, output=data))

    def _relay(self, frame: Frame, ending: Ending) -> End:
        with self._lock:
            if self._outlet is not None:
                self._outlet.put(wire.ending_to_wire(self.plan.run_id, frame.frame_id, ending))
        return ending.end

    def _record(self, frame: Frame, ending: Ending) -> End:
        ended_ns = time.monotonic_ns()
        agreement = None
        if ending.end is End.COMPLETED and self._bench.judge is not None:
            try:
                agreement = self._bench.judge(frame.frame_id, ending.output)
            except PayloadError as error:
                ending = Ending(End.FAILED, ending.host, Stage.ANSWER, str(error))
        completed = ending.end is End.COMPLETED
        self._spool.write(
            {
                "kind": "end",
                "run_id": self.plan.run_id,
                "host": self.plan.host,
                "frame_id": frame.frame_id,
                "captured_ns": frame.received_ns,
                "ended_ns": ended_ns,
                "latency_ns": ended_ns - frame.received_ns,
                "end": ending.end,
                "end_host": None if completed else ending.host,
                "end_stage": None if completed else ending.stage,
                "end_reason": None if completed else ending.reason,
                "images": self.plan.source.batch_size if self.plan.source else None,
                "labels_equal": agreement.labels_equal if agreement else None,
                "labels_correct": agreement.labels_correct if agreement else None,
                "max_abs_error": agreement.max_abs_error if agreement else None,
                "max_rel_error": agreement.max_rel_error if agreement else None,
            }
        )
        if ending.end is End.FAILED:
            self._trouble_at(ending)
        return ending.end

    # Trouble.

    def _trouble_at(self, ending: Ending) -> None:
        with self._lock:
            if self._trouble is not None or self._closed:
                return
            self._trouble = ending
        _LOG.error("run %s failed: %s", self.plan.run_id, ending)
        if self._camera is not None:
            # Frames captured from now on would only fail too. Not stop(): this may be the camera's own thread.
            threading.Thread(target=self._camera.stop, name="stop camera", daemon=True).start()

    def _link_broken(self, ending: Ending) -> None:
        if self.is_first and self.phase is Phase.DONE:
            return
        self._ledger.abandon()
        self._trouble_at(ending)
        with self._lock:
            if self._outlet is not None:
                self._outlet.refuse(grpc.StatusCode.UNAVAILABLE, str(ending), ending)

    # State and end.

    @property
    def phase(self) -> Phase:
        """Where the run stands."""
        if self._trouble is not None:
            return Phase.FAILED
        if self._closed or (self._camera is not None and self._camera.finished and self._ledger.idle):
            return Phase.DONE
        return Phase.RUNNING if self.started else Phase.PREPARED

    @property
    def trouble(self) -> Ending | None:
        """What made the run fail, when it did."""
        return self._trouble

    def counts(self) -> dict[str, int]:
        """Frames captured, completed, dropped, failed, as this agent knows."""
        return self._ledger.counts()

    def refuse_new(self, reason: str) -> None:
        """Begin nothing more: stop the camera, fail frames that come in from now on."""
        if self._camera is not None:
            self._camera.stop()
        if self._inbound is not None:
            self._inbound.refuse(reason)

    def close(self, drain_s: float, reason: str, refusal: Ending | None = None) -> None:
        """Drain, end what is left, and write every sample to disk. Calls after the first do nothing.

        Args:
            drain_s: how long to wait for frames under way.
            reason: why frames that are still under way then fail.
            refusal: what to tell the agent before, when the stream ends before it wanted.
        """
        if self._closed:
            return
        if self._camera is not None:
            self._camera.stop()
        drained = self._ledger.wait_idle(drain_s)
        self._worker.halt()
        if not drained:
            self._ledger.fail_here(reason)
            self._ledger.fail_sent(Ending(End.FAILED, self.plan.next_host or self.plan.host, Stage.LINK, reason))
        with self._lock:
            if self._closed:
                return
            self._closed = True
            outlet = self._outlet
        if self._link is not None:
            self._link.close(drained=drained)
        for waiting in (self._frames, self._inbound):
            if waiting is not None:
                waiting.close()
        self._worker.join()
        self._ledger.fail_here(reason)
        self._spool.close({"kind": "footer", **self._ledger.counts()})
        if outlet is not None:
            if refusal is None:
                outlet.close()
            else:
                outlet.refuse(grpc.StatusCode.UNAVAILABLE, str(refusal), refusal)
        _LOG.info("run %s ended on %s: %s", self.plan.run_id, self.plan.host, self._ledger.counts())
