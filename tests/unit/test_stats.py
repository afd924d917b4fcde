from __future__ import annotations

import math
import random
import statistics

import pytest

from slicebed.stats import median_interval, wilson_interval


def test_wilson_against_a_published_example():
    """Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, method 3 without continuity correction."""
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson_interval(0, 20)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.1611)
    low, high = wilson_interval(29, 29)
    assert (round(low, 4), round(high, 4)) == (0.8830, 1.0)


def test_share_of_nothing_is_not_a_number():
    assert all(math.isnan(bound) for bound in wilson_interval(0, 0))


@pytest.mark.parametrize(("count", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (50, 18, 33), (100, 40, 61)])
def test_median_ranks_are_those_of_the_sign_test_tables(count, low, high):
    """With the values 1 to n, the bounds are the ranks tabulated for a 95 % interval of the median."""
    assert median_interval(range(count, 0, -1)) == (low, high)


def test_too_few_values_have_no_interval():
    assert all(math.isnan(bound) for bound in median_interval([1.0] * 5))
    assert all(math.isnan(bound) for bound in median_interval([]))


def test_large_samples_join_on_to_the_exact_ranks():
    exact, approximate = median_interval(range(1, 1001)), median_interval(range(1, 1002))
    assert all(abs(a - b) <= 1 for a, b in zip(exact, approximate, strict=True))


def test_interval_covers_the_true_median_as_often_as_it_says():
    chance = random.Random(7)
    hits = 0
    for _ in range(600):
        sample = [chance.expovariate(1.0) for _ in range(30)]
        low, high = median_interval(sample)
        assert low <= statistics.median(sample) <= high
        hits += low <= math.log(2) <= high
    assert 0.93 <= hits / 600 <= 0.99
