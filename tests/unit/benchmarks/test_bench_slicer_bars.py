"""A bar is met or not, and the table says where the interval leaves that open."""

import math

import pytest
from benchmarks.network.stats import Estimate
from benchmarks.slicer import bars


@pytest.mark.parametrize(
    ("found", "at_least", "said"),
    [
        (Estimate(0.4, 0.3, 0.5, 9), False, "met"),
        (Estimate(0.9, 0.8, 1.2, 9), False, "met, interval open"),
        (Estimate(1.1, 0.9, 1.2, 9), False, "NOT met, interval open"),
        (Estimate(1.3, 1.1, 1.4, 9), False, "NOT met"),
        (Estimate(12, 11, 13, 9), True, "met"),
        (Estimate(12, 0.5, 13, 9), True, "met, interval open"),
        (Estimate(0.5, 0.2, 0.9, 9), True, "NOT met"),
        (Estimate(0.5, math.nan, math.nan, 2), False, "met"),
    ],
)
def test_the_median_decides_and_the_interval_is_told(found, at_least, said):
    assert bars.judge(found, 1.0, at_least=at_least) == said


def test_one_slow_change_misses_the_bar_of_all():
    assert bars.of_worst("switch", [0.001, 0.002], 0.01).said == "met"
    row = bars.of_worst("switch", [0.001, 0.02], 0.01)
    assert (row.found, row.bar, row.said) == ("20.0 ms, longest of 2", "under 10.0 ms", "NOT met")


def test_one_refused_cut_misses_the_bar():
    assert bars.of_count("refused", 0, 98).said == "met"
    assert bars.of_count("refused", 1, 98).said == "NOT met"


def test_a_size_may_be_as_large_as_its_bar():
    assert bars.of_bytes("memory", 300_000_000, 300_000_000).said == "met"
    assert bars.of_bytes("memory", 300_000_001, 300_000_000).said == "NOT met"


def test_a_first_frame_that_was_quicker_is_below_zero():
    assert bars.signed(-0.0125) == "-12.5 ms"
    assert bars.signed(0.0125) == "12.5 ms"
