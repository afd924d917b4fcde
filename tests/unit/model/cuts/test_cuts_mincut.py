"""The best partition on two tiers is the best of all partitions."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_graphs import graph, graphs, operator

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.cuts.mincut import Tiers, best_partition, evaluate


def partitions(model, together=()):
    """Every set of operators for the first tier that feeds itself, holds the inputs, parts no control edge or group."""
    names = [each.name for each in model.operators]
    for choice in product((True, False), repeat=len(names)):
        first = {name for name, chosen in zip(names, choice, strict=True) if chosen}
        if not {name.rpartition(":")[0] for name in model.inputs} <= first:
            continue
        if all(
            ({name.rpartition(":")[0] for name in each.inputs} <= first or each.name not in first)
            and all((name in first) == (each.name in first) for name in each.control_inputs)
            for each in model.operators
        ) and all(group <= first or not group & first for group in together):
            yield frozenset(first)


def seconds(model, tiers, first):
    """By the definition, apart from the code under test."""
    total = sum((tiers.first_s if each.name in first else tiers.second_s)[each.name] for each in model.operators)
    if len(first) == len(model.operators):
        return total
    needed = {name for each in model.operators if each.name not in first for name in each.inputs} | set(model.outputs)
    sizes = [
        out.bytes_per_frame
        for each in model.operators
        if each.name in first
        for out in each.outputs
        if out.name in needed
    ]
    return total + (tiers.latency_s + sum(sizes) / tiers.bandwidth_byte_per_s if sizes else 0)


@given(graphs(most=8), st.data())
@settings(deadline=None, max_examples=60)
def test_no_partition_takes_less(model, data):
    times = st.fixed_dictionaries({each.name: st.integers(0, 20).map(float) for each in model.operators})
    tiers = Tiers(
        first_s=data.draw(times),
        second_s=data.draw(times),
        bandwidth_byte_per_s=data.draw(st.sampled_from([0.5, 1.0, 4.0, 1000.0])),
        latency_s=data.draw(st.sampled_from([0.0, 1.0, 10.0])),
        together=tuple(
            data.draw(st.lists(st.frozensets(st.sampled_from([each.name for each in model.operators])), max_size=2))
        ),
    )
    found = best_partition(model, tiers)
    every = list(partitions(model, tiers.together))
    assert found.first in every
    assert found.seconds == pytest.approx(min(seconds(model, tiers, first) for first in every))
    assert found.seconds == pytest.approx(seconds(model, tiers, found.first))
    assert evaluate(model, tiers, found.first) == found


def chain(*, early=100, late=1):
    return graph(
        operator("x", size=4 * 100),
        operator("a", "x", size=4 * early),
        operator("b", "a", size=4 * late),
        operator("c", "b"),
    )


def link(first, second, bandwidth=4.0, latency=0.0):
    return Tiers(dict(zip("xabc", first, strict=True)), dict(zip("xabc", second, strict=True)), bandwidth, latency)


def test_the_cut_falls_behind_the_operator_that_shrinks_the_data():
    found = best_partition(chain(), link((0, 5, 5, 50), (0, 1, 1, 1)))
    assert found.first == {"x", "a", "b"}
    assert [tensor.name for tensor in found.crossing] == ["b:0"]
    assert found.seconds == 12.0


def test_a_latency_can_make_it_better_to_send_nothing():
    found = best_partition(chain(), link((0, 5, 5, 50), (0, 1, 1, 1), latency=100.0))
    assert (len(found.first), found.crossing, found.seconds) == (4, (), 60.0)


def test_a_tensor_that_several_operators_take_is_sent_once():
    model = graph(
        operator("x", size=40),
        operator("a", "x"),
        operator("b", "x"),
        operator("c", "x"),
        operator("end", "a", "b", "c"),
    )
    names = [each.name for each in model.operators]
    found = best_partition(model, Tiers(dict.fromkeys(names, 9.0), dict.fromkeys(names, 0.0), 4.0))
    assert [tensor.name for tensor in found.crossing] == ["x:0"]
    assert found.seconds == 9.0 + 10.0


def test_of_an_operator_with_several_outputs_only_those_that_are_needed_are_sent():
    model = graph(
        operator("x", size=400),
        operator("split", "x", kind="Split", outputs=3, size=40),
        operator("near", "split:1", size=4),
        operator("end", "split:0", "split:0", "near"),
    )
    names = [each.name for each in model.operators]
    first = {"x": 0.0, "split": 1.0, "near": 1.0, "end": 100.0}
    found = best_partition(model, Tiers(first, {**dict.fromkeys(names, 0.0), "near": 50.0}, 4.0))
    # Once, although it is taken twice; the third output by nobody.
    assert [tensor.name for tensor in found.crossing] == ["split:0", "near:0"]
    assert found.seconds == 2.0 + 11.0


def test_a_skip_that_is_not_cut_with_its_branch_is_sent_beside_it():
    model = graph(
        operator("x", size=400),
        operator("stem", "x", size=20),
        operator("branch", "stem", size=8),
        operator("end", "stem", "branch"),
    )
    names = [each.name for each in model.operators]
    times = dict.fromkeys(names, 0.0)
    found = best_partition(model, Tiers({**times, "end": 90.0}, {**times, "branch": 70.0}, 4.0))
    assert [tensor.name for tensor in found.crossing] == ["stem:0", "branch:0"]
    assert found.seconds == 7.0


def test_operators_of_one_kernel_are_not_parted():
    # The kernel of a and b bears the name of b, so that a alone would seem to cost nothing.
    tiers = link((0, 0, 9, 50), (0, 0, 2, 1))
    parted = best_partition(chain(early=1, late=2), tiers)
    assert parted.first == {"x", "a"}
    found = best_partition(chain(early=1, late=2), dataclasses.replace(tiers, together=(frozenset("ab"),)))
    assert found.first == {"x", "a", "b"}
    assert found.seconds == 9 + 2 + 1


@pytest.mark.parametrize(
    ("tiers", "says"),
    [
        (link((0, 1, 1, 1), (0, 1, 1, 1), bandwidth=0.0), "a link of 0.0 bytes/s"),
        (link((0, 1, 1, 1), (0, 1, 1, 1), latency=-1.0), "-1.0 s"),
        (Tiers({"x": 0, "a": 1, "b": 1}, dict.fromkeys("xabc", 1.0), 1.0), "operator c has no time at the first tier"),
        (link((0, 1, 1, 1), (0, -1, 1, 1)), "operator a has no time at the second tier"),
        (link((0, 1, 1, 1), (0, 1, float("nan"), 1)), "operator b has no time at the second tier"),
        (dataclasses.replace(link((0,) * 4, (0,) * 4), together=(frozenset("ay"),)), "no operator y in the graph"),
    ],
)
def test_missing_times_and_dead_links_are_refused(tiers, says):
    with pytest.raises(AgentConfigError, match=says):
        best_partition(chain(), tiers)


def test_a_tensor_of_unknown_size_is_refused():
    model = chain()
    unknown = dataclasses.replace(model.operators[1].outputs[0], bytes_per_frame=None)
    operators = (model.operators[0], dataclasses.replace(model.operators[1], outputs=(unknown,)), *model.operators[2:])
    with pytest.raises(AgentConfigError, match="the size of a:0 is not known"):
        best_partition(dataclasses.replace(model, operators=operators), link((0, 1, 1, 1), (0, 1, 1, 1)))
