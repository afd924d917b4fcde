"""Intervals of quantiles: those of the median are a special case, and they hold what they promise."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.stats import median_interval, quantile_interval


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
