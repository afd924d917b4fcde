"""What the benchmark prints fits the terminal and says what it means."""

import math

import pytest
from benchmarks.network.stats import Estimate
from benchmarks.network.tables import WIDTH, seconds, spread, table, times

FEW = Estimate(1.5, math.nan, math.nan, 2)


def test_columns_line_up():
    assert table(["way", "lost"], [["tc", "7"], ["EnosLib", "1,024"]]) == (
        "way       lost\n-------  -----\ntc           7\nEnosLib  1,024"
    )


def test_a_long_last_column_is_wrapped_under_itself():
    lines = table(["way", "said"], [["tcconfig", "words " * 40]]).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert len(lines) > 3
    assert lines[-1].startswith(" " * 10 + "words")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.000123, "0.123 ms"), (0.0456, "45.6 ms"), (0.999, "999 ms"), (14.44, "14.4 s"), (350, "350 s")],
)
def test_times_have_three_digits_and_a_unit(value, text):
    assert seconds(value) == text


def test_an_interval_names_its_unit_once_where_it_is_one():
    assert spread(Estimate(0.1, 0.09, 0.11, 5)) == "90.0 to 110 ms"
    assert spread(Estimate(1, 0.9, 1.1, 5)) == "900 ms to 1.10 s"
    assert spread(FEW) == "too few"


def test_a_ratio_without_an_interval_prints_none():
    assert times(Estimate(143.2, 131, 150.4, 5)) == "143 x [131, 150]"
    assert times(FEW) == "1.50 x"
