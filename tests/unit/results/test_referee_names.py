"""Names of candidates, problems and files: short, and still different for different ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.results.referee.names import candidate_names, problem_title, shortened, stem_of, without_scope
from slicebed.results.referee.words import amount, ends, share, shares

SAME = {"placement": "", "cut": "a", "codec": "raw", "knobs": "{}"}


def _named(*changes: dict) -> list[str]:
    return candidate_names([SAME | change for change in changes])


def test_a_candidate_is_named_by_what_sets_it_apart():
    assert _named({}, {"cut": "b"}) == ["a", "b"]
    assert _named({}, {"codec": "lossless"}) == ["a raw", "a lossless"]
    assert _named({"knobs": '{"edge.cores": 1}'}, {"knobs": '{"edge.cores": 2}'}) == [
        "a edge.cores=1",
        "a edge.cores=2",
    ]
    assert _named({"placement": "near"}, {"placement": "far"}) == ["near a", "far a"]


def test_a_whole_model_is_named_by_its_placement():
    sliced = {"placement": "sliced"}
    assert _named(sliced, {"placement": "cloud", "cut": ""}, {"cut": "whole"}) == ["a", "cloud", "whole"]


def test_knobs_that_cannot_be_read_are_shown_as_they_are():
    assert _named({"knobs": "[1]"}, {"knobs": "{not json"}) == ["a [1]", "a {not json"]


def test_the_only_condition_needs_no_name():
    assert problem_title("InceptionV3", "testbed") == "InceptionV3"
    assert problem_title("InceptionV3", "low") == "InceptionV3, low"


def test_the_scope_that_all_share_is_left_out():
    assert without_scope(["cloud", "Net/Net/a/Relu", "Net/Net/b/Relu"]) == ["cloud", "a/Relu", "b/Relu"]
    assert without_scope(["Net/a"]) == ["a"]
    assert without_scope(["a", "b"]) == ["a", "b"]
    assert without_scope([]) == []


def test_of_a_long_name_the_end_is_kept():
    assert shortened("scope/operator", 9) == "…operator"
    assert shortened("operator", 8) == "operator"


def test_plain_names_of_files_stay_plain():
    assert stem_of("cuts", "ResNet_v2_50-low") == "cuts__ResNet_v2_50-low"


words = st.text(min_size=1, max_size=80)


@given(st.lists(st.tuples(words, words), unique=True, min_size=2, max_size=2))
def test_different_words_make_different_names_of_files(pairs):
    stems = [stem_of("cuts", *pair) for pair in pairs]
    assert stems[0] != stems[1]
    for stem in stems:
        assert re.fullmatch(r"cuts__[A-Za-z0-9._-]+", stem)
        assert len(stem) < 100


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [("s", 0.16394, "163.9 ms"), ("s", 12.3456, "12346 ms"), ("B", 1_234_567, "1.235 MB"), ("", 0.25, "0.250"),
     ("frame/s", 7.5, "7.50 frame/s"), ("s", float("nan"), "-")],
)  # fmt: skip
def test_values_have_their_unit(unit, value, text):
    assert amount(unit, value) == text


def test_intervals_are_ranges_or_nothing():
    assert ends("s", 0.1613, 0.1664) == "161.3–166.4"  # noqa: RUF001 - the sign for a range
    assert ends("s", float("nan"), 1.0) == "-"
    assert share(0.031) == "3.1 %"
    assert share(float("inf")) == "∞"
    assert shares(0.0, 0.031) == "0.0–3.1 %"  # noqa: RUF001 - as above
    assert shares(float("nan"), float("nan")) == "-"
