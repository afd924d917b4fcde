"""Algorithms are found by name; a plug-in's answer is believed only when it is true."""

from __future__ import annotations

import dataclasses
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from model_graphs import graph, operator

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.cuts import algorithms
from slicebed_agent.model.cuts.exact import exact

MODEL = graph(
    operator("x"),
    operator("a", "x"),
    operator("b", "a"),
    operator("add", "a", "b"),
    operator("c", "add"),
    operator("d", "c"),
)


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Installs functions as a distribution would: metadata on the path, found by importlib."""

    def install(body, name="mine", module="slicebed_test_plug_in"):
        (tmp_path / f"{module}.py").write_text(body)
        info = tmp_path / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{algorithms.GROUP}]\n{name} = {module}:find\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def test_the_built_in_ones_are_there():
    assert algorithms.names()[:2] == ("exact", "couper")
    assert [point.name for point in algorithms.split_points(MODEL)] == ["a", "add", "c"]


def test_a_plug_in_under_the_name_of_a_built_in_one_is_refused(plug_in):
    plug_in("def find(graph, max_tensors):\n    return []\n", name="exact", module="impostor")
    with pytest.raises(AgentConfigError, match="'exact' comes with Slicebed and is registered by impostor:find too"):
        algorithms.split_points(MODEL)


def test_a_plug_in_is_found_and_used(plug_in):
    plug_in(
        "from slicebed_agent.model.cuts.exact import exact\n"
        "def find(graph, max_tensors):\n"
        "    return [point for point in exact(graph, max_tensors) if len(point.tensors) == max_tensors]\n"
    )
    assert "mine" in algorithms.names()
    assert [point.name for point in algorithms.split_points(MODEL, "mine", 2)] == ["a+b"]


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(AgentConfigError, match="no cut algorithm is named 'clever'; use exact, couper"):
        algorithms.split_points(MODEL, "clever")


def test_no_tensor_at_all_cannot_cross():
    with pytest.raises(AgentConfigError, match="0 tensors at a cut"):
        algorithms.split_points(MODEL, max_tensors=0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import nothing_of_the_kind\n", "it failed: ModuleNotFoundError"),
        ("def find(graph, max_tensors):\n    return 1 / 0\n", "it failed: ZeroDivisionError"),
        ("def find(graph, max_tensors):\n    return ['a']\n", "no SplitPoint"),
    ],
)
def test_a_plug_in_that_fails_is_named(plug_in, body, says):
    plug_in(body)
    with pytest.raises(AgentConfigError, match=says) as refused:
        algorithms.split_points(MODEL, "mine")
    assert refused.value.where == "cut algorithm mine"


def answers(points, monkeypatch, most=1):
    entry = EntryPoint("mine", "somewhere:find", algorithms.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _self: lambda _graph, _most: points)
    monkeypatch.setattr(algorithms, "entry_points", lambda **_group: EntryPoints([entry]))
    return algorithms.split_points(MODEL, "mine", most)


def test_points_out_of_order_are_refused(monkeypatch):
    with pytest.raises(AgentConfigError, match=r"a \(position 2\) comes behind add \(position 4\)"):
        answers([exact(MODEL)[1], exact(MODEL)[0]], monkeypatch)


def test_a_point_that_does_not_run_is_refused(monkeypatch):
    within = exact(MODEL, 2)[1]
    assert within.name == "a+b"
    with pytest.raises(AgentConfigError, match=r"a\+b: 2 tensors are live there"):
        answers([within], monkeypatch)
    alone = dataclasses.replace(within, name="b", tensors=within.tensors[1:])
    with pytest.raises(AgentConfigError, match=r"b: what crosses at position 3 is a\+b"):
        answers([alone], monkeypatch, most=2)


def test_a_point_outside_the_model_is_refused(monkeypatch):
    for position in (0, 6, 99):
        with pytest.raises(AgentConfigError, match="no place between 6 operators"):
            answers([dataclasses.replace(exact(MODEL)[0], position=position)], monkeypatch)


def test_sums_that_are_wrong_are_refused(monkeypatch):
    with pytest.raises(AgentConfigError, match="its sums differ"):
        answers([dataclasses.replace(exact(MODEL)[0], flops_before=10**9)], monkeypatch)
