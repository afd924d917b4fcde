"""Random models with branches, skips and operators of several outputs: any chain of slices is the whole."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graphs import GraphBuilder

from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.execute.check import check_cuts
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.execute.publish import load_slice, write_slice
from slicebed_agent.model.graphdef.read import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS = 4
ENDS = (["input:0"], ["scores:0"])
CARD = {"inputs": [{"name": "input:0"}], "outputs": [{"name": "scores:0"}]}


@dataclasses.dataclass
class Drawn:
    """A model under construction: every tensor in `live` is (B, 5, 5, 4)."""

    draw: Callable[[st.SearchStrategy[int]], int]
    graph: GraphBuilder
    generator: np.random.Generator
    live: list[str]

    def pick(self) -> str:
        # The latest tensors more often, so that models are deep; an early one is a skip.
        return self.live[-1 - self.draw(st.integers(0, min(3, len(self.live) - 1)))]

    def filters(self, *dims: int) -> np.ndarray:
        return self.generator.normal(0, 0.4, dims)

    def step(self, kind: int) -> None:
        graph, one = self.graph, self.pick()
        match kind:
            case 0:
                size = 1 + 2 * self.draw(st.integers(0, 1))
                made = graph.convolve(one, self.filters(size, size, CHANNELS, CHANNELS))
            case 1:
                depthwise = graph.convolve(one, self.filters(3, 3, CHANNELS, 1), op="DepthwiseConv2dNative")
                made = graph.apply("Relu6", graph.batch_norm(depthwise, CHANNELS, self.generator))
            case 2:
                made = graph.batch_norm(one, CHANNELS, self.generator)
            case 3:
                made = graph.apply("AddV2", one, self.pick())
            case 4:
                parts = graph.split(one, 2)
                made = graph.concat(graph.apply("Relu", parts[1]), parts[0])
            case 5:
                parts = graph.unstack(one, CHANNELS)
                made = graph.stack(parts[3], graph.apply("Neg", parts[0]), parts[2], parts[1])
            case 6:
                made = graph.apply("Identity", one)
            case 7:
                made = graph.apply("Relu", graph.convolve(one, self.filters(1, 1, CHANNELS, CHANNELS)))
                self.live.append(graph.batch_norm(made, CHANNELS, self.generator))
            case _:
                made = graph.apply("Mul", graph.apply("Sigmoid", one), self.pick())
        self.live.append(made)


@st.composite
def models(draw: Callable[[st.SearchStrategy[int]], int]) -> GraphBuilder:
    graph = GraphBuilder()
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    drawn = Drawn(draw, graph, generator, [graph.input(None, 5, 5, CHANNELS)])
    for kind in draw(st.lists(st.integers(0, 8), min_size=4, max_size=12)):  # type: ignore[arg-type,attr-defined]
        drawn.step(kind)
    # Bounded, so that a deep product of convolutions does not leave the range in which 1e-5 means something.
    graph.apply("Tanh", graph.apply("AddV2", drawn.live[-1], drawn.pick()), name="scores")
    return graph


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models(), st.data())
def test_random_chains_of_slices_are_the_whole(graph: GraphBuilder, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = graph.write(Path(folder) / "model.pb")
        points = split_points(read_graph(path, inputs=ENDS[0], outputs=ENDS[1]), "exact", data.draw(st.integers(1, 3)))
        places = data.draw(st.lists(st.integers(0, max(0, len(points) - 1)), max_size=3, unique=True))
        cut = [points[place] for place in sorted(places)] if points else []
        with Executor(path) as executor:
            rows = list(check_cuts(executor, ENDS, [cut, *([point] for point in points)]))
            assert [row.refused for row in rows if row.refused] == []
            assert [row for row in rows if not row.passed] == []
            (frame,) = (np.random.default_rng(1).standard_normal((2, 5, 5, CHANNELS)).astype(np.float32),)
            (expected,) = executor.prepare(*ENDS, warm=False).run([frame])
        boundaries = [ENDS[0], *([tensor.name for tensor in point.tensors] for point in cut), ENDS[1]]
        arrays: tuple[np.ndarray, ...] = (frame,)
        for place in range(len(boundaries) - 1):
            write_slice(path, boundaries[place], boundaries[place + 1], Path(folder) / str(place), card=CARD)
            arrays = load_slice(Path(folder) / str(place))[1].run(arrays)
        np.testing.assert_allclose(arrays[0], expected, rtol=1e-4, atol=1e-5)
