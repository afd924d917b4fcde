"""What cells give together, when they are enough, and their order."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from searches import LATENCY, SimulatedHosts, make_spaces

from slicebed.errors import RunError
from slicebed.run.search.cells import CellData, Repeats, cell_of, measure, ordered, read_cell
from slicebed.run.search.space import Cell
from slicebed.run.store import create_campaign
from slicebed.split.search.objective import parse, score
from slicebed.stats import median_interval


def data(latencies_s=(0.1, 0.11, 0.12, 0.13, 0.14, 0.15), dropped=0, repeat=1, sent=(100, 100), energy=None):
    frames = {"captured": len(latencies_s) + dropped, "completed": len(latencies_s), "dropped": dropped, "failed": 0}
    manifest = {"frames": frames, "total_time_s": 2.0, "testbed_s": 5.0}
    cell = Cell("p", "k", repeat)
    computed = tuple(0.01 for _ in latencies_s)
    return CellData(cell, manifest, tuple(latencies_s), sent, (computed,), {"edge": computed}, energy)


def test_a_measure_is_of_all_frames_together():
    found = measure("k", [data(), data((0.2,) * 6, dropped=4)])
    assert found.figures["latency"].value == pytest.approx(
        statistics.median([0.1, 0.11, 0.12, 0.13, 0.14, 0.15] + [0.2] * 6)
    )
    assert found.figures["drop_rate"].value == pytest.approx(4 / 16)
    assert found.figures["drop_rate"].low < 0.25 < found.figures["drop_rate"].high
    assert found.figures["throughput"].value == pytest.approx(12 / 4)
    assert found.figures["throughput"].low < 3 < found.figures["throughput"].high
    assert found.figures["bytes"].value == pytest.approx(400 / 12)
    assert (found.frames, found.repeats, found.testbed_s, found.compute_s) == (16, 2, 10.0, (0.01,))
    assert "energy" not in found.figures
    assert measure("k", [data(energy=3.0)]).figures["energy"].value == pytest.approx(0.5)


def test_the_interval_of_several_runs_holds_what_runs_differ_by():
    draw = random.Random(1)
    hits = pooled_hits = 0
    for _ in range(300):
        middles = [draw.gauss(100, 5) for _ in range(3)]
        cells = [data([draw.gauss(middle, 3) for _ in range(12)], repeat=at) for at, middle in enumerate(middles, 1)]
        found = measure("k", cells).figures["latency"]
        low, high = median_interval([each for cell in cells for each in cell.latencies_s])
        assert found.low <= low <= found.value <= high <= found.high
        hits += found.low <= 100 <= found.high
        pooled_hits += low <= 100 <= high
    assert hits >= 0.925 * 300 > pooled_hits


def test_drop_rate_throughput_and_bytes_know_what_runs_differ_by_too():
    full, empty = data((0.2,) * 20, sent=(100,) * 20), data((0.2,) * 10, dropped=10, sent=(100,) * 20)
    alike, different = measure("k", [full, full]).figures, measure("k", [full, empty]).figures
    assert alike["drop_rate"].high < 0.1
    assert (different["drop_rate"].low, different["drop_rate"].high) == (0, 1)
    assert (different["throughput"].low, different["bytes"].low) == (0, 0)
    for metric in ("throughput", "bytes"):
        middle = (full, empty)
        low, high = (measure("k", [cell]).figures[metric].value for cell in middle)
        assert different[metric].high - (low + high) / 2 == pytest.approx(12.7062 * abs(high - low) / 2)


def test_the_interval_of_a_single_run_is_that_of_its_frames():
    latencies = [draw / 100 for draw in range(10, 22)]
    alone = measure("k", [data(latencies)]).figures["latency"]
    assert (alone.low, alone.high) == median_interval(latencies)
    assert measure("k", [data(latencies), data((), dropped=5)]).figures["latency"] == alone
    assert measure("k", [data([0.1] * 6), data([0.2] * 6)]).figures["latency"].low == 0


def test_a_cell_without_completed_frames_has_a_drop_rate_and_no_latency():
    found = measure("k", [data((), dropped=5, sent=())])
    assert found.figures["drop_rate"].value == 1
    assert set(found.figures) == {"drop_rate", "throughput"}
    assert found.compute_s == ()


@pytest.mark.parametrize(
    ("until", "latencies", "settled"),
    [
        (None, [0.1] * 6, 2),
        (0.05, [0.1] * 6, 2),
        (0.05, [0.1, 0.2, 0.1, 0.2, 0.1, 0.2], None),
        (0.05, [0.1, 0.1], None),
    ],
)
def test_cells_are_enough_when_the_interval_is_narrow(until, latencies, settled):
    cells = [data(latencies, repeat=repeat) for repeat in (1, 2)]
    repeats = Repeats(2, 4, until, LATENCY)
    assert repeats.settled(cells[:1]) is None
    found = repeats.settled(cells)
    assert (None if found is None else len(found)) == settled
    assert len(repeats.settled([*cells, *cells, *cells])) in {settled, 3, 4}


RUNS = [data([0.1 + at / 10000 for at in range(100)], repeat=repeat) for repeat in range(1, 11)]
APART = [
    data([middle + at / 10000 for at in range(100)], repeat=repeat)
    for repeat, middle in enumerate([0.1, 0.13, 0.09, 0.12, 0.1, 0.11, 0.1, 0.12, 0.09, 0.1], start=1)
]
LOSING = [data([0.1 + at / 10000 for at in range(12)], dropped=4, repeat=repeat) for repeat in range(1, 11)]
FEW = [data([0.1 + at / 10000 for at in range(12)], repeat=repeat) for repeat in range(1, 11)]


@pytest.mark.parametrize(
    ("objective", "cells", "runs"),
    [
        ("latency", RUNS, 3),
        ("latency", APART, 10),
        ("drop_rate", RUNS, 3),
        # None of 36 frames: a drop rate of up to 0.1, five points to either side.
        ("drop_rate", FEW, 3),
        ("latency;drop_rate<=5 %", RUNS, 3),
        # Open whether it is kept, but known as exactly as is asked.
        ("latency;drop_rate<=1 %", RUNS, 3),
        ("latency;latency_p95<=1", FEW, 6),
        # Known badly, and yet that they are kept, or broken.
        ("latency;drop_rate<=50 %", LOSING, 3),
        ("latency;drop_rate<=30 %", LOSING, 10),
        ("latency;throughput>=1", LOSING, 3),
        ("latency;throughput>=6", LOSING, 10),
        ("latency;throughput>=60", LOSING, 3),
        # Broken for sure, or nothing came through: by how much nobody needs to know.
        ("latency;latency<=10 ms", APART, 3),
        ("latency", [data((), dropped=9)] * 10, 3),
        ("latency=1/100 ms,drop_rate=1/10 %", RUNS, 3),
        ("latency_p95", RUNS, 3),
        ("latency_p95", FEW, 6),
        ("throughput", RUNS, 3),
        ("bytes", RUNS, 3),
        ("energy", RUNS, 10),
    ],
)
def test_each_metric_of_the_objective_is_to_be_known_as_exactly_as_is_asked(objective, cells, runs):
    assert len(Repeats(3, 10, 0.05, parse(objective)).settled(cells)) == runs


def test_a_drop_rate_is_known_within_points_not_shares():
    cells = [data([0.1] * 90, dropped=10, repeat=repeat) for repeat in range(1, 11)]
    assert len(Repeats(3, 10, 0.05, parse("drop_rate")).settled(cells)) == 3
    # Of 300 frames with a tenth dropped, the interval is 3.4 points wide to either side.
    assert len(Repeats(3, 10, 0.02, parse("drop_rate")).settled(cells)) == 9


def test_frames_that_failed_are_as_lost_as_dropped_ones():
    cell = data([0.1] * 6, dropped=2)
    cell.manifest["frames"].update(captured=12, failed=4)
    found = measure("k", [cell]).figures
    assert found["drop_rate"].value == pytest.approx(6 / 12)
    assert found["drop_rate"].low < 0.5 < found["drop_rate"].high
    none = data((), sent=())
    none.manifest["frames"].update(captured=12, failed=12)
    worst = measure("k", [none]).figures
    assert worst["drop_rate"].value == 1
    assert score(parse("latency"), worst) == math.inf
    assert score(parse("drop_rate"), worst) > score(parse("drop_rate"), found)


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 8))
def test_which_cells_settle_does_not_depend_on_those_that_follow(at_least, more, count):
    cells = [data([0.1, 0.1 + repeat / 100] * 4, repeat=repeat) for repeat in range(1, count + 1)]
    repeats = Repeats(at_least, at_least + more, 0.05, LATENCY)
    found = repeats.settled(cells)
    if found is None:
        assert count < at_least + more
    else:
        assert at_least <= len(found) <= at_least + more
        assert all(repeats.settled(cells[:end]) is None for end in range(len(found)))
        assert repeats.settled(cells[: len(found)]) == found


def test_cells_are_shuffled_in_blocks_of_a_repeat_and_hosts_change_rarely(tmp_path):
    _, (space,) = make_spaces(tmp_path, "search: {knobs: {edge.quota: [0.5, 1]}}")
    spaces = {space.id: space}
    cells = {Cell(space.id, key, repeat) for key in space.variants for repeat in (1, 2)}
    found = ordered(cells, spaces, randomised=True, seed=1)
    assert set(found) == cells
    assert [cell.repeat for cell in found] == sorted(cell.repeat for cell in found)
    assert found == ordered(reversed(found), spaces, randomised=True, seed=1)
    assert found != ordered(cells, spaces, randomised=True, seed=2)
    knobs = [space.variants[cell.key].knobs for cell in found]
    assert sum(before != after for before, after in itertools.pairwise(knobs)) <= 3
    assert [cell.id for cell in found] != sorted(cell.id for cell in found)


def test_a_finished_run_is_read_back_as_its_cell(tmp_path):
    _, (space,) = make_spaces(tmp_path)
    campaign = create_campaign(tmp_path / "results", "small", {})
    cell = Cell(space.id, "split:op3", 2, 6)
    manifest = SimulatedHosts(campaign, [space]).measure(cell, None)
    assert cell_of(manifest) == cell
    read = read_cell(cell, campaign.folder / cell.run_id, manifest)
    samples = pd.read_parquet(campaign.folder / cell.run_id / "samples.parquet")
    assert read.latencies_s == tuple(samples["latency_ms"].dropna() / 1000)
    assert read.frames["captured"] == 6
    assert len(read.slices_s) == 2
    assert set(read.compute_s) == {"client", "edge"}
    (campaign.folder / cell.run_id / "samples.parquet").unlink()
    with pytest.raises(RunError, match="cannot be read"):
        read_cell(cell, campaign.folder / cell.run_id, manifest)
