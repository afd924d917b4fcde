"""Intervals hold what they promise: quantiles, of which the median is a special case, and what runs differ by."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.stats import median_interval, over_runs, quantile_interval, student_quantile, wilson_interval


@given(st.lists(st.floats(-1e6, 1e6), max_size=60))
def test_the_median_s_interval_is_that_of_the_half_quantile(values):
    expected = median_interval(values)
    found = quantile_interval(values, 0.5)
    assert found == expected or (math.isnan(found[0]) and math.isnan(expected[0]))


@pytest.mark.parametrize(("count", "share"), [(40, 0.3), (120, 0.95), (2000, 0.95)])
def test_an_interval_holds_its_quantile_at_least_so_often_as_it_says(count, share):
    draw = random.Random(1)
    hits = 0
    for _ in range(300):
        low, high = quantile_interval([draw.random() for _ in range(count)], share)
        hits += low <= share <= high
    assert hits >= 0.925 * 300


def test_too_few_values_beyond_a_quantile_have_no_interval():
    assert all(map(math.isnan, quantile_interval(range(50), 0.95)))
    assert not any(map(math.isnan, quantile_interval(range(100), 0.95)))
    assert all(map(math.isnan, quantile_interval([], 0.5)))


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4.5, 2.6585), (5, 2.5706), (11, 2.2010), (30, 2.0423), (1000, 1.9623)],
)
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student_quantile(freedom) == pytest.approx(quantile, rel=0.005)


def test_runs_that_differ_widen_the_interval_of_their_frames_and_alike_ones_do_not():
    pooled = wilson_interval(10, 100)
    assert over_runs(pooled, [0.1]) == pooled
    assert over_runs(pooled, [0.1, 0.1]) == pooled
    assert over_runs(pooled, [0.05, 0.15], most=1.0) == (0.0, pytest.approx(0.1 + 12.7062 * 0.05))
    assert over_runs(pooled, [0.0, 0.2], most=1.0) == (0.0, 1.0)
    low, high = over_runs(pooled, [0.02, 0.18, 0.1, 0.06, 0.14])
    assert low == pytest.approx(0.1 - 2.7765 * 0.0632456 / 5**0.5, rel=0.01)
    assert high == pytest.approx(0.1 + 2.7765 * 0.0632456 / 5**0.5, rel=0.01)


def test_the_interval_over_runs_covers_what_runs_are_drawn_around():
    """Frames of a run have an offset in common, of which an interval of all frames together knows nothing."""
    draw = random.Random(5)
    alone = hits = 0
    for _ in range(300):
        offsets = [draw.gauss(10, 1) for _ in range(4)]
        runs = [[offset + draw.gauss(0, 0.5) for _ in range(30)] for offset in offsets]
        medians = [sorted(run)[15] for run in runs]
        pooled = median_interval([value for run in runs for value in run])
        low, high = over_runs(pooled, medians)
        alone += pooled[0] <= 10 <= pooled[1]
        hits += low <= 10 <= high
    assert alone < 0.8 * 300
    assert hits >= 0.93 * 300


def test_dependent_trials_widen_the_interval_of_a_share():
    low, high = wilson_interval(10, 100)
    lower, higher = wilson_interval(10, 100, independent=20)
    assert lower < low < 0.1 < high < higher
