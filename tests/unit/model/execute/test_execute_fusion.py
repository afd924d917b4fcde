"""Batch normalisation goes into the convolution before it, unless somebody else needs what lies between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from small_graphs import FLOAT, GraphBuilder, wholes, words

from slicebed_agent.model.execute import encode
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.execute.frozen import FrozenGraph
from slicebed_agent.model.execute.fusion import Fused, fuse
from slicebed_agent.model.execute.nodes import node_of

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = np.random.default_rng(5)


def fused(path: Path, fetches: list[str]) -> Fused:
    graph = FrozenGraph(path)
    nodes = graph.between(frozenset(["input:0"]), fetches)
    inputs = [each for node in nodes for each in node.inputs if not graph.varies(each) and each != "input:0"]

    def dims_of(key: Any) -> tuple[int, ...]:
        return SHAPES[node_of(key if isinstance(key, str) else key[0])]

    found = fuse(nodes, {name: name for name in inputs}, fetches, dims_of)
    graph.close()
    return found


SHAPES = {"factors": (8,), "offsets": (8,), "flat_offsets": (1, 1, 1, 8), "wide": (1, 4, 4, 8), "filters": (1, 1, 3, 8)}


def model(path: Path, *, factors: str = "factors", offsets: str = "offsets", **convolution: bytes) -> GraphBuilder:
    graph = GraphBuilder()
    attributes = {"T": FLOAT, "strides": wholes(1, 1, 1, 1), "padding": words("SAME"), **convolution}
    constants = {
        name: graph.constant(GENERATOR.normal(0, 1, SHAPES[name]), name=name) for name in {factors, offsets, "filters"}
    }
    given = graph.input(None, 4, 4, 3)
    made = graph.node("Conv2D", (given, constants["filters"]), "convolution", **attributes)
    product = graph.apply("Mul", constants[factors], made, name="product")
    graph.apply("AddV2", product, constants[offsets], name="sum")
    graph.write(path)
    return graph


@pytest.mark.parametrize(
    ("changes", "fetches", "ops"),
    [
        ({}, ["sum:0"], ["Conv2D", "BiasAdd"]),
        ({"offsets": "flat_offsets"}, ["sum:0"], ["Conv2D", "BiasAdd"]),
        ({"factors": "flat_offsets"}, ["sum:0"], ["Conv2D", "BiasAdd"]),
        ({"offsets": "wide"}, ["sum:0"], ["Conv2D", "AddV2"]),
        ({"factors": "wide"}, ["sum:0"], ["Conv2D", "Mul", "AddV2"]),
        ({}, ["product:0", "sum:0"], ["Conv2D", "AddV2"]),
        ({}, ["convolution:0", "sum:0"], ["Conv2D", "Mul", "AddV2"]),
        ({"data_format": words("NCHW")}, ["sum:0"], ["Conv2D", "Mul", "AddV2"]),
    ],
)
def test_what_is_folded(tmp_path: Path, changes: dict[str, Any], fetches: list[str], ops: list[str]) -> None:
    model(tmp_path / "model.pb", **changes)
    assert [node.op for node in fused(tmp_path / "model.pb", fetches).nodes.values()] == ops


@pytest.mark.parametrize("changes", [{}, {"offsets": "flat_offsets"}, {"factors": "wide"}, {"offsets": "wide"}])
def test_a_folded_slice_computes_what_the_steps_do(tmp_path: Path, changes: dict[str, Any]) -> None:
    model(tmp_path / "model.pb", **changes)
    frame = GENERATOR.standard_normal((2, 4, 4, 3)).astype(np.float32)
    with Executor(tmp_path / "model.pb") as executor:
        (folded,) = executor.prepare(["input:0"], ["sum:0"]).run([frame])
        (one,) = executor.prepare(["input:0"], ["convolution:0"]).run([frame])
        (two,) = executor.prepare(["convolution:0"], ["product:0"]).run([one])
        (three,) = executor.prepare(["product:0"], ["sum:0"]).run([two])
    np.testing.assert_allclose(folded, three, rtol=1e-5, atol=1e-6)
    assert not np.allclose(one, two)


def test_a_convolution_that_two_take_is_not_folded(tmp_path: Path) -> None:
    graph = model(tmp_path / "model.pb")
    graph.apply("AddV2", "sum:0", "convolution:0", name="both")
    graph.write(tmp_path / "model.pb")
    found = fused(tmp_path / "model.pb", ["both:0"])
    assert [node.op for node in found.nodes.values()] == ["Conv2D", "Mul", "AddV2", "AddV2"]


def test_whoever_waits_for_a_convolution_still_finds_it(tmp_path: Path) -> None:
    graph = model(tmp_path / "model.pb")
    graph.nodes.append(encode.node("after", "Relu", ("sum:0", "^convolution"), {"T": FLOAT}))
    graph.write(tmp_path / "model.pb")
    assert "convolution" in fused(tmp_path / "model.pb", ["after:0"]).nodes
    with Executor(tmp_path / "model.pb") as executor:
        assert executor.prepare(["input:0"], ["after:0"]).run([np.ones((1, 4, 4, 3), np.float32)])[0].min() >= 0
