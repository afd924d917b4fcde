from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_problems import of

from slicebed.errors import SpecError
from slicebed.split.search.contracts import Measure
from slicebed.split.search.pareto import front, non_dominated

small = st.integers(0, 6).map(float)


def beats(one, other):
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@given(st.lists(st.tuples(small, small), max_size=30))
def test_exactly_what_no_other_beats(points):
    front = non_dominated(points)
    assert sorted(front) == [at for at, point in enumerate(points) if not any(beats(other, point) for other in points)]
    assert [points[at] for at in front] == sorted(points[at] for at in front)


def test_what_holds_no_number_neither_stands_nor_beats():
    assert non_dominated([(math.nan, 0.0), (1.0, math.nan), (2.0, 2.0)]) == [2]


def test_throughput_is_better_the_more_there_is():
    measures = [
        Measure("slow", of(latency=0.1, throughput=5)),
        Measure("fast", of(latency=0.2, throughput=9)),
        Measure("beaten", of(latency=0.2, throughput=8)),
        Measure("equal", of(latency=0.1, throughput=5)),
        Measure("none came through", of(throughput=0)),
    ]
    assert [found.key for found in front(measures, "latency", "throughput")] == ["slow", "equal", "fast"]
    assert [found.key for found in front(measures, "throughput", "latency")] == ["fast", "slow", "equal"]
    assert front([], "latency", "throughput") == ()


@pytest.mark.parametrize("pair", [("latency", "latency"), ("latency", "speed"), ("latency", "energy")])
def test_what_has_no_front_is_refused(pair):
    with pytest.raises(SpecError, match=pair[1]):
        front([Measure("one", of(latency=1.0))], *pair)
