"""Frames through any line: what holds whatever the times, the queues and the links are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebed.spec.pipeline import Drop
from slicebed.split.predict.line import Hop, Line, QueueModel, Source, Stage
from slicebed.split.predict.link import REPORT_S
from slicebed.split.predict.predictor import figures_of
from slicebed.split.predict.simulation import Outcome, simulate
from slicebed.split.predict.times import Times

TIMES = st.lists(st.floats(0.001, 0.3), min_size=1, max_size=5).map(Times.of)
QUEUES = st.builds(QueueModel, places=st.integers(1, 5), drop=st.sampled_from(Drop))
MESSAGES = st.builds(QueueModel, places=st.integers(1, 12), messages=st.just(value=True))
CAMERAS = st.builds(QueueModel, places=st.integers(1, 4), drop=st.sampled_from([Drop.NEWEST, Drop.OLDEST]))
SOURCES = st.builds(Source, rate_per_s=st.floats(1.0, 30.0), frames=st.integers(1, 40))


@st.composite
def lines(draw) -> Line:
    steps: list[Stage | Hop] = []
    host = "h0"
    for number in range(draw(st.integers(1, 4))):
        if number == 0 or draw(st.booleans()):
            receiver = f"h{number + 1}"
            hop = Hop(
                host,
                receiver,
                draw(st.integers(0, 400_000)),
                draw(st.sampled_from([0.0, 2e6, 5e7])),
                draw(st.sampled_from([0.0, 0.02])),
                draw(st.sampled_from([0.0, 0.004])),
                0.01,
                queue=draw(QUEUES),
                max_message_bytes=draw(st.sampled_from([0, 50_000])),
            )
            steps.append(hop)
            host = receiver
            queue = draw(st.one_of(QUEUES, MESSAGES))
        else:
            queue = draw(QUEUES)
        steps.append(Stage("slice", host, draw(TIMES), queue, draw(st.sampled_from([0.0, 1.0]))))
    return Line(tuple(steps), draw(CAMERAS))


def _ends(line: Line, outcome, source: Source) -> list[float]:
    """When each completed frame was done, in the order of their numbers, without jitter on the way back."""
    return [frame / source.rate_per_s + each for frame, each in enumerate(outcome.latency_s) if not math.isnan(each)]


@settings(max_examples=150, deadline=None)
@given(lines(), SOURCES, st.integers(0, 1000))
def test_every_frame_completes_or_is_lost_once_at_a_queue_that_loses(line, source, seed):
    outcome = simulate(line, source, np.random.default_rng(seed))
    assert len(outcome.latency_s) == len(outcome.lost_at) == source.frames
    for latency_s, lost_at in zip(outcome.latency_s, outcome.lost_at, strict=True):
        assert math.isnan(latency_s) == (lost_at is not None)
        if lost_at is not None and lost_at > 0:
            step = line.steps[lost_at]
            assert step.queue.drop is not Drop.NEVER
    figures = figures_of(outcome)
    assert figures["drop_rate"] == pytest.approx(1 - len(outcome.completed) / source.frames)
    assert outcome.sent_bytes >= len(outcome.completed) * sum(hop.bytes for hop in line.hops)


@settings(max_examples=150, deadline=None)
@given(lines(), SOURCES, st.integers(0, 1000))
def test_no_frame_is_faster_than_its_work_and_none_overtakes(line, source, seed):
    still = Line(
        tuple(
            step if isinstance(step, Stage) else Hop(step.sender, step.receiver, step.bytes, step.rate_bit_per_s)
            for step in line.steps
        ),
        line.camera,
    )
    outcome = simulate(still, source, np.random.default_rng(seed))
    least_s = sum(
        min(step.time.parts[0].shape) * step.time.median_s * (1 + step.overhead_ratio) for step in line.stages
    )
    assert all(each >= least_s - 1e-9 for each in outcome.completed)
    ends = _ends(still, outcome, source)
    assert ends == sorted(ends)


@settings(max_examples=60, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=4), SOURCES, st.integers(0, 1000))
def test_without_losses_it_is_lindleys_recursion(times, source, seed):
    roomy = QueueModel(1000)
    line = Line(tuple(Stage("slice", "a", each, roomy) for each in times), roomy)
    outcome = simulate(line, source, np.random.default_rng(seed))
    generator = np.random.default_rng(seed)
    work = [each.draw(source.frames, generator) for each in times]
    free = [0.0] * len(times)
    for frame in range(source.frames):
        at = frame / source.rate_per_s
        for place, each in enumerate(work):
            at = free[place] = max(at, free[place]) + each[frame]
        assert outcome.latency_s[frame] == pytest.approx(at - frame / source.rate_per_s)


@settings(max_examples=60, deadline=None)
@given(st.lists(TIMES, min_size=2, max_size=4), SOURCES, st.integers(0, 1000))
def test_queues_that_wait_are_as_good_as_long_ones_until_they_hold_up_the_camera(times, source, seed):
    """With blocking, no frame is done sooner than without; and none is lost behind the camera."""
    camera = QueueModel(1000)
    held = Line(tuple(Stage("slice", "a", each, QueueModel(1, Drop.NEVER)) for each in times), camera)
    roomy = Line(tuple(Stage("slice", "a", each, QueueModel(1000)) for each in times), camera)
    waiting = simulate(held, source, np.random.default_rng(seed)).latency_s
    free = simulate(roomy, source, np.random.default_rng(seed)).latency_s
    assert all(one >= other - 1e-9 for one, other in zip(waiting, free, strict=True))


def test_blocking_through_several_stages_is_worked_by_hand():
    # 1, 1 and 3 s of work, one place before each: the last stage takes frames at 2, 5, 8, 11, 14.
    stages = tuple(Stage("slice", "a", Times.fixed(each), QueueModel(1, Drop.NEVER)) for each in (1.0, 1.0, 3.0))
    outcome = simulate(Line(stages, QueueModel(50)), Source(1.0, 5), np.random.default_rng(0))
    assert outcome.latency_s == pytest.approx([5.0, 7.0, 9.0, 11.0, 13.0])


def test_throughput_is_of_the_time_until_the_last_end():
    hop = Hop("a", "b", 300_000, 50e6, 0.021, 0.008, 0.021)
    line = Line((Stage("slice", "a", Times.fixed(0.03)), hop, Stage("slice", "b", Times.fixed(0.03))))
    outcome = simulate(line, Source(24.0, 100), np.random.default_rng(0))
    figures = figures_of(outcome)
    assert figures["throughput"] == pytest.approx(100 * (1 - figures["drop_rate"]) / outcome.span_s)
    assert figures["latency"] > 0.06 + 0.05 + 0.021 * 2 + REPORT_S


def test_a_run_in_which_nothing_completes_has_no_figures_of_frames():
    figures = figures_of(Outcome((math.nan,) * 3, (1, 1, 1), 0.0, 300))
    assert (figures["latency"], figures["latency_p95"], figures["bytes"]) == (math.inf,) * 3
    assert (figures["drop_rate"], figures["throughput"]) == (1.0, 0.0)
