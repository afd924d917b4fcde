"""The camera: on time, whatever it shows and whatever is behind it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from slicebed_agent.pipeline.contracts import End, SourcePlan
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.samples import Spool
from slicebed_agent.pipeline.source import LATE_S, Camera

PICTURE = (np.zeros(1),)


class Studio:
    """A camera, and what came of it."""

    def __init__(self, path, draw, *, frames=None, rate=100.0):
        self.ends, self.taken, self.trouble = {}, [], []
        self.ledger = Ledger("run", "client", Spool(path), self._ended)
        plan = SourcePlan(frames, rate, 1, 0)
        self.camera = Camera(plan, draw, self.ledger, self._put, self.trouble.append)

    def _put(self, frame, tensors):
        self.taken.append(frame)

    def _ended(self, frame, ending):
        self.ends[frame.frame_id] = ending
        return ending.end

    def wait_finished(self):
        deadline = time.monotonic() + 10
        while not self.camera.finished:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def studio(tmp_path):
    made = []

    def make(draw, **changes):
        made.append(Studio(tmp_path / "samples.jsonl", draw, **changes))
        return made[-1]

    yield make
    for each in made:
        each.camera.stop()


def test_it_ends_with_the_film_and_captures_nothing_for_that(studio):
    shown = studio(lambda frame_id: PICTURE if frame_id < 3 else None)
    shown.camera.start()
    shown.wait_finished()
    assert [frame.frame_id for frame in shown.taken] == [0, 1, 2]
    assert shown.ledger.counted().captured == shown.camera.next_frame_id == 3
    assert shown.trouble == []


def test_without_a_number_of_frames_it_goes_on_until_it_is_stopped(studio):
    shown = studio(lambda _: PICTURE, rate=500.0)
    shown.camera.start()
    deadline = time.monotonic() + 10
    while len(shown.taken) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not shown.camera.finished
    shown.camera.stop()
    assert shown.camera.finished


def test_pictures_that_cannot_be_drawn_are_told_in_one_line(studio):
    def draw(frame_id):
        if frame_id == 2:
            raise OSError("the film\nis torn")
        return PICTURE

    shown = studio(draw)
    shown.camera.start()
    shown.wait_finished()
    assert shown.trouble == ["the film is torn"]
    assert shown.ledger.counted().captured == 2


def test_a_source_that_is_too_slow_misses_pictures_and_does_not_drift(studio):
    """Pictures at 100 per second that take 25 ms each: three of four are late, and the film's time is kept."""
    numbers = []

    def draw(frame_id):
        numbers.append(frame_id)
        time.sleep(0.025)
        return PICTURE

    shown = studio(draw, frames=150)
    begin = time.monotonic()
    shown.camera.start()
    shown.wait_finished()
    assert time.monotonic() - begin < 1.5 + LATE_S + 1.0
    late = {(ending.end, ending.stage, ending.reason) for ending in shown.ends.values()}
    assert late == {(End.DROPPED, "source", "the source was late")}
    assert shown.ledger.counted().captured == 150
    assert sorted(numbers + list(shown.ends)) == list(range(150))
    assert numbers == sorted(numbers)
    assert len(shown.ends) > 50


def test_a_hiccup_costs_no_picture(studio):
    def draw(frame_id):
        time.sleep(LATE_S / 2 if frame_id == 5 else 0)
        return PICTURE

    shown = studio(draw, frames=50)
    shown.camera.start()
    shown.wait_finished()
    assert len(shown.taken) == 50


def test_a_switch_takes_effect_at_the_frame_that_it_names(studio):
    drawing, go_on = threading.Event(), threading.Event()

    def draw(frame_id):
        if frame_id == 3:
            drawing.set()
            assert go_on.wait(5)
        return PICTURE

    shown = studio(draw, frames=6)
    shown.camera.start()
    assert drawing.wait(5)
    assert shown.camera.switch(7) == 3
    go_on.set()
    shown.wait_finished()
    assert [frame.version for frame in shown.taken] == [0, 0, 0, 7, 7, 7]
