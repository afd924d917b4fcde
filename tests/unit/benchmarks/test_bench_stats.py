"""The benchmark's figures: medians, ratios and their intervals."""

import math

import pytest
from benchmarks.network.stats import median, ratio


def test_interval_encloses_the_median_and_repeats_itself():
    values = [1.0, 1.1, 0.9, 1.3, 1.05, 0.95, 1.2]
    estimate = median(values)
    assert estimate.median == 1.05
    assert min(values) <= estimate.low <= 1.05 <= estimate.high <= max(values)
    assert median(values) == estimate


def test_two_runs_have_no_interval():
    estimate = median([1.0, 2.0])
    assert (estimate.median, estimate.count) == (1.5, 2)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_a_slow_round_cancels_out_of_the_ratio():
    estimate = ratio([10.0, 100.0, 20.0], [1.0, 10.0, 2.0])
    assert (estimate.low, estimate.median, estimate.high) == (10.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("above", "below"), [([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([], [])], ids=["uneven", "no time", "no runs"]
)
def test_what_has_no_ratio_is_refused(above, below):
    with pytest.raises(ValueError, match=r"rounds|no time|no runs"):
        ratio(above, below)
