"""Methods by entry point: Slicebed's own, and packages that really are on the path."""

from __future__ import annotations

import importlib
from inspect import isgeneratorfunction, unwrap

import pytest
from search_problems import Line

from slicebed.errors import SpecError
from slicebed.split.search.contracts import Choice
from slicebed.split.search.registry import load, names, needs_profiles
from slicebed.split.search.session import drive

OWN = ("comm-slim", "early-stop", "genetic", "halving", "hybrid", "neurosurgeon", "predict", "scission", "strongman")

TERNARY = '''\
"""Ternary search along the model: right wherever latency falls to one lowest place and rises again."""

from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import best_of, score


def ternary(problem):
    """Two cuts at a time, each a third of what is left from an end."""
    walk = sorted(problem.candidates, key=lambda candidate: candidate.place)
    measured = {}
    low, high = 0, len(walk) - 1
    while high - low > 2:
        third = (high - low) // 3
        ends = walk[low + third].key, walk[high - third].key
        measured |= {measure.key: measure for measure in (yield Ask(ends))}
        if not all(key in measured for key in ends):
            break
        first, second = (score(problem.objective, measured[key].figures) for key in ends)
        if first <= second:
            high -= third
        else:
            low += third
    left = tuple(candidate.key for candidate in walk[low : high + 1])
    measured |= {measure.key: measure for measure in (yield Ask(left))}
    best = best_of(measured.values(), problem.objective)
    return Choice(best.key, f"ternary search over {len(walk)} cuts")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a module and its metadata, as pip would, into a folder on the path."""

    def install(module, source, points, name="own"):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{name}_methods-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-methods\nVersion: 1.0\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[slicebed.methods]", *lines, ""]))
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def test_slicebeds_own_are_all_there_and_are_generators():
    assert set(OWN) <= set(names())
    for name in OWN:
        assert isgeneratorfunction(unwrap(load(name)))
    assert [name for name in OWN if needs_profiles(load(name))] == ["predict", "scission"]


def test_a_users_own_method_is_found_and_runs(package):
    package("my_ternary", TERNARY, {"ternary": "my_ternary:ternary"})
    assert "ternary" in names()
    line = Line(count=40, slow_edge=0.1)
    decision = drive("ternary", load("ternary"), line.problem(), line.testbed())
    assert isinstance(decision.choice, Choice)
    assert len(decision.asked) < 20
    assert len(TERNARY.splitlines()) <= 30


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(SpecError, match=r"'hybird'.*hybrid.*strongman"):
        load("hybird")


def test_a_method_that_cannot_be_loaded_says_why(package):
    package(
        "my_broken",
        "import there_is_no_such_module\n",
        {"broken": "my_broken:method", "absent": "my_absent:method", "number": "math:pi"},
    )
    with pytest.raises(SpecError, match=r"method broken: my_broken:method.*there_is_no_such_module"):
        load("broken")
    with pytest.raises(SpecError, match="my_absent"):
        load("absent")
    with pytest.raises(SpecError, match="cannot be called"):
        load("number")


def test_a_package_that_ends_the_program_cannot_be_loaded(package):
    package("my_leaver", "import sys\nsys.exit(0)\n", {"leaver": "my_leaver:method"})
    with pytest.raises(SpecError, match="method leaver: my_leaver:method cannot be loaded: SystemExit: 0"):
        load("leaver")


def test_two_methods_of_one_name_are_refused(package):
    package("my_hybrid", TERNARY, {"hybrid": "my_hybrid:ternary"})
    assert names().count("hybrid") == 1
    with pytest.raises(SpecError, match="my_hybrid:ternary and slicebed"):
        load("hybrid")
