"""Couper's walk over TensorFlow's own graph takes the points that alone are needed, and no Identity."""

from benchmarks.slicer.couper_walk import import_graph, walk
from small_graphs import GraphBuilder

from slicebed_agent.model.runtime import tensorflow


def test_points_are_where_one_operator_is_needed(tmp_path):
    builder = GraphBuilder()
    first = builder.apply("Neg", builder.input(None, 3), name="first")
    one, two = builder.apply("Relu", first, name="one"), builder.apply("Neg", first, name="two")
    joined = builder.apply("AddV2", one, two, name="joined")
    builder.apply("Relu", builder.apply("Identity", joined, name="alias"), name="last")
    graph = import_graph(tensorflow(), builder.write(tmp_path / "model.pb"))
    assert walk(graph) == ["first", "joined"]
