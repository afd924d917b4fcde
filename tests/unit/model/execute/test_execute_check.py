"""The check: it finds a chain equal that is, and tells one that is not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_graphs import GraphBuilder, classifier

from slicebed_agent.errors import AgentError
from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.execute.check import TOLERANCE, CutCheck, check_cuts, sample, seeded_frame
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.execute.slice import Boundary
from slicebed_agent.model.graph import Tensor
from slicebed_agent.model.graphdef.read import read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.model.graph import SplitPoint

ENDS = (["input:0"], ["scores:0"])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("model") / "classifier.pb")


@pytest.fixture(scope="module")
def points(path: Path) -> tuple[SplitPoint, ...]:
    return split_points(read_graph(path), "exact", 2)


def test_every_exact_cut_is_equal(path: Path, points: tuple[SplitPoint, ...]) -> None:
    with Executor(path) as executor:
        rows = list(check_cuts(executor, ENDS, [(point,) for point in points], seed=3, batch=2))
    assert [row.cut for row in rows] == [(point.name,) for point in points]
    assert all(row.passed and row.same_label and row.refused is None for row in rows)
    assert any(row.bit_exact for row in rows)
    assert {len(row.tensors[0]) for row in rows} == {1, 2}


def test_a_cut_of_several_points_is_one_row(path: Path, points: tuple[SplitPoint, ...]) -> None:
    with Executor(path) as executor:
        (row,) = check_cuts(executor, ENDS, [(points[1], points[3], points[5])])
    assert row.passed
    assert len(row.tensors) == 3


def test_a_cut_that_does_not_run_is_refused_by_name(path: Path, points: tuple[SplitPoint, ...]) -> None:
    branch = dataclasses.replace(
        points[0], name="left_out", tensors=(Tensor("left_out:0", "float32", (None, 8, 8, 16), 1024, 4096),)
    )
    with Executor(path) as executor:
        rows = list(check_cuts(executor, ENDS, [(branch,), (points[5], points[1]), (points[1],)]))
    assert [row.passed for row in rows] == [False, False, True]
    assert "scores:0 also needs input" in (rows[0].refused or "")
    assert "order split points forwards" in (rows[1].refused or "")
    assert rows[0].max_abs is None


def test_a_difference_is_measured_and_fails() -> None:
    row = CutCheck(("a",), (("a:0",),), 1e-3, 2 * TOLERANCE, bit_exact=False, same_label=True)
    assert not row.passed
    assert not dataclasses.replace(row, max_rel=float("nan")).passed
    assert dataclasses.replace(row, max_rel=TOLERANCE).passed


def test_a_model_that_gives_no_numbers_is_named(tmp_path: Path) -> None:
    graph = GraphBuilder()
    graph.apply("Rsqrt", graph.input(None, 3), name="scores")  # of negative numbers
    with Executor(graph.write(tmp_path / "nan.pb")) as executor, pytest.raises(AgentError, match="not finite"):
        list(check_cuts(executor, ENDS, []))


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order() -> None:
    cuts = list(range(100))
    drawn = sample(cuts, 10, 5)
    assert drawn == sorted(drawn) == sample(cuts, 10, 5) != sample(cuts, 10, 6)
    assert len(set(drawn)) == 10
    assert sample(cuts, 1000, 5) == cuts


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8", "int64", "bool"])
def test_a_frame_is_drawn_by_its_seed(dtype: str) -> None:
    boundary = Boundary("input:0", np.dtype(dtype), (None, 6, 5))
    one, two = (seeded_frame(boundary, seed, 3) for seed in (1, 2))
    assert (one.shape, one.dtype) == ((3, 6, 5), np.dtype(dtype))
    assert one.tobytes() == seeded_frame(boundary, 1, 3).tobytes() != two.tobytes()
    assert len(np.unique(one)) > 1


def test_a_frame_of_indices_stays_within_small_tables_and_one_of_bytes_has_all_colours() -> None:
    words, colours = (
        seeded_frame(Boundary("input:0", np.dtype(dtype), (None, 5000)), 1, 1) for dtype in ("int64", "uint8")
    )
    assert set(np.unique(words)) == set(range(10))
    assert (colours.min(), colours.max()) == (0, 255)
