"""Medians and their intervals."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebed_agent.model.profile.statistics import Estimate, estimate


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40))
def test_the_interval_holds_the_median_and_lies_within_the_samples(samples: list[float]) -> None:
    found = estimate(samples)
    assert min(samples) <= found.low <= found.median <= found.high <= max(samples)
    assert found == estimate(samples)


def test_equal_samples_leave_no_doubt() -> None:
    assert estimate([2.0] * 9) == Estimate(2.0, 2.0, 2.0)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(5)
    found = [estimate(generator.exponential(1.0, 40)) for _ in range(100)]
    held = sum(each.low <= np.log(2) <= each.high for each in found)
    assert 0.88 <= held / len(found) <= 1


def test_an_estimate_is_shown_with_its_interval() -> None:
    assert str(Estimate(0.012345, 0.0119, 0.0131).scaled(1e3)) == "12.3 (11.9-13.1)"
