"""Verdicts from estimates, and the intervals that they rest on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.results.reproduce.intervals import (
    Estimate,
    bootstrap_of_shares,
    difference,
    exact,
    least,
    rank_correlation,
    ratio,
    share,
)
from slicebed.results.reproduce.statement import Fact, Verdict, all_of, any_of, greater, less, of_every, within

HOLDS, FAILS, OPEN = Verdict
ESTIMATES = st.tuples(st.floats(0.01, 100), st.floats(0, 0.9), st.floats(0, 2)).map(
    lambda t: Estimate(t[0], t[0] * (1 - t[1]), t[0] * (1 + t[2]), 10)
)


def test_all_and_any():
    assert all_of([HOLDS, HOLDS]) is HOLDS
    assert all_of([HOLDS, OPEN, FAILS]) is FAILS
    assert all_of([HOLDS, OPEN]) is OPEN
    assert any_of([FAILS, OPEN, HOLDS]) is HOLDS
    assert any_of([FAILS, FAILS]) is FAILS
    assert any_of([FAILS, OPEN]) is OPEN
    assert all_of([]) is OPEN
    assert any_of([]) is OPEN


def test_a_case_of_the_paper_that_was_not_run_may_be_the_one_that_fails():
    assert of_every([HOLDS, HOLDS], 2) == (HOLDS, "")
    assert of_every([HOLDS, FAILS], 9) == (FAILS, " Of the paper's 9 cases 7 cannot be judged by what was run.")
    assert of_every([HOLDS], 3)[0] is OPEN
    # Somebody's own models beside the paper's.
    assert of_every([HOLDS] * 4, 3) == (HOLDS, "")


@pytest.mark.parametrize(
    ("low", "high", "is_greater", "is_less"),
    [(1.1, 2, HOLDS, FAILS), (0, 0.9, FAILS, HOLDS), (0.5, 1.5, OPEN, OPEN), (math.nan, math.nan, OPEN, OPEN)],
)
def test_a_bound_inside_the_interval_decides_nothing(low, high, is_greater, is_less):
    assert greater(Estimate(1.0, low, high), 1.0) is is_greater
    assert less(Estimate(1.0, low, high), 1.0) is is_less


def test_a_fact_tells_its_interval_and_its_count():
    assert Fact("rate", share(25, 50)).text == "rate: 0.5 [0.366, 0.634], n = 50"
    assert Fact("count", exact(34)).text == "count: 34"
    assert Fact("latency", Estimate(1234.4, n=3), "ms").text == "latency: 1234 ms, n = 3"
    assert Fact("nothing", Estimate(math.nan)).text == "nothing: -"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.05, 0.09, HOLDS), (0.1, 0.3, FAILS), (-0.4, -0.1, FAILS), (-0.05, 0.11, OPEN), (0.02, 0.3, OPEN)],
)
def test_the_same_is_the_whole_interval_within_the_margin(low, high, verdict):
    assert within(Estimate(0.0, low, high), -0.1, 0.1) is verdict
    assert within(Estimate(0.0), -0.1, 0.1) is OPEN


def test_the_least_of_many_is_less_sure_than_one():
    one = share(10, 50)
    many = least([one] * 30)
    assert (many.value, many.low) == (one.value, one.low)
    assert many.high > one.high
    assert least([one]) == pytest.approx(one)
    assert least([one, Estimate(5.0)]).low == 0
    assert least([Estimate(0.5), Estimate(0.7)])[:3] == (0.5, 0.0, math.inf)
    nothing = least([share(0, 50)] * 30)
    # Wilson's bound at the level of thirty: z of 0.025 / 30 is 3.14.
    assert nothing.high == pytest.approx(3.14**2 / (50 + 3.14**2), rel=0.15)


def test_intervals_that_hold_together_are_wider():
    a, b = share(20, 50), share(30, 50)
    for apart in (difference, ratio):
        one, many = apart(a, b), apart(a, b, among=21)
        assert many.low < one.low < one.value == many.value < one.high < many.high
    assert ratio(Estimate(2.0, 0.0, 3.0), exact(1.0))[:2] == pytest.approx((2.0, 0.0))


def test_the_difference_of_shares_is_newcombes():
    # R. G. Newcombe 1998, table II, example (a), method 10: 56/70 - 48/80.
    found = difference(share(56, 70), share(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@given(ESTIMATES, ESTIMATES)
def test_difference_and_ratio_agree_on_which_is_greater(a, b):
    apart, times = difference(a, b), ratio(a, b)
    assert apart.low <= apart.value <= apart.high
    assert times.value == pytest.approx(a.value / b.value)
    turned = difference(b, a)
    assert (turned.low, turned.high) == pytest.approx((-apart.high, -apart.low))
    if times.low > 0:
        assert times.low <= times.value * (1 + 1e-9)
        assert ratio(b, a).high == pytest.approx(1 / times.low)


def test_a_ratio_with_nothing_has_no_interval():
    assert math.isnan(ratio(share(0, 10), share(5, 10)).low)
    assert math.isnan(ratio(share(5, 10), share(0, 10)).value)
    assert ratio(share(0, 10), share(5, 10)).value == 0


def test_rank_correlation():
    places = list(range(12))
    up = rank_correlation(places, [value**3 for value in places])
    assert (up.value, up.high, up.n) == (1.0, 1.0, 12)
    assert 0.9 < up.low < 1
    down = rank_correlation(places, [-value for value in places])
    assert (down.value, down.low) == (-1.0, -1.0)
    # Spearman's by hand: ranks 1 2 3 4 5 against 2 1 4 3 5.
    assert rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).value == pytest.approx(0.8)
    assert rank_correlation([1, 2, 3, 4], [1, 1, 2, 2]).value == pytest.approx(4 / math.sqrt(20))


def test_rank_correlation_of_too_little():
    assert math.isnan(rank_correlation([1, 2, 3, 4], [5, 5, 5, 5]).value)
    assert math.isnan(rank_correlation([1], [1]).value)
    few = rank_correlation([1, 2, 3], [1, 2, 3])
    assert few.value == 1
    assert math.isnan(few.low)
    assert rank_correlation([1, 2, math.nan, 3], [1, 2, 9, 3]).n == 3


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=5, max_size=30))
def test_rank_correlation_stays_within_its_interval(pairs):
    found = rank_correlation(*zip(*pairs, strict=True))
    if not math.isnan(found.value):
        assert -1 <= found.low <= found.value + 1e-9
        assert found.value <= found.high + 1e-9 <= 1 + 2e-9


def test_shares_drawn_anew():
    apart = bootstrap_of_shares([(90, 100), (10, 100)], lambda rates: rates[0] - rates[1])
    assert apart.value == pytest.approx(0.8)
    assert 0.68 < apart.low < 0.76
    assert 0.84 < apart.high < 0.92
    assert apart == bootstrap_of_shares([(90, 100), (10, 100)], lambda rates: rates[0] - rates[1])
    assert math.isnan(bootstrap_of_shares([(0, 0)], lambda rates: rates[0]).value)
    for hits in (0, 20):
        edge = bootstrap_of_shares([(hits, 20)] * 5, lambda rates: max(rates) - min(rates))
        assert edge.value == 0
        assert 0.05 < edge.high < 0.3
