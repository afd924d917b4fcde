"""The DNN-slicing paper's Tables 3 to 5: verdicts from made tables in both directions, and of the kept campaign."""

from __future__ import annotations

from pathlib import Path

import pytest
from reproduced import verdict_of

from slicebed.results.reproduce.dnn_slicing import judge_dnn_slicing, section_dnn_slicing
from slicebed.results.reproduce.intervals import Estimate
from slicebed.results.reproduce.material import splits_of
from slicebed.results.reproduce.splits import SplitRun

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decidable"
KEPT = Path(__file__).parents[3] / "results" / "reproduction" / "dnn_slicing-20261121T204744Z"
FRONTS, BACKS = ("1", "3"), ("8", "9", "10", "11")


def _split(configuration, front, back, dropped, **more):
    given = {
        "captured": 100,
        "dropped_inbound": dropped,
        "total_time_s": 10.0,
        "latency_ms": Estimate(500.0, 490.0, 510.0, 60),
        "parts": 28.0 if front == "1" else 12.0,
        "first_bytes": 1_384_448.0 if front == "1" else 589_824.0,
        "published_drop_rate": 0.1 * int(configuration) + 0.01 * int(back),
        "published_time_s": 49.7,
    }
    return SplitRun(configuration, f"{front}-{back}", dropped=dropped, **{**given, **more})


def _splits(drops=((20, 20), (60, 60), (20, 20)), **more):
    """Every cut; `drops` of a hundred after layer 1 and after layer 3, by configuration."""
    return [
        _split(str(number), front, back, drop, **more)
        for number, both in enumerate(drops, start=1)
        for front, drop in zip(FRONTS, both, strict=True)
        for back in BACKS
    ]


def _judge(words, splits):
    return verdict_of(judge_dnn_slicing(splits), words)


@pytest.mark.parametrize(
    ("words", "drops", "verdict"),
    [
        ("causes a high frame drop rate", ((20, 20), (60, 60), (20, 20)), HOLDS),
        ("causes a high frame drop rate", ((60, 60), (20, 20), (20, 20)), FAILS),
        ("causes a high frame drop rate", ((20, 20), (21, 21), (20, 20)), OPEN),
        ("benefit of splitting after a pooling", ((20, 20), (60, 30), (30, 10)), HOLDS),
        ("benefit of splitting after a pooling", ((20, 20), (30, 60), (30, 10)), FAILS),
        ("benefit of splitting after a pooling", ((20, 20), (60, 30), (20, 20)), OPEN),
        ("does not make much difference", ((20, 20), (60, 60), (20, 20)), HOLDS),
        ("does not make much difference", ((20, 20), (60, 20), (20, 20)), FAILS),
        ("does not make much difference", ((20, 20), (60, 55), (20, 35)), OPEN),
        ("does not make much difference", ((20, 20), (60, 55), (20, 46)), FAILS),
        ("more by the network's configuration", ((20, 20), (60, 60), (20, 20)), HOLDS),
        ("more by the network's configuration", ((20, 60), (25, 60), (20, 60)), FAILS),
        ("more by the network's configuration", ((20, 30), (30, 40), (20, 30)), OPEN),
        ("does not reduce the drop rate", ((20, 20), (60, 60), (20, 20)), HOLDS),
        ("does not reduce the drop rate", ((20, 20), (60, 30), (20, 20)), FAILS),
    ],
)
def test_verdicts_of_drop_rates(words, drops, verdict):
    assert _judge(words, _splits(drops)) == verdict


@pytest.mark.parametrize(
    ("words", "more", "verdict"),
    [
        ("split up into 20 packets", {}, HOLDS),
        ("split up into 20 packets", {"parts": 12.0}, FAILS),
        ("split up into 20 packets", {"parts": float("nan")}, OPEN),
        ("packets flood the network", {}, HOLDS),
        ("packets flood the network", {"dropped_inbound": 5}, FAILS),
        ("packets flood the network", {"dropped_inbound": 30}, OPEN),
        ("sends much smaller tensors", {}, HOLDS),
        ("sends much smaller tensors", {"first_bytes": 1e6}, FAILS),
    ],
)
def test_verdicts_of_messages(words, more, verdict):
    assert _judge(words, _splits(**more)) == verdict


def _with_latency(ms, configurations):
    """3-9 takes so long there, every other cut 500 ms."""
    slow = Estimate(ms, ms - 10, ms + 10, 60)
    return [
        _split(each.configuration, each.front, each.back, each.dropped, latency_ms=slow)
        if each.cut == "3-9" and each.configuration in configurations
        else each
        for each in _splits()
    ]


@pytest.mark.parametrize(
    ("ms", "slower", "no_difference"), [(700, HOLDS, FAILS), (300, FAILS, FAILS), (502, OPEN, HOLDS)]
)
def test_verdicts_of_latency(ms, slower, no_difference):
    assert _judge("takes longer than", _with_latency(ms, "23")) == slower
    assert _judge("no significant difference", _with_latency(ms, "1")) == no_difference


def test_time_and_drops_depend_on_capacity_only_together():
    drops, times = ((20, 20), (60, 60), (20, 20)), {"1": 10.0, "2": 10.0, "3": 14.0}

    def timed(drops):
        return [
            _split(each.configuration, each.front, each.back, each.dropped, total_time_s=times[each.configuration])
            for each in _splits(drops)
        ]

    assert _judge("significantly depend on the network", timed(drops)) == HOLDS
    assert _judge("significantly depend on the network", _splits(drops)) == FAILS
    assert _judge("significantly depend on the network", timed(((20, 20),) * 3)) == OPEN


@pytest.mark.parametrize(("step", "verdict"), [(5, HOLDS), (-5, FAILS)])
def test_the_order_of_the_cuts(step, verdict):
    ordered = [
        _split(
            "1",
            front,
            back,
            40 + step * number + (front == "3"),
            published_drop_rate=0.1 * number + (front == "3") / 99,
        )
        for number, back in enumerate(BACKS)
        for front in FRONTS
    ]
    assert _judge("Configuration 1: the cuts are in the paper's order", ordered) == verdict
    assert _judge("Configuration 2: the cuts are in the paper's order", ordered) == OPEN


def test_without_any_run_nothing_is_decided_and_everything_is_there():
    found = section_dnn_slicing(())
    assert found.table.empty
    assert len(found.statements) == 14
    assert {str(each.verdict) for each in found.statements} == {OPEN}


def test_the_kept_campaign():
    splits = list(splits_of(KEPT))
    section = section_dnn_slicing(splits)
    assert len(section.table) == 24
    assert section.table["published_drop_rate"].notna().all()
    assert {(each.front, each.parts) for each in splits if each.configuration == "2"} == {("1", 28.0), ("3", 12.0)}
    for words, verdict in (
        ("split up into 20 packets", HOLDS),
        ("causes a high frame drop rate", HOLDS),
        ("does not reduce the drop rate", FAILS),
        ("paper's order of drop rates (Table 3)", OPEN),
    ):
        assert verdict_of(section.statements, words) == verdict


def test_cuts_that_all_drop_the_same_have_no_order_and_that_is_the_reason_given():
    order = next(each for each in judge_dnn_slicing(_splits()) if "Configuration 1: the cuts" in each.text)
    assert order.verdict.value == OPEN
    assert order.why == "every cut dropped the same share: there is no order"
    missing = next(each for each in judge_dnn_slicing([]) if "Configuration 1: the cuts" in each.text)
    assert missing.why == "the cuts that the statement compares were not all run"
