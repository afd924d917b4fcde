"""Where a model may be divided, and what then lies in each part."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_graphs import graphs
from small_graphs import FLOAT, GraphBuilder, classifier, wholes, words

from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.graphdef.read import read_graph
from slicebed_agent.model.profile.boundaries import ProfiledExecutor, divide, fusion_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph

CHANNELS = 3
KINDS = ("convolution", "depthwise", "factors", "normalisation", "bias", "relu", "add", "pool", "concat")


def safe_names(path: Path, output: str) -> list[str]:
    graph = read_graph(path, inputs=["input:0"], outputs=[output])
    with ProfiledExecutor(path) as executor:
        return [point.name for point in fusion_safe(executor, graph, split_points(graph))]


def write(path: Path, kinds: Sequence[str], seed: int = 0) -> Path:
    """A chain of such operators; those of two inputs take the one before the last as well."""
    generator = np.random.default_rng(seed)
    graph = GraphBuilder()
    made = [graph.input(None, 6, 6, CHANNELS)]
    for place, kind in enumerate(kinds):
        last, earlier, name = made[-1], made[max(0, len(made) - 2)], f"{kind}{place}"
        channel = graph.constant(generator.normal(1, 0.1, CHANNELS))
        match kind:
            case "convolution":
                made.append(graph.convolve(last, generator.normal(0, 0.3, (3, 3, CHANNELS, CHANNELS)), name))
            case "depthwise":
                filters = generator.normal(0, 0.3, (3, 3, CHANNELS, 1))
                made.append(graph.convolve(last, filters, name, "DepthwiseConv2dNative"))
            case "factors":
                made.append(graph.apply("Mul", last, channel, name=name))
            case "normalisation":
                made.append(graph.batch_norm(last, CHANNELS, generator, name))
            case "bias":
                made.append(graph.apply("BiasAdd", last, channel, name=name))
            case "relu":
                made.append(graph.apply("Relu", last, name=name))
            case "add":
                made.append(graph.apply("AddV2", last, earlier, name=name))
            case "pool":
                window = wholes(1, 3, 3, 1)
                steps = wholes(1, 1, 1, 1)
                made.append(
                    graph.node("MaxPool", (last,), name, T=FLOAT, ksize=window, strides=steps, padding=words("SAME"))
                )
            case _:
                joined = graph.concat(last, earlier)
                made.append(graph.convolve(joined, generator.normal(0, 0.3, (1, 1, 2 * CHANNELS, CHANNELS)), name))
    graph.apply("Tanh", made[-1], name="end")
    return graph.write(path)


@pytest.mark.parametrize(
    ("kinds", "safe"),
    [
        # Activations, poolings and additions end a kernel; a convolution's offset and activation belong to it.
        (["convolution", "bias", "relu", "convolution", "bias", "relu", "pool"], ["relu2", "relu5", "pool6"]),
        (["convolution", "normalisation", "relu", "pool", "relu"], ["relu2", "pool3", "relu4"]),
        (["pool", "depthwise", "normalisation", "convolution", "normalisation"], ["pool0", "normalisation2"]),
        (["pool", "convolution", "add", "pool"], ["pool0", "add2", "pool3"]),
        # Nothing folds the arithmetic behind a pooling, but it goes over the same array.
        (["pool", "relu", "pool", "normalisation", "pool"], ["pool0", "relu1", "pool2", "normalisation3", "pool4"]),
    ],
)
def test_no_boundary_takes_a_convolution_apart(tmp_path: Path, kinds: list[str], safe: list[str]) -> None:
    assert safe_names(write(tmp_path / "model.pb", kinds), "end:0") == safe


def test_a_branching_model_is_divided_where_its_branches_meet(tmp_path: Path) -> None:
    assert safe_names(classifier(tmp_path / "model.pb"), "scores:0") == ["stem", "joined", "body", "flat", "logits"]


class Folds(ProfiledExecutor):
    def operators_run(self, fetches: Sequence[str]) -> Counter[str]:
        nodes = self._graph.between(frozenset({"input:0"}), fetches)
        return Counter(node.op for node in self._load(nodes, frozenset({"input:0"}), fetches)[0].nodes.values())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8), st.integers(0, 99))
def test_folded_away_is_what_would_be_run_if_it_were_fetched(kinds: list[str], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "model.pb", kinds, seed)
        graph = read_graph(path, inputs=["input:0"], outputs=["end:0"])
        with Folds(path) as executor:
            usual = executor.operators_run(["end:0"])
            inner = [each for each in graph.tensors() if each not in {"input:0", "end:0"}]
            lost = {each for each in inner if executor.operators_run(["end:0", each]) != usual}
            assert executor.folded_away(["input:0"], ["end:0"]) == lost


def check_parts(graph: Graph, max_tensors: int) -> None:
    points = split_points(graph, "exact", max_tensors)
    parts = divide(graph, points)
    assert len(parts) == len(points) + 1
    assert [name for part in parts for name in part.operators] == [each.name for each in graph.operators]
    assert sum(part.flops for part in parts) == graph.flops
    users = Counter(
        key
        for part in parts
        for key in {key for each in graph.operators if each.name in part.operators for key in each.constants}
        if graph.constants[key].is_parameter
    )
    used = {key for each in graph.operators for key in each.constants if graph.constants[key].is_parameter}
    shared = sum((count - 1) * graph.constants[key].elements for key, count in users.items())
    assert sum(part.parameters for part in parts) - shared == sum(graph.constants[key].elements for key in used)
    for before, after in pairwise(parts):
        assert before.fetches == after.feeds
    assert (parts[0].feeds, parts[-1].fetches) == (graph.inputs, graph.outputs)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(graphs(), st.integers(1, 3))
def test_parts_are_the_graph_and_shared_weights_count_in_each(graph: Graph, max_tensors: int) -> None:
    check_parts(graph, max_tensors)
