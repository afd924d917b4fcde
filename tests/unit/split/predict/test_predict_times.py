"""What a step takes: sums of parts, and what is drawn from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slicebed.errors import SpecError
from slicebed.split.predict.times import NOTHING, Times


def _drawn(times: Times, frames: int = 4000):
    return times.draw(frames, np.random.default_rng(7))


def test_samples_are_drawn_as_they_are():
    times = Times.of([0.010, 0.012, 0.020])
    assert times.median_s == 0.012
    assert sorted(set(_drawn(times).round(9).tolist())) == [0.010, 0.012, 0.020]


def test_a_time_may_vary_as_another_one_does():
    times = Times.like(0.006, [0.010, 0.012, 0.020])
    assert times.median_s == 0.006
    assert sorted(set(_drawn(times).round(9).tolist())) == [0.005, 0.006, 0.010]


def test_parts_of_a_sum_vary_by_themselves():
    both = Times.of([0.01, 0.02, 0.03]) + Times.of([0.1, 0.2, 0.3]) + Times.fixed(1.0)
    assert both.median_s == pytest.approx(1.22)
    assert len(set(_drawn(both).round(9).tolist())) == 9
    assert _drawn(both).mean() == pytest.approx(1.22, rel=0.01)


def test_a_host_of_half_the_speed_takes_twice_the_time():
    times = Times.of([0.01, 0.02]) + Times.fixed(0.5)
    assert _drawn(times.scaled(2.0)).tolist() == pytest.approx((2 * _drawn(times)).tolist())


def test_the_same_seed_draws_the_same():
    times = Times.of([0.01, 0.02, 0.05])
    assert _drawn(times).tolist() == _drawn(times).tolist()


@pytest.mark.parametrize("times", [NOTHING, Times.fixed(0.0), Times.like(0.0, [0.1, 0.2])])
def test_nothing_takes_no_time_and_draws_nothing(times):
    generator = np.random.default_rng(7)
    assert times.draw(3, generator).tolist() == [0.0, 0.0, 0.0]
    assert generator.random() == np.random.default_rng(7).random()


def test_samples_that_are_all_nothing_do_not_vary():
    assert set(_drawn(Times.like(0.5, [0.0, 0.0])).tolist()) == {0.5}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Times.of([]),
        lambda: Times.of([0.1, -0.1]),
        lambda: Times.fixed(math.nan),
        lambda: Times.fixed(math.inf),
        lambda: Times.like(-1.0, [0.1]),
    ],
)
def test_what_is_no_time_is_refused(make):
    with pytest.raises(SpecError):
        make()
