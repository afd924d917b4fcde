"""A cut is found by name, or refused with what to say instead."""

from __future__ import annotations

import pytest
from model_graphs import graph, operator

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.cuts.choose import choose
from slicebed_agent.model.cuts.exact import exact

MODEL = graph(
    operator("input"),
    operator("conv1", "input"),
    operator("conv2", "conv1"),
    operator("pool", "conv2"),
    operator("dense", "pool"),
    operator("softmax", "dense"),
)
POINTS = exact(MODEL)


def test_names_in_order_are_found():
    assert [point.position for point in choose(POINTS, ["conv1", "pool"])] == [2, 4]


def test_an_unknown_name_is_refused_with_the_three_nearest():
    with pytest.raises(AgentConfigError) as refused:
        choose(POINTS, ["conv3"])
    assert str(refused.value) == "cut: no split point is named 'conv3'; the nearest are conv2, conv1, pool"


def test_a_model_without_points_says_so():
    with pytest.raises(AgentConfigError, match="this model has no split point"):
        choose((), ["conv3"])


def test_an_order_that_goes_backwards_is_refused_with_the_right_one():
    with pytest.raises(AgentConfigError) as refused:
        choose(POINTS, ["pool", "conv1"])
    assert str(refused.value) == "cut: conv1 lies before pool; name the split points in the model's order: conv1,pool"


def test_a_point_named_twice_is_refused():
    with pytest.raises(AgentConfigError, match="pool is named twice"):
        choose(POINTS, ["pool", "pool"])
