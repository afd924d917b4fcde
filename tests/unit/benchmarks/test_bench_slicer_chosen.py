"""Which cuts the benchmark runs."""

import model_graphs as make
import pytest
from benchmarks.slicer.chosen import boundaries, drawn, thirds
from benchmarks.slicer.equality import select

from slicebed_agent.model.cuts.algorithms import split_points


@pytest.fixture
def chain():
    """Nine operators of the same work behind a placeholder; every tensor as large as the others."""
    operators = [make.operator("in", kind="Placeholder")]
    for number in range(9):
        operators.append(make.operator(f"op{number}", operators[-1].name, flops=100))
    return make.graph(*operators)


@pytest.fixture
def branches():
    """Two diamonds: within each two tensors are live."""
    return make.graph(
        make.operator("in", kind="Placeholder"),
        make.operator("a", "in"),
        make.operator("b", "a"),
        make.operator("c", "a"),
        make.operator("d", "b", "c", kind="Add"),
        make.operator("e", "d"),
        make.operator("f", "d"),
        make.operator("g", "e", "f", kind="Add"),
        make.operator("h", "g"),
        make.operator("i", "h"),
    )


def test_thirds_leave_as_much_work_to_each_slice(chain):
    first, second = thirds(split_points(chain))
    assert (first.flops_before, second.flops_before) == (300, 600)


@pytest.mark.parametrize(("width", "at"), [(4, ["act0", "act1"]), (8, ["norm0", "norm1"])])
def test_of_places_as_good_the_smaller_tensor_is_taken_and_else_the_later_place(width, at):
    operators = [make.operator("in", kind="Placeholder")]
    for number in range(3):
        operators.append(make.operator(f"conv{number}", operators[-1].name, kind="Conv2D", flops=1000))
        operators.append(make.operator(f"norm{number}", operators[-1].name, flops=1))
        operators.append(make.operator(f"act{number}", operators[-1].name, flops=1, size=width))
    assert [point.name for point in thirds(split_points(make.graph(*operators)))] == at


def test_two_slices_are_not_three(chain):
    with pytest.raises(ValueError, match="no three slices"):
        thirds(split_points(chain)[:1])


def test_drawn_cuts_go_forward_and_repeat_themselves(chain):
    points = split_points(chain)
    cuts = drawn(points, 20, 7)
    assert all(first.position < second.position for first, second in cuts)
    assert cuts == drawn(points, 20, 7) != drawn(points, 20, 8)


def test_boundaries_lead_from_the_input_to_the_output(chain):
    cut = thirds(split_points(chain))
    assert boundaries(chain, cut) == [("in:0",), ("op2:0",), ("op5:0",), ("op8:0",)]


def test_every_cut_of_one_tensor_is_checked_where_no_sample_is_asked(branches):
    points = split_points(branches, max_tensors=3)
    single = [point for point in points if len(point.tensors) == 1]
    assert 0 < len(single) < len(points)
    assert select(points, 0, 1) == list(points)
    assert [point for point in select(points, 2, 1) if len(point.tensors) == 1] != single


def test_a_sample_is_filled_with_cuts_of_several_tensors(branches):
    points = list(split_points(branches, max_tensors=3))
    assert select(points, 40, 1) == points
    assert select(points, 2, 1) == select(points, 2, 1)
