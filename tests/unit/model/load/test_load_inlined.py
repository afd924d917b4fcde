"""Which edges of inlined functions stay: those with data, and those that order what has an effect."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from slicebed_agent.model.inlined import operator_of, ordering_inputs, past_identities

EFFECTS = {"Assert", "Print", "ReadVariableOp"}


class Node(NamedTuple):
    """What is read of a NodeDef."""

    op: str
    input: list


def _nodes(**rows):
    return {name: Node(op, list(given)) for name, (op, *given) in rows.items()}


def _ordering(nodes, constants=()):
    return ordering_inputs(nodes, set(constants), EFFECTS.__contains__)


def test_a_weight_no_longer_waits_for_the_functions_input():
    nodes = _nodes(
        image=("Placeholder",),
        enter=("NoOp", "^image"),
        weight=("Const", "^enter"),
        answer=("MatMul", "image", "weight", "^enter"),
    )
    assert _ordering(nodes) == {"image": [], "enter": [], "weight": [], "answer": ["image", "weight"]}
    assert nodes["answer"].input == ["image", "weight", "^enter"]


def test_an_effect_orders_all_that_waits_for_it_through_whatever_lies_between():
    nodes = _nodes(
        image=("Placeholder",),
        check=("Assert", "image"),
        leave=("NoOp", "^check", "^image"),
        copy=("Identity", "image", "^leave"),
        after=("Relu", "copy"),
        answer=("Relu", "image", "^after", "^image"),
    )
    found = _ordering(nodes)
    assert found["leave"] == ["^check"]
    assert found["copy"] == ["image", "^leave"]
    assert found["answer"] == ["image", "^after"]


def test_what_becomes_a_constant_needs_nothing_and_has_no_effect():
    nodes = _nodes(
        handle=("Placeholder",),
        read=("ReadVariableOp", "handle"),
        done=("NoOp", "^read"),
        answer=("Relu", "x", "^done"),
    )
    assert _ordering(nodes)["answer"] == ["x", "^done"]
    assert _ordering(nodes, ["read"]) == {"handle": [], "read": [], "done": [], "answer": ["x"]}


def test_a_loop_in_the_graph_ends():
    nodes = _nodes(
        start=("Print",), one=("Merge", "two", "^start"), two=("NextIteration", "one:1"), out=("Exit", "^two")
    )
    assert _ordering(nodes) == {"start": [], "one": ["two", "^start"], "two": ["one:1"], "out": ["^two"]}


def test_what_only_passes_a_tensor_on_is_passed_by():
    nodes = _nodes(
        split=("Split",),
        one=("Identity", "split:1"),
        two=("Identity", "one"),
        told=("Identity", "one"),
        twice=("Mul", "two", "two:0", "^two"),
        guarded=("Identity", "two", "^check"),
        answer=("Identity", "guarded"),
    )
    inputs, passed = past_identities(nodes, {name: node.input for name, node in nodes.items()}, {"told"})
    assert passed == {"one": "split:1", "two": "split:1", "answer": "guarded"}
    assert inputs["twice"] == ["split:1", "split:1", "^split"]
    assert inputs["guarded"] == ["split:1", "^check"]
    assert inputs["told"] == ["split:1"]


@pytest.mark.parametrize("source", ["a/b", "a/b:3", "^a/b"])
def test_the_operator_of_an_input(source):
    assert operator_of(source) == "a/b"
