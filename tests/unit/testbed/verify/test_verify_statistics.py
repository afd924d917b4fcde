"""Intervals hold what they promise: 95 % of them contain the truth, also where samples are not normal."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed.testbed.verify.statistics import (
    batched_mean,
    deviation_estimate,
    mean_estimate,
    share_estimate,
    without_drift,
)

GENERATOR = np.random.default_rng(7)
REPEATS = 1000


def coverage(estimates, truth):
    return np.mean([each.low <= truth <= each.high for each in estimates])


@pytest.mark.parametrize("name", ["normal", "uniform", "exponential"])
def test_intervals_of_mean_and_deviation_cover_the_truth(name):
    draw = {
        "normal": lambda: GENERATOR.standard_normal(800),
        "uniform": lambda: GENERATOR.uniform(-(3**0.5), 3**0.5, 800),
        "exponential": lambda: GENERATOR.standard_exponential(800) - 1,
    }[name]
    samples = [draw() for _ in range(REPEATS)]
    assert 0.93 <= coverage([mean_estimate(each) for each in samples], 0.0) <= 0.97
    assert 0.91 <= coverage([deviation_estimate(each) for each in samples], 1.0) <= 0.97


def test_intervals_of_a_share_cover_the_truth():
    found = [share_estimate(int(hits), 2_000) for hits in GENERATOR.binomial(2_000, 0.02, REPEATS)]
    assert 0.93 <= coverage(found, 0.02) <= 0.97


def test_batches_cover_the_truth_of_a_series_that_depends_on_itself():
    def series():
        noise = GENERATOR.standard_normal(240)
        return np.convolve(noise, np.ones(5) / 5, mode="same")

    samples = [series() for _ in range(REPEATS)]
    assert coverage([mean_estimate(each) for each in samples], 0.0) < 0.8
    assert coverage([batched_mean(list(each), 20) for each in samples], 0.0) > 0.92


def test_values_that_do_not_vary_have_no_deviation():
    estimate = deviation_estimate([5.0] * 10)
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_a_drift_is_taken_off_and_the_variation_stays():
    times = np.arange(1000.0)
    noise, still = GENERATOR.standard_normal(1000), 0.01 * GENERATOR.standard_normal(1000)
    for sign in (1, -1):
        there, back = 1e6 + 3 * sign * times + noise, -1e6 - 3 * sign * times + still
        found = without_drift(times, there, back)
        assert np.std(found[0]) == pytest.approx(np.std(noise), rel=0.01)
        assert np.std(found[1]) < 0.02
        assert np.std(without_drift(times, back, there)[0]) < 0.02
