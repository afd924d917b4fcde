"""A paced camera's frames through a line, one run: exact for given times, and no clock is read.

A queue that loses frames parts the line: what is before it never waits for what is behind. So the line is walked in
sections, each from such a queue to the next; within one, every queue makes whoever fills it wait, and frames pass in
the order in which they were taken. Frame after frame, a section's times follow from those of the frames before, as in
Lindley's recursion for queues in a row (D. V. Lindley, "The theory of queues with a single server", 1952), with
blocking after service between stages, and before it over a link, whose sender waits for credit.

What happens at one instant happens in this order: a step ends and takes its next frame, then a frame arrives.
"""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from slicebed.spec.pipeline import Drop, StageKind
from slicebed.split.predict.line import Hop
from slicebed.split.predict.link import Transfers, lateness, way_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from slicebed.split.predict.line import Line, QueueModel, Source, Stage


@dataclass(frozen=True)
class World:
    """What may be other than a line says.

    Attributes:
        hosts: what a host takes of the times given; 1 where it is not named.
        rates: what a link carries of the rate given, by sender and receiver; 1 where it is not named.
        extras_s: what a frame takes on a link besides.
        constant_s: what every frame takes besides.
        all: what everything takes: stages, codecs, and bytes on links.
        stalls_s: what a slice takes besides on a host; nothing where it is not named.
    """

    hosts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    rates: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    extras_s: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    constant_s: float = 0.0
    all: float = 1.0
    stalls_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


AS_GIVEN = World()


@dataclass(frozen=True)
class Outcome:
    """What became of a run's frames.

    Attributes:
        latency_s: of every frame, from its capture to the news of its end; not a number where it was dropped.
        lost_at: index of the step before which a frame was dropped, None where it completed.
        span_s: from the first capture to the last completed frame's end; 0 without one.
        sent_bytes: over all links, those of frames that were lost later among them.
    """

    latency_s: tuple[float, ...]
    lost_at: tuple[int | None, ...]
    span_s: float
    sent_bytes: int

    @property
    def completed(self) -> tuple[float, ...]:
        """Latencies of the frames that completed."""
        return tuple(each for each in self.latency_s if not math.isnan(each))


@dataclass
class _Step:
    """A step at work: what each frame takes here, when the last one left it, and when each was taken."""

    step: Stage | Hop
    queue: QueueModel
    work_s: list[float]
    late_s: list[float] = field(default_factory=list)
    transfers: Transfers | None = None
    free_s: float = -math.inf
    taken_s: list[float] = field(default_factory=list)


def simulate(line: Line, source: Source, generator: np.random.Generator, world: World = AS_GIVEN) -> Outcome:
    """One run.

    Args:
        line: what frames pass.
        source: how many frames, and when.
        generator: of what the times are drawn from; what is drawn does not depend on the world.
        world: what is other than the line says.
    """
    steps, back_s = _drawn(line, source, generator, world)
    sections = _Sections(steps, source)
    ended_s = sections.walk()
    latency = [math.nan] * source.frames
    span_s = 0.0
    for frame, at_s in ended_s:
        # Of what is taken off a short way more may be asked than there is: no frame ends before it is captured.
        end_s = max(at_s + float(back_s[frame]) + world.constant_s, frame / source.rate_per_s)
        latency[frame] = end_s - frame / source.rate_per_s
        span_s = max(span_s, end_s)
    return Outcome(tuple(latency), tuple(sections.lost_at), span_s, sections.sent_bytes)


def _drawn(
    line: Line, source: Source, generator: np.random.Generator, world: World
) -> tuple[list[_Step], npt.NDArray[np.float64]]:
    """The steps with their frames' times, and each frame's way back."""
    steps = []
    decode_s = back_s = np.zeros(source.frames)
    for number, step in enumerate(line.steps):
        queue = step.queue if number else line.camera
        if isinstance(step, Hop):
            pair = step.sender, step.receiver
            work_s = step.encode.draw(source.frames, generator) * (world.hosts.get(step.sender, 1.0) * world.all)
            late_s = lateness(step, source.frames, generator)
            transfers = Transfers(
                step, rate_factor=world.rates.get(pair, 1.0) / world.all, extra_s=world.extras_s.get(pair, 0.0)
            )
            steps.append(_Step(step, queue, work_s.tolist(), late_s.tolist(), transfers))
            decode_s = step.decode.draw(source.frames, generator)
            back_s = back_s + way_back(step, source.frames, generator)
        else:
            compute_s = step.time.draw(source.frames, generator) * (1 + step.overhead_ratio)
            work_s = (decode_s + compute_s) * (world.hosts.get(step.host, 1.0) * world.all)
            if step.kind is StageKind.SLICE:
                work_s = np.maximum(work_s + world.stalls_s.get(step.host, 0.0), 0.0)
            steps.append(_Step(step, queue, work_s.tolist()))
            decode_s = np.zeros(source.frames)
    return steps, back_s


class _Sections:
    """The walk; what a section gives is what the next one gets: frames in their order, and when each comes."""

    def __init__(self, steps: list[_Step], source: Source) -> None:
        self._steps = steps
        self._came = [(frame, frame / source.rate_per_s) for frame in range(source.frames)]
        self._parts: list[list[float]] = []
        self.lost_at: list[int | None] = [None] * source.frames
        self.sent_bytes = 0

    def walk(self) -> list[tuple[int, float]]:
        """Frames that were completed, and when the last step was done with each."""
        heads = [number for number, each in enumerate(self._steps) if not number or each.queue.drop is not Drop.NEVER]
        for first, behind in zip(heads, [*heads[1:], len(self._steps)], strict=True):
            section = _Section(self._steps[first:behind], self._steps[behind : behind + 1])
            queue = self._steps[first].queue
            if queue.messages:
                lost = _by_messages(section, queue.places, self._came, self._parts)
            elif queue.drop is Drop.OLDEST:
                lost = _oldest_lost(section, queue.places, self._came)
            else:
                lost = _newest_lost(section, queue.places, self._came)
            for frame in lost:
                self.lost_at[frame] = first
            self._came, self._parts = section.gone, section.parts
            self.sent_bytes += section.sent_bytes
        return self._came


class _Section:
    """Steps from a queue that loses frames to the next such queue."""

    def __init__(self, steps: list[_Step], behind: list[_Step]) -> None:
        self._steps = steps
        self._in_messages = bool(behind) and behind[0].queue.messages
        self.gone: list[tuple[int, float]] = []
        self.parts: list[list[float]] = []
        self.sent_bytes = 0

    def ready_s(self, place: int = 0) -> float:
        """When a step can take its next frame, if there is one: it is done with the last, and a hop has credit."""
        step = self._steps[place]
        if not isinstance(step.step, Hop) or place + 1 == len(self._steps):
            return step.free_s
        behind = self._steps[place + 1]
        before = len(step.taken_s) - behind.queue.places
        return step.free_s if before < 0 else max(step.free_s, behind.taken_s[before] + step.step.back_delay_s)

    def take(self, frame: int, at_s: float) -> None:
        """Lead a frame that the first step takes now, which can, through the section."""
        for place, step in enumerate(self._steps):
            if place:
                at_s = max(at_s, self.ready_s(place))
            step.taken_s.append(at_s)
            done_s = at_s + step.work_s[frame]
            if step.transfers is not None and isinstance(step.step, Hop):
                step.free_s, at_s = step.transfers.send(done_s, step.late_s[frame])
                self.sent_bytes += step.step.bytes
            else:
                step.free_s = at_s = max(done_s, self._room_s(place))
        self.gone.append((frame, at_s))
        last = self._steps[-1].transfers
        if self._in_messages and last is not None:
            self.parts.append(last.messages())

    def _room_s(self, place: int) -> float:
        """When the queue behind a stage has a place for the frame that the stage has just taken."""
        if place + 1 == len(self._steps):
            return -math.inf
        behind = self._steps[place + 1]
        before = len(behind.taken_s) - behind.queue.places
        return -math.inf if before < 0 else behind.taken_s[before]


def _newest_lost(section: _Section, places: int, came: list[tuple[int, float]]) -> list[int]:
    """Lead frames through a section; a frame that finds no place is lost. Returns those."""
    lost = []
    waiting: collections.deque[float] = collections.deque()
    for frame, at_s in came:
        while waiting and waiting[0] <= at_s:
            waiting.popleft()
        if len(waiting) >= places:
            lost.append(frame)
            continue
        taken_s = max(at_s, section.ready_s())
        section.take(frame, taken_s)
        waiting.append(taken_s)
    return lost


def _oldest_lost(section: _Section, places: int, came: list[tuple[int, float]]) -> list[int]:
    """The same, but the frame that waited longest makes place."""
    lost = []
    waiting: collections.deque[tuple[int, float]] = collections.deque()
    number = 0
    while number < len(came) or waiting:
        ready_s = section.ready_s()
        while number < len(came) and (came[number][1] < ready_s or not waiting):
            waiting.append(came[number])
            number += 1
            if len(waiting) > places:
                lost.append(waiting.popleft()[0])
        frame, at_s = waiting.popleft()
        section.take(frame, max(at_s, ready_s))
    return lost


def _by_messages(section: _Section, places: int, came: list[tuple[int, float]], parts: list[list[float]]) -> list[int]:
    """The same for a queue of messages: see `pipeline.inbound`, whose every place is taken out one by one."""
    lost = []
    waiting: collections.deque[tuple[int | None, float]] = collections.deque()

    def work_until(now_s: float) -> None:
        while waiting:
            frame, at_s = waiting[0]
            taken_s = max(at_s, section.ready_s())
            if taken_s > now_s:
                return
            waiting.popleft()
            if frame is not None:
                section.take(frame, taken_s)

    for (frame, _), times in zip(came, parts, strict=True):
        whole = True
        for number, at_s in enumerate(times):
            work_until(at_s)
            if len(waiting) >= places:
                whole = False
            else:
                waiting.append((frame if whole and number + 1 == len(times) else None, at_s))
        if not whole:
            lost.append(frame)
    work_until(math.inf)
    return lost
