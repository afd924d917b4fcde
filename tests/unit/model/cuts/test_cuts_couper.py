"""Couper's algorithm as published: its counts, and where it accepts what does not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_graphs import graph, operator

from slicebed_agent.model.cuts.couper import couper
from slicebed_agent.model.cuts.exact import exact
from slicebed_agent.model.graphdef.read import read_graph

DATA = Path(__file__).parent.parent / "graphdef" / "data"


@pytest.mark.parametrize(("name", "count"), [("vgg_16.pb", 52), ("inception_v3.pb", 34)])
def test_it_counts_the_split_points_of_couper_table_5(name, count):
    points = couper(read_graph(DATA / name))
    assert len(points) == count
    assert [point.position for point in points] == sorted({point.position for point in points})


def test_a_skip_through_identity_is_lost_and_a_point_within_it_accepted():
    model = graph(
        operator("x"),
        operator("a", "x"),
        operator("skip", "a", kind="Identity"),
        operator("b", "a"),
        operator("add", "b", "skip"),
        operator("d", "add"),
    )
    # Behind b, the second slice needs a as well: a slice that gets b alone cannot add.
    assert [point.name for point in couper(model)] == ["a", "b", "add"]
    assert [point.name for point in exact(model)] == ["a", "add"]


def test_an_operator_with_several_outputs_is_one_point_with_all_of_them():
    model = graph(
        operator("x"), operator("split", "x", outputs=2), operator("a", "split:0", "split:1"), operator("b", "a")
    )
    assert [[tensor.name for tensor in point.tensors] for point in couper(model)] == [["split:0", "split:1"], ["a:0"]]
