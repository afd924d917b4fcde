"""One run on one agent: its camera or inbound queue, its stages and its link, from Prepare to Finish."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from slicebed_agent import __version__
from slicebed_agent.errors import AgentError
from slicebed_agent.pipeline.contracts import At, Bench, End, Ending, Frame, Left, Phase, RunPlan, Tensors
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.record import Record
from slicebed_agent.pipeline.samples import Spool
from slicebed_agent.pipeline.source import Camera
from slicebed_agent.pipeline.stages import Stages
from slicebed_agent.pipeline.state import RunState
from slicebed_agent.pipeline.upstream import Upstream
from slicebed_agent.pipeline.usage import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slicebed_agent.pipeline.link import Link
    from slicebed_agent.pipeline.outlet import Outlet
    from slicebed_agent.pipeline.parts import Part

    Note = Callable[[dict[str, object]], None]
    OpenLink = Callable[[Ledger, Note, Callable[[Ending], None]], Link]

_LOG = logging.getLogger(__name__)


class Run:
    """What an agent does between Prepare and Finish.

    First agent: camera, stages, link, and the record of every frame's end. Later agents: inbound queue, stages, link;
    ends are reported to the agent before. The last agent has no link: it answers.
    """

    def __init__(
        self,
        plan: RunPlan,
        bench: Bench,
        link: OpenLink | None,
        samples: Path,
        usage: Callable[[], Mapping[str, int | None]] | None = None,
    ) -> None:
        """Make everything ready and open the link's stream.

        Args:
            plan: what this agent does.
            bench: the run's tools.
            link: opens the way to the next agent; None on the last one.
            samples: file of samples.
            usage: meter of the container; None where nobody asks for it.

        Raises:
            AgentError: the samples file cannot be written; the next agent cannot be reached.
        """
        self.plan, self._bench = plan, bench
        self._spool = Spool(samples, self._disk_refused)
        self._ledger = Ledger(plan.run_id, plan.host, self._spool, self._recorded if plan.source else self._relay)
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._upstream = Upstream(plan.reconnect_s, self._stream_lost)
        self._trouble: Ending | None = None
        self._started = False
        self._closed = False
        self._record = Record(plan, self._spool, bench.judge)
        self._draining: tuple[int, int] | None = None
        self._camera: Camera | None = None
        self._spool.begin({"kind": "header", "run_id": plan.run_id, "host": plan.host, "agent_version": __version__})
        try:
            self._link = link(self._ledger, self.note, self._link_broken) if link is not None else None
        except AgentError:
            self._spool.close(None)
            raise
        deliver = self._link.deliver if self._link is not None else self._answer
        self._stages = Stages(plan, bench, self._ledger, (deliver, self._answer, self._upstream.credit))
        self._inbound = self._stages.inbound
        if plan.source is not None and bench.draw is not None:
            self._camera = Camera(plan.source, bench.draw, self._ledger, self._stages.put, self._camera_failed)
            self._camera.switch(plan.version)
        self._usage = Sampler(usage, self.note) if usage is not None else None
        if self._usage is not None:
            self._usage.start()
        self._stages.start()

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
        return self._started or self._ledger.counted().captured > 0

    def start(self) -> None:
        """Start the camera; the first agent only, once."""
        if self._camera is not None:
            self._started = True
            self._camera.start()

    def note(self, line: dict[str, object]) -> None:
        """Write a line of another kind than a frame's beside the frames'."""
        self._spool.write({"run_id": self.plan.run_id, "host": self.plan.host} | line)

    # A change of the cut.

    def switch(self, version: int) -> int:
        """Let frames go through this version of the cut from the next one on; the first agent only.

        Returns:
            The number of that frame, which has not been captured yet.
        """
        if self._camera is None:
            raise AgentError("it has no camera", where=self.plan.host, mend="ask the first agent to switch")
        first = self._camera.switch(version)
        self.note({"kind": "cut", "version": version, "first_frame_id": first, **_now("switched")})
        with self._lock:
            self._draining = (version, first)
        self._note_drained()
        return first

    def _note_drained(self) -> None:
        with self._lock:
            if self._draining is None or self._ledger.counted().ended_below < self._draining[1]:
                return
            (version, first), self._draining = self._draining, None
        self.note({"kind": "cut", "version": version, "first_frame_id": first, **_now("drained")})

    def wait_passed(self, version: int, timeout_s: float) -> bool:
        """Wait until no frame of an earlier version of the cut is under way here; False after the time."""
        return self._ledger.wait_passed(version, timeout_s)

    # The stream from the agent before.

    def attach(self, outlet: Outlet) -> bool:
        """Take a stream as this run's; False when it has one already, is over or failed, or begins here."""
        if self._closed or self._trouble is not None or self._inbound is None:
            return False
        return self._upstream.attach(outlet)

    def inbound_credit(self) -> int | None:
        """Frames that a stream which begins now may send; None: as many as it likes."""
        return None if self._inbound is None else self._inbound.credit()

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
        if trouble is None or self._closed:
            return
        if self.plan.reconnect_s:
            self.note({"kind": "link", "event": "lost", "at_ns": time.monotonic_ns(), "reason": trouble})
        self._upstream.lost(trouble)

    def _stream_lost(self, trouble: str) -> None:
        """It did not come back in time."""
        self._ledger.abandon()
        self._trouble_at(Ending(End.FAILED, self.plan.host, At.INBOUND, trouble))

    @property
    def over(self) -> bool:
        """True once the run was closed."""
        return self._closed

    # Ends of frames.

    def _answer(self, frame: Frame, tensors: Tensors, early: str = "") -> None:
        frame.stage = At.ANSWER
        begin = time.monotonic_ns()
        data = self._bench.answer(tensors)
        frame.encode_ns = time.monotonic_ns() - begin
        frame.parts_out, frame.bytes_out = 1, len(data)
        # The report first: who waits for the answer shall not wait for the disk.
        self._ledger.ended(
            frame.frame_id, Ending(End.COMPLETED, self.plan.host, early or At.ANSWER, output=data, exit=early)
        )
        self._ledger.left(frame, Left.ANSWERED, early or None)

    def _relay(self, frame: Frame, ending: Ending) -> End:
        self._upstream.report(frame.frame_id, ending)
        return ending.end

    def _recorded(self, frame: Frame, told: Ending) -> End:
        ending = self._record.write(frame, told)
        if ending.end is End.FAILED and not self.plan.reconnect_s:
            self._trouble_at(ending)
        self._note_drained()
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

    def _camera_failed(self, reason: str) -> None:
        self._trouble_at(Ending(End.FAILED, self.plan.host, At.SOURCE, reason))

    def _disk_refused(self, reason: str) -> None:
        ending = Ending(End.FAILED, self.plan.host, At.AGENT, reason)
        self._trouble_at(ending)
        self._upstream.refuse(ending)

    def _link_broken(self, ending: Ending) -> None:
        if self.is_first and self.phase is Phase.DONE:
            return
        self._ledger.abandon()
        self._trouble_at(ending)
        self._upstream.refuse(ending)

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

    def status(self) -> RunState:
        """Where the run stands, with the totals of its parts."""
        # The phase first: once it says done, the counts read after it are final.
        phase = self.phase
        return RunState(
            phase=phase,
            trouble=self._trouble,
            counted=self._ledger.counted(),
            stages=self._stages.states(),
            link=self._link.state() if self._link is not None else None,
            next_frame_id=self._camera.next_frame_id if self._camera is not None else 0,
            latency_ns=self._record.latencies.percentiles(),
            usage=self._usage.last if self._usage is not None else {},
        )

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
        with self._closing:
            if not self._closed:
                self._close(drain_s, reason, refusal)

    def _close(self, drain_s: float, reason: str, refusal: Ending | None) -> None:
        if self._camera is not None:
            self._camera.stop()
        drained = self._ledger.wait_idle(drain_s)
        self._stages.halt()
        if not drained:
            self._ledger.fail_here(reason)
            next_host = self.plan.link.next_host if self.plan.link is not None else self.plan.host
            self._ledger.fail_sent(Ending(End.FAILED, next_host, At.LINK, reason))
        with self._lock:
            self._closed = True
        if self._link is not None:
            self._link.close(drained=drained)
        self._stages.close()
        self._ledger.fail_here(reason)
        if self._usage is not None:
            self._usage.stop()
        self._spool.close({"kind": "footer", **self._ledger.counts()})
        self._upstream.end(refusal)
        _LOG.info("run %s ended on %s: %s", self.plan.run_id, self.plan.host, self._ledger.counts())


def _now(event: str) -> dict[str, object]:
    return {"at_ns": time.monotonic_ns(), "event": event}
