"""What --adapt knows of a cut is what the model's graph and the table's figures say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from slicebed.run.sliced_model import slice_model, source_of
from slicebed.run.stream.adapt import LinkState, Measured
from slicebed.run.stream.chooser import Chooser, candidate_of, measured_of, spots_of
from slicebed.run.stream.figures import HostFigures, LinkFigures, StageFigures, StreamFigures
from slicebed.run.stream.timeline import Timeline
from slicebed.run.stream.wanted import Options, in_words_of
from slicebed.split.model import open_source

LAB = Path(__file__).parents[4] / "inventory" / "testbeds" / "lab.yml"


@pytest.fixture(scope="module")
def stream():
    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        with in_words_of(Options(LAB, model="cnn14", cut="1-8", candidates=("3-9",))) as wanted:
            opened = open_source(source_of(wanted.experiment.model))
            return wanted, opened, slice_model(wanted.experiment, opened)


def link(rate):
    return LinkFigures("x", True, 24.0, rate, 1.0, 10.0, 0.0, 0.1, "lossless", 1000, 400, 0, 0, 0)  # noqa: FBT003 - a row


def figures(rates=(0, 0), compute_ms=(5.0, 5.0, 5.0)):
    hosts = tuple(
        HostFigures(
            host, stages=(StageFigures("slice", 10, 24.0, 0, 0.0, ms, 0, 0),), link=None if rate is None else link(rate)
        )
        for host, rate, ms in zip(("client", "edge", "cloud"), (*rates, None), compute_ms, strict=True)
    )
    return StreamFigures("1-8", 1.0, hosts=hosts)


def test_a_candidate_has_the_models_bytes_and_work(stream):
    wanted, opened, model = stream
    early, late = (candidate_of(opened, model, cut, 2) for cut in wanted.candidates)
    # Table 1 of the paper: 26 x 26 x 32 behind layer 1, 12 x 12 x 64 behind layer 3; four bytes each, two images.
    assert early.boundary_bytes[0] == 2 * 26 * 26 * 32 * 4
    assert late.boundary_bytes[0] == 2 * 12 * 12 * 64 * 4
    assert sum(early.flops) == sum(late.flops) == 2 * opened.graph.flops
    assert early.flops[0] < late.flops[0]


def test_figures_become_what_was_measured(stream):
    wanted, _, _ = stream
    spots = spots_of(wanted.placement, "client")
    assert spots == (("client", "slice"), ("edge", "slice"), ("cloud", "slice"))
    found = measured_of(figures(rates=(50_000_000, 0)), spots)
    assert found == Measured((LinkState(0.010, 50_000_000, 0.4), LinkState(0.010, 0, 0.4)), (0.005, 0.005, 0.005))
    assert measured_of(figures(compute_ms=(5.0, None, 5.0)), spots) is None


def test_slices_of_one_host_are_told_apart_by_name(stream):
    wanted, _, _ = stream
    placement = replace(wanted.placement, slices=("client", "edge", "edge"))
    assert spots_of(placement, "client") == (("client", "slice"), ("edge", "slice"), ("edge", "slice2"))


def test_a_slow_first_link_moves_the_cut_and_the_timeline_says_why(stream, monkeypatch):
    wanted, opened, model = stream
    now = [0.0]
    monkeypatch.setattr("slicebed.run.stream.chooser.time.monotonic", lambda: now[0])
    timeline = Timeline(lambda _: None)
    chooser = Chooser.of(opened, model, wanted, timeline)
    chosen = []
    for _ in range(60):
        now[0] += 0.5
        cut = chooser.consider(figures(rates=(2_000_000, 0), compute_ms=(0.4, 2.0, 2.0)), wanted.cut)
        chosen += [] if cut is None else [(now[0], cut.label)]
    assert chosen[0] == (10.0, "3-9")
    names = [event.name for event in timeline.events()]
    assert names[:2] == ["adapt: wait", "adapt: switch"]
    assert "3-9 is predicted" in timeline.events()[1].facts["reason"]
    assert set(timeline.events()[1].facts["predicted_ms"]) == {"1-8", "3-9"}


def test_where_nothing_is_better_the_first_look_says_so_and_the_next_say_nothing(stream, monkeypatch):
    wanted, opened, model = stream
    now = [0.0]
    monkeypatch.setattr("slicebed.run.stream.chooser.time.monotonic", lambda: now[0])
    timeline = Timeline(lambda _: None)
    chooser = Chooser.of(opened, model, wanted, timeline)
    for _ in range(60):
        now[0] += 0.5
        assert chooser.consider(figures(rates=(900_000_000, 900_000_000)), wanted.cut) is None
    assert [event.name for event in timeline.events()] == ["adapt: stay"]
    assert set(timeline.events()[0].facts["predicted_ms"]) == {"1-8", "3-9"}
