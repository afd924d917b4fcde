"""Layer-level split points lie between layers and bear their names."""

from __future__ import annotations

from pathlib import Path

from model_graphs import graph, operator

from slicebed_agent.model.cuts.exact import exact
from slicebed_agent.model.cuts.layers import layer_points
from slicebed_agent.model.graphdef.read import read_graph

DATA = Path(__file__).parent.parent / "graphdef" / "data"


def test_points_within_a_layer_are_left_out():
    model = graph(
        operator("x"),
        operator("c1/conv", "x", layer="c1"),
        operator("c1/relu", "c1/conv", layer="c1"),
        operator("c2/conv", "c1/relu", layer="c2"),
        operator("c2/relu", "c2/conv", layer="c2"),
    )
    points = layer_points(model, exact(model))
    assert [(point.name, point.position) for point in points] == [("c1", 3)]


def test_a_dropout_that_became_an_alias_hides_no_boundary():
    model = graph(
        operator("x"),
        operator("dense/relu", "x", layer="dense"),
        operator("dropout/same", "dense/relu", kind="Identity", layer="dropout"),
        operator("next/mul", "dropout/same", layer="next"),
        operator("next/add", "next/mul", layer="next"),
    )
    assert [point.name for point in layer_points(model, exact(model))] == ["dense"]


def test_a_layer_that_is_used_twice_leaves_its_points_the_operators_names():
    model = graph(
        operator("x"),
        operator("shared/1", "x", layer="shared"),
        operator("mid", "shared/1"),
        operator("shared/2", "mid", layer="shared"),
        operator("end", "shared/2"),
    )
    assert [point.name for point in layer_points(model, exact(model))] == ["shared/1", "mid", "shared/2"]


def test_both_tensors_of_a_skip_are_named_by_their_layers():
    model = graph(
        operator("x"),
        operator("one/a", "x", layer="one"),
        operator("two/b", "one/a", layer="two"),
        operator("add", "one/a", "two/b"),
        operator("end", "add"),
    )
    assert [point.name for point in layer_points(model, exact(model, 2))] == ["one", "one+two", "add"]


def test_the_layers_of_a_foreign_file_are_its_name_scopes():
    model = read_graph(DATA / "inception_v3.pb")
    names = [point.name.removeprefix("InceptionV3/") for point in layer_points(model, exact(model))]
    # The scope of batch normalisation lies within that of its convolution: no layer of its own.
    assert names[:3] == [f"InceptionV3/Conv2d_{each}_3x3" for each in ("1a", "2a", "2b")]
    assert names[-5:] == [
        "InceptionV3/Mixed_7b",
        "InceptionV3/Mixed_7c",
        "Logits/AvgPool_1a_8x8",
        "Logits/Conv2d_1c_1x1",
        "Logits",
    ]
    assert len(names) == 21
