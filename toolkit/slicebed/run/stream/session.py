"""A running stream: watched twice a second, mended when an agent is lost, cut elsewhere when asked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from slicebed.errors import ConflictError, RunError, SlicebedError
from slicebed.run.assignments import Job, configs, cut_configs
from slicebed.run.pictures import in_users_words
from slicebed.run.sliced_model import slice_model
from slicebed.run.stream.change import change_cut
from slicebed.run.stream.chooser import Chooser
from slicebed.run.stream.desk import Ask
from slicebed.run.stream.figures import StreamFigures, figures_of, unrated
from slicebed.run.stream.link_watch import LinkWatch
from slicebed.run.stream.mend import MOST_IN_A_ROW, Failures, Mending, Watch
from slicebed.run.stream.segment import Segment
from slicebed.run.stream.timeline import BEGINS
from slicebed.run.stream.wanted import read_cut
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slicebed.run.sliced_model import SlicedModel
    from slicebed.run.store import Campaign
    from slicebed.run.stream.agents import Agents
    from slicebed.run.stream.desk import Plain, Request, Tell
    from slicebed.run.stream.figures import Look
    from slicebed.run.stream.mend import Trouble
    from slicebed.run.stream.timeline import Timeline
    from slicebed.run.stream.wanted import WantedStream
    from slicebed.spec.cuts import Cut
    from slicebed.split.model import OpenedModel
    from slicebed.testbed.inventory import InventoryHost

_PERIOD_S: Final = 0.5
_LAST_EVENTS: Final = 20


@dataclass(frozen=True)
class Stage:
    """Where a stream plays.

    Attributes:
        wanted: what it is to be.
        opened: its model.
        agents: connected.
        hosts: of the inventory.
        campaign: the folder that it fills.
        timeline: what happens to it.
        lasting: what every manifest says besides.
    """

    wanted: WantedStream
    opened: OpenedModel
    agents: Agents
    hosts: Mapping[str, InventoryHost]
    campaign: Campaign
    timeline: Timeline
    lasting: Mapping[str, Any]


class Session:
    """One stream, from its first frame to its last.

    The thread that calls `run` watches. All that takes longer (a change of cut, starting an agent again) is done by one
    other thread, one thing at a time, while frames go on.
    """

    def __init__(self, stage: Stage, model: SlicedModel, show: Callable[[StreamFigures], None]) -> None:
        """Nothing happens yet.

        Args:
            stage: where it plays.
            model: with every cut of the stream looked up.
            show: called with the figures of every look.
        """
        self._stage, self._show = stage, show
        self._wanted, self._model = stage.wanted, model
        self._hands = ThreadPoolExecutor(1, thread_name_prefix="hands")
        self._work: Future[None] | None = None
        self._stopping = threading.Event()
        self._watch, self._failures = Watch(stage.agents.chain), Failures()
        self._links = LinkWatch()
        self._version = 0
        self._segment = self._new_segment(1, stage.wanted.cut)
        self._unrated = unrated(configs(self._segment.job))
        self._before: Look | None = None
        self._figures = StreamFigures(stage.wanted.cut.label, 0.0)
        self._chooser = (
            Chooser.of(stage.opened, model, stage.wanted, stage.timeline) if stage.wanted.candidates else None
        )

    def run(self) -> None:
        """Stream until Ctrl-C, `Ask.STOP` or the last of the asked frames; then keep samples and manifest.

        Raises:
            RunError: an agent was lost too often; or the samples do not add up.
            KeyboardInterrupt: Ctrl-C before the camera was started, or a second one, while the stream was being ended.
        """
        try:
            self._begin()
            try:
                self._go_on()
            except KeyboardInterrupt:
                self._stage.timeline.note("stopped", by="Ctrl-C")
            self._stop_hands()
            self._end()
        finally:
            self._stopping.set()
            self._hands.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        try:
            self._segment.begin(self._stage.agents)
        except (SlicebedError, KeyboardInterrupt) as failure:
            self._cut_short(failure)
            raise
        self._watch.mended(time.monotonic())
        self._stage.timeline.note(BEGINS, cut=self._segment.job.cut.label)

    def answer(self, request: Request, tell: Tell) -> Plain:
        """Answer a request of the socket; called by any thread.

        Raises:
            SpecError: the model has no such cut.
            RunError: the change failed; the words say which cut is in use.
            ConflictError: the stream ends.
        """
        if request.ask is Ask.STOP:
            self._stage.timeline.note("stopped", by="slicebed stream --stop")
            self._stopping.set()
            return {"stopping": self._stage.campaign.name}
        if request.ask is Ask.SET_CUT:
            begin = len(self._stage.timeline.events())
            work = self._hand_over(lambda: self._set_cut(read_cut(request.cut, "--set-cut"), tell))
            try:
                work.result()
            except CancelledError:
                raise ConflictError("the stream ends", where="--set-cut") from None
            return {"cut": self._segment.job.cut.label, "timeline": self._stage.timeline.to_plain()[begin:]}
        return self.status()

    def status(self) -> Plain:
        """How the stream stands, as JSON holds it."""
        events = self._stage.timeline.to_plain()[-_LAST_EVENTS:]
        return {
            "campaign": self._stage.campaign.name,
            "folder": str(self._stage.campaign.folder),
            "version": self._segment.job.version,
            **self._figures.to_plain(),
            "timeline": events,
        }

    def _new_segment(self, number: int, cut: Cut) -> Segment:
        stage = self._stage
        job = Job(
            run_id=f"{stage.campaign.name}.part{number}",
            experiment=self._wanted.experiment,
            configuration=self._wanted.experiment.configurations[0],
            placement=self._wanted.placement,
            cut=cut,
            frames=self._wanted.frames,
            model=self._model,
            hosts=stage.hosts,
            version=self._version,
        )
        return Segment(number, job, stage.campaign.begin_run(f"part{number}"))

    def _go_on(self) -> None:
        """Watch until the stream is to end; keep what there is when it cannot go on."""
        try:
            self._watch_on()
        except SlicebedError as failure:
            self._stop_hands()
            self._cut_short(failure)
            raise

    def _watch_on(self) -> None:
        while not self._stopping.is_set():
            look = self._stage.agents.look(self._segment.job.run_id)
            self._figures = figures_of(
                self._before,
                look,
                self._stage.agents.chain,
                self._segment.job.cut.label,
                self._stage.timeline.begun_s,
                unrated=self._unrated,
            )
            self._before = look
            for event, link in self._links.events(self._figures):
                self._stage.timeline.note(event, link=link)
            self._show(self._figures)
            if self._work is None or self._work.done():
                self._next_work(look)
            first = look.answers.get(self._stage.agents.chain[0])
            if first is not None and first.phase == agent_pb2.RUN_PHASE_DONE:
                self._stage.timeline.note("the last frame has ended")
                return
            self._stopping.wait(_PERIOD_S)

    def _next_work(self, look: Look) -> None:
        if self._work is not None:
            work, self._work = self._work, None
            # What it raised: a mending that was given up ends the stream.
            work.result()
        trouble = self._watch.trouble(look)
        if trouble is not None:
            self._work = self._hand_over(lambda: self._mend(trouble))
        elif self._chooser is not None:
            chosen = self._chooser.consider(self._figures, self._segment.job.cut)
            if chosen is not None:
                self._work = self._hand_over(lambda: self._adapt_to(chosen))

    def _hand_over(self, work: Callable[[], None]) -> Future[None]:
        try:
            return self._hands.submit(work)
        except RuntimeError:
            raise ConflictError("the stream ends", where="slicebed stream") from None

    def _set_cut(self, cut: Cut, tell: Tell) -> None:
        """Change the cut; every step is told."""
        wanted = self._wanted.with_cut(cut)
        model = slice_model(wanted.experiment, self._stage.opened)
        job = replace(self._segment.job, model=model)
        if model.boundaries[cut] == model.boundaries[job.cut]:
            raise ConflictError(f"cut {cut.label} is in use already", where=cut.place)
        version = self._version + 1
        configs = cut_configs(job, cut, version)
        # A version that was refused is not given again: an agent may hold a part of it.
        self._wanted, self._model, self._version = wanted, model, version
        self._stage.timeline.hear(lambda event: tell(event.to_plain()))
        try:
            self._stage.timeline.note("cut asked", cut=cut.label, instead_of=job.cut.label, version=version)
            self._segment.job = job
            change_cut(
                self._stage.agents,
                configs,
                self._stage.timeline,
                lambda: self._switched(cut, version),
                self._stopping.is_set,
            )
        finally:
            self._stage.timeline.hear(None)

    def _switched(self, cut: Cut, version: int) -> None:
        self._segment.in_use(cut, version)
        if self._chooser is not None:
            self._chooser.changed()

    def _adapt_to(self, cut: Cut) -> None:
        # It was noted; the old cut is in use, or the loss of an agent is seen to next.
        with suppress(RunError, ConflictError):
            self._set_cut(cut, lambda _: None)

    def _mend(self, trouble: Trouble) -> None:
        """Start an agent again, or a new stretch.

        Raises:
            RunError: it failed too often.
        """
        timeline, agents = self._stage.timeline, self._stage.agents
        trouble = replace(trouble, why=in_users_words(trouble.why, self._model.pictures))
        timeline.note("agent lost", host=trouble.host, stage=trouble.stage, reason=trouble.why)
        self._stopping.wait(self._failures.another(time.monotonic()))
        if self._failures.too_many:
            raise RunError(
                f"lost {MOST_IN_A_ROW + 1} times in a row: {trouble.why}",
                where=trouble.place,
                mend="see its log (slicebed gather)",
            )
        if self._stopping.is_set():
            return
        try:
            agents.revive(trouble.host)
            timeline.note("agent started", host=trouble.host)
            if trouble.mending is Mending.BEGIN_AGAIN:
                self._begin_again(trouble)
            else:
                self._segment.rejoin(agents, trouble.host)
            timeline.note("agent joined again", host=trouble.host, cut=self._segment.job.cut.label)
        except SlicebedError as failure:
            # The next look finds it still lost, and tries again.
            timeline.note("agent not started", host=trouble.host, reason=str(failure))
        self._watch.mended(time.monotonic())

    def _begin_again(self, trouble: Trouble) -> None:
        why = RunError(trouble.why, where=trouble.place)
        former, self._before = self._segment, None
        if (former.folder).is_dir():
            former.cut_short(self._stage.agents, self._stage.campaign, self._stage.timeline, self._stage.lasting, why)
        self._segment = self._new_segment(former.number + 1, former.job.cut)
        self._segment.begin(self._stage.agents)

    def _stop_hands(self) -> None:
        self._stopping.set()
        self._hands.shutdown(wait=True, cancel_futures=True)

    def _cut_short(self, failure: BaseException) -> None:
        stage = self._stage
        stage.timeline.note("stream failed", reason=str(failure) or "interrupted")
        if self._segment.folder.is_dir():
            self._segment.cut_short(stage.agents, stage.campaign, stage.timeline, stage.lasting, failure)

    def _end(self) -> Path:
        stage = self._stage
        kept = self._segment.end(stage.agents, stage.campaign, stage.timeline, stage.lasting)
        stage.timeline.note("stream ended", folder=str(kept))
        return kept
