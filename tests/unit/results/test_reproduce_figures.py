"""Couper's Figures 2, 4, 9 and 10 to 12 from made searches, with verdicts in both directions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from reproduced import (
    FAILS,
    HOLDS,
    INCEPTION,
    OPEN,
    PNASNET,
    RESNET,
    assert_verdict_of_every_case,
    cut,
    decision,
    in_all,
    searches,
    verdict_of,
    whole,
)

from slicebed.results.reproduce.figure4 import figure4, judge_figure4, section_figure4
from slicebed.results.reproduce.figure9 import figure9, judge_figure2, judge_figure9, section_figure9
from slicebed.results.reproduce.figures10_12 import FIGURES, figures10_12, judge_figures10_12, section_figures10_12
from slicebed.results.reproduce.intervals import Estimate
from slicebed.results.reproduce.measured import Searches
from slicebed.results.reproduce.names import TITLES
from slicebed.results.reproduce.pictures import draw_figure9

LIMITED = ("low", "mid", "high")
TABLE3 = {"model": RESNET, "condition": "table3"}


def _along(sizes, drops, **more):
    pairs = zip(sizes, drops, strict=True)
    return [cut(number, 100 + number, drop, sent=size, **TABLE3, **more) for number, (size, drop) in enumerate(pairs)]


FALLING = [1000 * (20 - number) for number in range(16)]


@pytest.mark.parametrize(
    ("words", "sizes", "drops", "verdict"),
    [
        ("Earlier cuts hand over more", FALLING, [10] * 16, HOLDS),
        ("Earlier cuts hand over more", FALLING[::-1], [10] * 16, FAILS),
        ("Earlier cuts hand over more", [5, 9, 1, 7] * 4, [10] * 16, OPEN),
        ("makes the frame drop rate higher", FALLING, [60 - 3 * number for number in range(16)], HOLDS),
        ("makes the frame drop rate higher", FALLING, [10 + 3 * number for number in range(16)], FAILS),
        ("makes the frame drop rate higher", FALLING, [10] * 16, OPEN),
        ("late in the model", FALLING, [50] * 14 + [10, 50], HOLDS),
        ("late in the model", FALLING, [10] + [50] * 15, FAILS),
        ("late in the model", FALLING, [30] * 8 + [28] * 8, OPEN),
    ],
)
def test_verdicts_along_the_model(words, sizes, drops, verdict):
    assert verdict_of(judge_figure4(_along(sizes, drops), None, None), words) == verdict


@pytest.mark.parametrize(
    ("edge", "cloud", "against_edge", "against_cloud"),
    [
        (whole("edge", 100, 40), whole("cloud", 100, 60), HOLDS, HOLDS),
        (whole("edge", 60, 40), whole("cloud", 100, 12), FAILS, FAILS),
        (whole("edge", 100, 12), whole("cloud", 100, 22), OPEN, OPEN),
        (None, None, OPEN, OPEN),
    ],
)
def test_slices_against_both_extremes(edge, cloud, against_edge, against_cloud):
    statements = judge_figure4(_along(FALLING, [10] * 16), edge, cloud)
    assert verdict_of(statements, "on the edge, at the same delay") == against_edge
    assert verdict_of(statements, "against the whole model in the cloud") == against_cloud


def test_what_is_sent_to_the_cloud():
    less = judge_figure4(_along(FALLING, [10] * 16), None, whole("cloud"))
    more = judge_figure4(_along([3e6] * 16, [10] * 16), None, whole("cloud"))
    assert verdict_of(less, "over the Internet") == HOLDS
    assert verdict_of(more, "over the Internet") == FAILS


def test_figure_4_goes_from_cloud_to_edge():
    ends = [whole(placement, **TABLE3) for placement in ("edge", "cloud")]
    table = figure4(searches([*_along(FALLING, [10] * 16), *ends, cut(1)]))
    assert len(table) == 18
    assert [table["placement"].iloc[0], table["placement"].iloc[-1]] == ["cloud", "edge"]


def _pairs(ms, dropped, cloud_dropped=60, **more):
    return searches(
        [cut(1, ms, dropped, **more), cut(2, 4 * ms, 90, **more), whole("cloud", 200, cloud_dropped, **more)]
    )


@pytest.mark.parametrize(
    ("words", "ms", "dropped", "verdict"),
    [
        ("every model is faster", 150, 10, HOLDS),
        ("every model is faster", 250, 10, FAILS),
        ("every model is faster", 199, 10, OPEN),
        ("40 % to 90 %", 100, 10, HOLDS),
        ("40 % to 90 %", 150, 10, FAILS),
        ("every model drops fewer", 100, 20, HOLDS),
        ("every model drops fewer", 100, 85, FAILS),
        ("every model drops fewer", 100, 55, OPEN),
        ("60 % to 99 % fewer", 100, 0, HOLDS),
        ("60 % to 99 % fewer", 100, 50, FAILS),
    ],
)
def test_verdicts_of_figure_9(words, ms, dropped, verdict):
    one = _pairs(ms, dropped)
    assert_verdict_of_every_case(judge_figure9, one, in_all(one, TITLES.values()), words, verdict)


def test_one_edge_that_suffices_is_enough_for_a_model():
    both = searches([*_pairs(150, 10).cuts, *_pairs(300, 10, condition="low").cuts])
    assert verdict_of(judge_figure9(in_all(both, TITLES.values())), "every model is faster") == HOLDS


def test_figure_9_of_cuts_with_too_few_frames_for_an_interval(tmp_path):
    cuts = [replace(each, latency_ms=Estimate(each.latency_ms.value)) for each in _pairs(100, 10).cuts if each.cut]
    found = searches([*cuts, whole("cloud", 200, 60)])
    assert verdict_of(judge_figure9(found), "every model is faster") == OPEN
    table = figure9(found)
    assert (table["latency_of_cloud_low"].item(), table["latency_of_cloud_high"].item()) == (0, math.inf)
    assert all(path.is_file() for path in draw_figure9(table, tmp_path))


def test_figure_9_shows_what_hybrid_chose():
    found = searches(_pairs(100, 10).cuts, decision("hybrid", "c2", 1))
    (row,) = figure9(found).to_dict("records")
    assert (row["sliced_by"], row["cut"]) == ("hybrid", "c2")
    assert row["latency_of_cloud"] == pytest.approx(2.0)
    assert row["drop_rate_of_cloud"] == pytest.approx(1 / 6)
    (row,) = figure9(_pairs(100, 10)).to_dict("records")
    assert row["sliced_by"] == "best"
    assert row["latency_of_cloud"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("words", "ms", "dropped", "verdict"),
    [
        ("every model is faster", 150, 10, HOLDS),
        ("every model is faster", 250, 10, OPEN),
        ("every model drops fewer", 100, 85, OPEN),
    ],
)
def test_that_what_a_budget_left_is_not_better_says_nothing(words, ms, dropped, verdict):
    stopped = decision("hybrid", "c1", 2, stopped=True)
    found = searches([*_pairs(ms, dropped).cuts, cut(3, runs=0)], stopped)
    assert verdict_of(judge_figure9(in_all(found, TITLES.values())), words) == verdict
    assert figure9(found)["sliced_by"].item() == "hybrid, stopped"
    # Where all the others were measured too, the best is known.
    whole_line = in_all(searches(_pairs(ms, dropped).cuts, stopped), TITLES.values())
    assert verdict_of(judge_figure9(whole_line), words) == (FAILS if verdict == OPEN else verdict)


@pytest.mark.parametrize(("low", "verdict"), [(50, HOLDS), (90, OPEN)])
def test_a_model_whose_search_a_budget_ended_has_no_best_edge(low, verdict):
    best = {(INCEPTION, "low"): low, (INCEPTION, "high"): 70, (PNASNET, "low"): 90, (PNASNET, "high"): 50}
    cuts = [cut(1, ms, model=model, condition=edge) for (model, edge), ms in best.items()]
    cuts += [
        cut(number, 40, model=RESNET, condition=edge, runs=number) for edge in ("low", "high") for number in (0, 1)
    ]
    found = searches(cuts, decision("hybrid", "c1", 1, model=RESNET, condition="low", stopped=True))
    assert verdict_of(judge_figure9(found), "no single edge") == verdict


@pytest.mark.parametrize(
    ("best", "verdict"),
    [
        ({(INCEPTION, "low"): 50, (INCEPTION, "high"): 90, (PNASNET, "low"): 90, (PNASNET, "high"): 50}, HOLDS),
        ({(INCEPTION, "low"): 90, (INCEPTION, "high"): 50, (PNASNET, "low"): 90, (PNASNET, "high"): 50}, FAILS),
        ({(INCEPTION, "low"): 90, (INCEPTION, "high"): 50}, OPEN),
    ],
)
def test_no_edge_is_best_for_all(best, verdict):
    cuts = [cut(1, ms, model=model, condition=condition) for (model, condition), ms in best.items()]
    assert verdict_of(judge_figure9(searches(cuts)), "no single edge") == verdict


@pytest.mark.parametrize(
    ("frames", "dropped", "verdict"),
    [(1000, (700, 710, 690), HOLDS), (1000, (700, 900, 700), FAILS), (50, (35, 36, 34), OPEN), (50, (35,), OPEN)],
)
def test_whether_drops_in_the_cloud_depend_on_the_model(frames, dropped, verdict):
    cuts = [whole("cloud", 200, count, model=f"model {number}", frames=frames) for number, count in enumerate(dropped)]
    assert verdict_of(judge_figure2(searches(cuts)), "does not depend on the model") == verdict


@pytest.mark.parametrize(
    ("ms", "dropped", "drops", "both"), [(100, 20, HOLDS, HOLDS), (300, 20, HOLDS, FAILS), (300, 90, FAILS, FAILS)]
)
def test_the_whole_model_on_the_edge(ms, dropped, drops, both):
    small = ("MobileNet V2 1.4", "VGG 16")
    one = in_all(searches([whole("edge", ms, dropped), whole("cloud", 200, 60)]), small[:1])
    assert_verdict_of_every_case(judge_figure2, one, in_all(one, small), "infers as fast", both)
    assert verdict_of(judge_figure2(one), "Whole on the edge") == drops


FASTEST_DROPS = [cut(1, 100, 60), cut(2, 150, 55), cut(3, 300, 10)]
ONE_FOR_BOTH = [cut(1, 100, 5), cut(2, 150, 55), cut(3, 300, 60)]


@pytest.mark.parametrize(
    ("cuts", "differ", "twice"),
    [
        (FASTEST_DROPS, HOLDS, HOLDS),
        (ONE_FOR_BOTH, FAILS, FAILS),
        ([cut(1, 100, 10), cut(2, 110, 8)], OPEN, FAILS),
        ([cut(1, 100, 10), cut(2, 300, 8, runs=0)], OPEN, OPEN),
    ],
)
def test_whether_both_objectives_agree(cuts, differ, twice):
    statements = judge_figures10_12(searches(cuts))
    assert verdict_of(statements, "may not be the best one for drop rate") == differ
    assert verdict_of(statements, "twice the latency") == twice


@pytest.mark.parametrize(
    ("chosen", "matches", "good"),
    [("c1", HOLDS, HOLDS), ("c2", HOLDS, HOLDS), ("c3", FAILS, HOLDS), ("c4", FAILS, FAILS)],
)
def test_how_near_hybrid_comes_to_the_best(chosen, matches, good):
    cuts = [cut(1, 100), cut(2, 101), cut(3, 120), cut(4, 160)]
    one = searches(cuts, decision("hybrid", chosen, 1))
    every = in_all(one, FIGURES, LIMITED)
    assert_verdict_of_every_case(judge_figures10_12, one, every, "finds what strongman finds", matches)
    assert_verdict_of_every_case(judge_figures10_12, one, every, "performs well", good)


@pytest.mark.parametrize(("count", "verdict"), [(1, HOLDS), (2, HOLDS), (3, FAILS)])
def test_which_method_is_quickest(count, verdict):
    others = (decision("strongman", "c1", 4), decision("early-stop", "c1", 2))
    one = searches(ONE_FOR_BOTH, *others, decision("hybrid", "c1", count))
    every = in_all(one, FIGURES, LIMITED)
    assert_verdict_of_every_case(judge_figures10_12, one, every, "lowest time to slice", verdict)


@pytest.mark.parametrize(
    ("early", "hybrid", "verdict"),
    [((2, False), (3, True), FAILS), ((2, False), (2, True), OPEN), ((2, True), (2, False), HOLDS),
     ((2, True), (3, False), OPEN)],
)  # fmt: skip
def test_which_is_quickest_where_the_budget_ended_one(early, hybrid, verdict):
    each = (("early-stop", early), ("hybrid", hybrid))
    found = searches(ONE_FOR_BOTH, *(decision(name, "c1", count, stopped=short) for name, (count, short) in each))
    every = in_all(found, FIGURES, LIMITED)
    assert_verdict_of_every_case(judge_figures10_12, found, every, "lowest time to slice", verdict)
    assert set(figures10_12(found)["stopped_by_budget"]) == {0, 1}


@pytest.mark.parametrize(
    ("words", "method", "chosen", "count", "verdict"),
    [
        ("finds what strongman finds", "hybrid", "c1", 2, HOLDS),
        ("finds what strongman finds", "hybrid", "c4", 2, OPEN),
        ("performs well", "hybrid", "c4", 2, OPEN),
        ("within three iterations", "early-stop", "c1", 3, OPEN),
        ("within three iterations", "early-stop", "c1", 4, FAILS),
        ("within three iterations", "early-stop", "c4", 2, OPEN),
    ],
)
def test_a_choice_that_a_budget_ended_could_have_become_better(words, method, chosen, count, verdict):
    cuts = [cut(number, ms) for number, ms in ((1, 100), (2, 101), (4, 160))]
    found = in_all(searches(cuts, decision(method, chosen, count, stopped=True)), FIGURES, LIMITED)
    assert verdict_of(judge_figures10_12(found), words) == verdict


@pytest.mark.parametrize(("chosen", "count", "verdict"), [("c1", 3, HOLDS), ("c1", 4, FAILS), ("c2", 2, FAILS)])
def test_early_stop_on_pnasnet(chosen, count, verdict):
    cuts = [cut(number, ms, model=PNASNET) for number, ms in ((1, 100), (2, 150), (3, 300))]
    one = searches(cuts, decision("early-stop", chosen, count, model=PNASNET))
    every = in_all(one, [PNASNET], LIMITED)
    assert_verdict_of_every_case(judge_figures10_12, one, every, "within three iterations", verdict)


def test_the_table_of_figures_10_to_12():
    found = searches(
        FASTEST_DROPS, decision("strongman", "c1", 3), decision("hybrid", "c2", 1), decision("predict", "", 0)
    )
    table = figures10_12(found).set_index("method")
    assert list(table.index) == ["strongman", "hybrid", "predict"]
    assert table.loc["hybrid", ["figure", "all_measured", "chosen", "best_for_latency", "best_for_drops"]].tolist() == [
        *(10, 1, "c2", "c1", "c3"),
    ]
    assert table.loc["hybrid", "above_best"] == pytest.approx(0.5)
    assert math.isnan(table.loc["predict", "latency_ms"])


@pytest.mark.parametrize("section", [section_figure4, section_figure9, section_figures10_12])
def test_without_any_search_nothing_is_decided_and_everything_is_there(section):
    found = section(Searches())
    assert found.table.empty
    assert {str(each.verdict) for each in found.statements} == {OPEN}
    assert all(each.why for each in found.statements)
