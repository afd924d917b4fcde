"""The split points of `exact` are those of the definition, on any graph; its sums are those of the sides."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import graphdef_writer as write
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_graphs import graph, graphs, operator

from slicebed_agent.model.cuts.exact import exact
from slicebed_agent.model.cuts.points import is_alias
from slicebed_agent.model.graph import Constant
from slicebed_agent.model.graphdef.read import read_graph

DATA = Path(__file__).parent.parent / "graphdef" / "data"


def names(points):
    return [point.name for point in points]


def crossing(model, position):
    """By the definition: computed before, and needed after, where an alias is computed again on either side."""
    maker = {tensor.name: each for each in model.operators for tensor in each.outputs}

    def origin(name):
        while is_alias(maker[name]):
            name = maker[name].inputs[int(name.rpartition(":")[2])]
        return name

    before = {tensor.name for each in model.operators[:position] for tensor in each.outputs}
    takers = [each for each in model.operators[position:] if not is_alias(each)]
    needed = {origin(name) for each in takers for name in each.inputs} | {origin(name) for name in model.outputs}
    return needed & before


def runs(model, tensors, position):
    """Whether the second slice, given the tensors alone, computes every output without an operator of the first."""
    have = set(tensors)
    ran = set()
    for each in model.operators:
        ahead = model.operators.index(each) < position and not is_alias(each)
        if not ahead and set(each.inputs) <= have and set(each.control_inputs) <= ran:
            have.update(out.name for out in each.outputs)
            ran.add(each.name)
    return set(model.outputs) <= have


def is_place(model, position):
    """Neither behind a placeholder or the first operators, nor behind the last that is no alias; no control edge."""
    index = {each.name: place for place, each in enumerate(model.operators)}
    placeholders = max(index[name.rpartition(":")[0]] for name in model.inputs)
    last = max(place for place, each in enumerate(model.operators) if not is_alias(each))
    controlled = any(
        index[name] < position <= index[each.name] for each in model.operators for name in each.control_inputs
    )
    return placeholders + 1 < position <= last and not controlled


@given(graphs(), st.integers(1, 4))
@settings(deadline=None)
def test_every_place_with_few_live_tensors_is_found_and_no_other(model, most):
    wanted = {}
    for position in range(1, len(model.operators)):
        live = frozenset(crossing(model, position))
        if is_place(model, position) and len(live) <= most:
            wanted.setdefault(live, position)
    points = exact(model, most)
    assert {frozenset(tensor.name for tensor in point.tensors): point.position for point in points} == wanted
    assert [point.position for point in points] == sorted(wanted.values())


@given(graphs(), st.integers(1, 4))
@settings(deadline=None)
def test_every_point_runs_and_says_what_lies_on_its_sides(model, most):
    for point in exact(model, most):
        first, second = model.operators[: point.position], model.operators[point.position :]
        assert runs(model, [tensor.name for tensor in point.tensors], point.position)
        assert point.flops_before == sum(each.flops for each in first)
        assert point.flops_after == sum(each.flops for each in second)
        for side, found in ((first, point.parameters_before), (second, point.parameters_after)):
            used = {name for each in side for name in each.constants}
            assert found == sum(model.constants[name].elements for name in used if model.constants[name].is_parameter)
        assert point.layer == first[-1].layer


@given(graphs(controls=False))
@settings(deadline=None)
def test_one_tensor_crosses_where_every_path_passes_it(model):
    """With one tensor a cut is an articulation point, without regard to the order."""
    consumers = {}
    for each in model.operators:
        for name in each.inputs:
            consumers.setdefault(name, []).append(each)

    def reaches_an_output(blocked):
        waiting, seen = [name for name in model.inputs if name != blocked], set()
        while waiting:
            name = waiting.pop()
            if name in model.outputs and name != blocked:
                return True
            for each in consumers.get(name, ()):
                fresh = [out.name for out in each.outputs if out.name not in seen and out.name != blocked]
                seen.update(fresh)
                waiting += fresh
        return False

    for point in exact(model, 1):
        (tensor,) = point.tensors
        assert not reaches_an_output(tensor.name)


def test_a_chain_is_cut_behind_every_operator_but_the_first_and_the_last():
    model = graph(operator("x"), operator("a", "x"), operator("b", "a"), operator("c", "b"))
    assert names(exact(model)) == ["a", "b"]


def test_within_a_skip_both_tensors_are_sent():
    model = graph(
        operator("x"),
        operator("a", "x"),
        operator("b", "a"),
        operator("add", "a", "b"),
        operator("d", "add"),
    )
    assert names(exact(model, 1)) == ["a", "add"]
    assert names(exact(model, 2)) == ["a", "a+b", "add"]


def test_a_tensor_and_its_alias_are_sent_once():
    model = graph(
        operator("x"),
        operator("a", "x"),
        operator("same", "a", kind="Identity"),
        operator("add", "a", "same"),
        operator("d", "add"),
        operator("answer", "d", kind="Identity"),
    )
    points = exact(model)
    assert names(points) == ["a", "add"]
    assert [point.position for point in points] == [2, 4]


def test_a_later_output_carries_its_number():
    model = graph(
        operator("x"), operator("split", "x", outputs=2), operator("a", "split:0", "split:1"), operator("b", "a")
    )
    assert names(exact(model, 2)) == ["split+split:1", "a"]


def test_a_control_edge_that_crosses_forbids_the_place():
    model = graph(
        operator("x"),
        operator("a", "x"),
        operator("b", "a"),
        operator("c", "b", control_inputs=("a",)),
        operator("d", "c"),
    )
    assert names(exact(model, 3)) == ["c"]


def test_an_alias_that_waits_for_another_operator_is_a_step_of_its_own():
    model = graph(
        operator("x"),
        operator("a", "x"),
        operator("same", "a", kind="Identity", control_inputs=("x",)),
        operator("b", "same"),
        operator("c", "b"),
    )
    assert names(exact(model)) == ["same", "b"]


def test_an_early_output_is_sent_on_to_the_last_slice():
    model = graph(operator("x"), operator("a", "x"), operator("b", "a"), operator("c", "b"), outputs=("a", "c"))
    assert names(exact(model, 1)) == ["a"]
    assert names(exact(model, 2)) == ["a", "a+b"]


def test_a_weight_that_both_sides_use_counts_on_both():
    model = graph(
        operator("x"),
        operator("a", "x", constants=("w", "axis")),
        operator("b", "a", constants=("w", "v")),
        constants={
            "w": Constant(10, 40, is_parameter=True),
            "v": Constant(5, 20, is_parameter=True),
            "axis": Constant(1, 4, is_parameter=False),
        },
    )
    (point,) = exact(model)
    assert (point.parameters_before, point.parameters_after) == (10, 15)


@pytest.mark.parametrize(("name", "count"), [("vgg_16.pb", 52), ("inception_v3.pb", 34)])
def test_the_published_models_have_as_many_points_as_couper_prints(name, count):
    points = exact(read_graph(DATA / name))
    assert len(points) == count
    assert all(point.bytes_per_frame for point in points)


def test_cells_that_skip_one_are_cut_between_with_two_tensors(tmp_path):
    """NASNet's shape: each cell takes the outputs of the two before it."""
    path = tmp_path / "cells.pb"
    path.write_bytes(b"".join(write.like_nasnet(6)))
    model = read_graph(path)
    assert exact(model, 1) == []
    found = set(names(exact(model, 2)))
    cells = [f"model/cell_{cell}/add" for cell in range(6)]
    assert found >= {f"{before}+{after}" for before, after in pairwise(cells[:5])}
    assert all(point.parameters_before + point.parameters_after == model.parameters for point in exact(model, 2))
