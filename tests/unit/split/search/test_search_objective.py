from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_problems import LATENCY, not_a_number, of

from slicebed.errors import RunError, SpecError
from slicebed.spec.objective import METRICS, Objective
from slicebed.spec.search_model import AmountsModel
from slicebed.spec.units import parse_amount
from slicebed.split.search.contracts import Figure, Measure
from slicebed.split.search.objective import (
    INFEASIBLE,
    best_of,
    error,
    excess,
    feasible,
    interval,
    parse,
    ranked,
    score,
    shown,
    value,
)

SLO = Objective({"latency": 1.0, "drop_rate": 2.0}, {"latency": 0.1, "drop_rate": 0.1}, {"drop_rate": 0.2})


def measure(key, **values):
    return Measure(key, of(**values))


def test_one_metric_is_its_own_score():
    assert score(LATENCY, of(latency=0.25)) == value(LATENCY, of(latency=0.25)) == 0.25


def test_more_throughput_is_better_and_is_shown_as_it_is():
    throughput = Objective({"throughput": 1.0})
    assert score(throughput, of(throughput=30)) < score(throughput, of(throughput=20))
    assert value(throughput, of(throughput=30)) == 30


def test_several_metrics_count_in_their_scales():
    assert score(SLO, of(latency=0.3, drop_rate=0.05)) == pytest.approx(3 + 2 * 0.5)
    assert value(SLO, of(latency=0.3, drop_rate=0.05)) == pytest.approx(4)


def test_whatever_breaks_a_limit_ranks_behind_all_that_keep_it_by_how_much():
    kept, just, far = (score(SLO, of(latency=s, drop_rate=d)) for s, d in ((90.0, 0.2), (0.1, 0.21), (0.1, 0.9)))
    assert kept < INFEASIBLE < just < far
    assert feasible(SLO, of(latency=1, drop_rate=0.2))
    assert not feasible(SLO, of(latency=1, drop_rate=0.3))


def test_a_limit_of_throughput_is_the_least_and_one_of_zero_can_be_kept():
    least = Objective({"latency": 1.0}, limits={"throughput": 10.0, "drop_rate": 0.0})
    assert score(least, of(latency=1, throughput=10, drop_rate=0)) == 1
    assert score(least, of(latency=1, throughput=5, drop_rate=0)) == pytest.approx(INFEASIBLE * 1.5)
    assert score(least, of(latency=1, throughput=10, drop_rate=0.25)) == pytest.approx(INFEASIBLE * 1.25)


@pytest.mark.parametrize(("objective", "lacking"), [(LATENCY, "latency"), (SLO, "drop_rate")])
def test_a_metric_that_is_missing_is_named(objective, lacking):
    figures = {"throughput": Figure(1, 1, 1)} | (of(latency=1) if lacking != "latency" else {})
    for read in (score, value, interval):
        with pytest.raises(SpecError, match=f"needs {lacking}"):
            read(objective, figures)


def test_what_is_not_a_number_is_the_worst():
    assert score(LATENCY, {"latency": not_a_number()}) == math.inf


def test_the_interval_goes_from_all_better_ends_to_all_worse_ones():
    both = Objective({"latency": 1.0, "throughput": 0.5}, {"throughput": 10.0})
    figures = {"latency": Figure(2, 1, 4), "throughput": Figure(20, 10, 30)}
    assert interval(both, figures) == Figure(2 - 1, 1 - 1.5, 4 - 0.5)
    spread = interval(SLO, {"latency": Figure(0.1, 0.1, 0.1), "drop_rate": Figure(0.1, 0.0, 0.3)})
    assert spread.low < spread.value < INFEASIBLE < spread.high
    unknown = interval(LATENCY, {"latency": Figure(1, math.nan, math.nan)})
    assert unknown.value == 1
    assert math.isnan(unknown.low)
    assert math.isnan(unknown.high)


def test_excess_is_a_share_of_the_best_and_of_the_drop_rate_a_difference():
    drops = Objective({"drop_rate": 2.0})
    assert excess(LATENCY, 0.103, 0.1) == pytest.approx(0.03)
    assert excess(LATENCY, 0.1, 0.2) == 0
    assert excess(drops, 2 * 0.05, 0.0) == pytest.approx(0.05)
    assert excess(Objective({"throughput": 1.0}), -27.0, -30.0) == pytest.approx(0.1)
    assert excess(LATENCY, INFEASIBLE * 1.1, 0.1) == excess(LATENCY, 0.1, 0.0) == math.inf
    assert excess(drops, INFEASIBLE * 1.1, INFEASIBLE) == pytest.approx(0.1)


def test_error_is_a_share_of_the_measured():
    assert error(LATENCY, 0.09, 0.1) == pytest.approx(0.1)
    assert error(LATENCY, 0.0, 0.0) == 0
    assert error(LATENCY, 0.1, 0.0) == math.inf
    assert error(Objective({"drop_rate": 1.0}), 0.1, 0.0) == pytest.approx(0.1)
    assert error(LATENCY, 0.1, math.inf) is error(LATENCY, INFEASIBLE, 0.1) is None


def test_equals_are_told_apart_by_latency_then_by_name():
    drops = Objective({"drop_rate": 1.0})
    measures = [
        measure("d", drop_rate=0.0),
        measure("c", drop_rate=0.0, latency=0.2),
        measure("b", drop_rate=0.0, latency=0.1),
        measure("a", drop_rate=0.0, latency=0.2),
        measure("e", drop_rate=0.5, latency=0.01),
    ]
    assert [found.key for _, found in ranked(measures, drops)] == ["b", "a", "c", "d", "e"]


def test_a_candidate_of_which_no_frame_came_through_is_last():
    measures = [measure("none", drop_rate=1.0), measure("some", latency=9.0, drop_rate=0.9)]
    assert [(at, found.key) for at, found in ranked(measures, LATENCY)] == [(9.0, "some"), (math.inf, "none")]
    assert best_of(measures, LATENCY).key == "some"
    stuck = of(throughput=0.0)
    assert score(SLO, stuck) == score(LATENCY, stuck) == math.inf
    assert math.isnan(value(LATENCY, stuck))
    assert math.isnan(interval(LATENCY, stuck).high)
    assert not feasible(SLO, stuck)
    with pytest.raises(SpecError, match="needs energy"):
        best_of([measure("some", latency=9.0, drop_rate=0.9)], Objective({"energy": 1.0}))
    with pytest.raises(RunError, match="could be measured"):
        best_of([], LATENCY)


def test_objectives_are_read_with_units_and_without():
    assert parse("latency_p95") == Objective({"latency_p95": 1.0})
    text = "latency=1/100 ms, drop_rate=2/10 % ; drop_rate<=20 %, throughput >= 5 frame/s"
    assert parse(text) == Objective(
        {"latency": 1.0, "drop_rate": 2.0}, {"latency": 0.1, "drop_rate": 0.1}, {"drop_rate": 0.2, "throughput": 5.0}
    )
    assert parse("latency=1,drop_rate=2;drop_rate<=0.2").limits == {"drop_rate": 0.2}
    assert parse("energy=1/2 J,bytes=3/1 MB").scales == {"energy": 2.0, "bytes": 1e6}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "speed",
        "latency=",
        "latency=x",
        "latency=0",
        "latency=-1",
        "latency=nan",
        "latency=1/0 ms",
        "latency=1/3 frame/s",
        "latency,latency",
        "latency;",
        "latency;drop_rate",
        "latency;drop_rate=0.2",
        "latency;drop_rate>=20 %",
        "latency;throughput<=5",
        "latency;drop_rate<=0.1,drop_rate<=0.2",
        "latency;speed<=1",
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(SpecError) as refused:
        parse(text)
    assert refused.value.mend


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("latency;drop_rate<=20", "limit of drop_rate 20 is out of range; allowed: 0 to 1 (20 % is 0.2)"),
        ("latency;drop_rate<=101 %", "limit of drop_rate 1.01 is out of range"),
        ("latency=1/100,drop_rate=1/20", "scale of drop_rate 20 is out of range"),
        ("latency=1/100 m", 'unit "m" is not a unit of duration'),
        ("latency=1/2 h", 'unit "h" is not'),
        ("latency;bytes<=0", "limit of bytes 0 is out of range; allowed: 1 to 1.09951e+12 B"),
        ("latency=2000", "weight of latency 2000 is out of range"),
        ("latency<=10 ms", '"latency<=10 ms" is a limit, and not behind what is minimised; write'),
        ("drop_rate<=20 %;latency", '"drop_rate<=20 %" is a limit, and not behind what is minimised; write'),
    ],
)
def test_what_the_file_would_refuse_is_refused_and_said_where(text, told):
    with pytest.raises(SpecError) as refused:
        parse(text)
    assert str(refused.value).startswith(f"--objective: {told}")


QUANTITIES = {
    "latency": ("1 us", "3600 s"),
    "latency_p95": ("1 us", "3600 s"),
    "drop_rate": ("0.0001 %", "100 %"),
    "throughput": ("0.001 frame/s", "1000 frame/s"),
    "bytes": ("1 B", "1024 GiB"),
    "energy": ("1 uJ", "1000000 J"),
}


@pytest.mark.parametrize("metric", METRICS)
def test_the_bounds_are_those_of_the_file(metric):
    low, high = QUANTITIES[metric]
    for amount in (low, high):
        assert AmountsModel.model_validate({metric: amount})
    ends = [parse_amount(amount) for amount in (low, high)]
    for end in ends:
        assert parse(f"{metric}=1/{end!r}").scales == {metric: end}
    for beyond in (ends[0] * 0.99, ends[1] * 1.01):
        with pytest.raises(SpecError, match="out of range"):
            parse(f"{metric}=1/{beyond!r}")


def amounts():
    """Of each metric any amount that is allowed."""
    ends = {name: [parse_amount(end) for end in both] for name, both in QUANTITIES.items()}
    return st.fixed_dictionaries({}, optional={name: st.floats(*both) for name, both in ends.items()})


@given(
    weights=st.dictionaries(st.sampled_from(sorted(METRICS)), st.floats(0.001, 1000), min_size=1),
    scales=amounts(),
    limits=amounts(),
)
def test_what_is_shown_can_be_read_again(weights, scales, limits):
    objective = Objective(weights, {name: scales[name] for name in scales if name in weights}, limits)
    assert parse(shown(objective)) == objective


@given(
    better=st.lists(st.floats(0, 1e6), min_size=2, max_size=2),
    worse=st.lists(st.floats(0, 1e6), min_size=2, max_size=2),
)
def test_whatever_is_no_better_anywhere_scores_no_better(better, worse):
    low = of(latency=min(better[0], worse[0]), drop_rate=min(better[1], worse[1]))
    high = of(latency=max(better[0], worse[0]), drop_rate=max(better[1], worse[1]))
    assert score(SLO, low) <= score(SLO, high)
