"""Couper's Tables 5 and 6 from made searches, with verdicts in both directions."""

from __future__ import annotations

from io import StringIO

import pytest
from reproduced import (
    INCEPTION,
    PNASNET,
    RESNET,
    assert_verdict_of_every_case,
    cut,
    decision,
    in_all,
    searches,
    verdict_of,
)
from rich.console import Console

from slicebed.results.reproduce.measured import Searches
from slicebed.results.reproduce.names import TITLES
from slicebed.results.reproduce.page import page
from slicebed.results.reproduce.render import render_report
from slicebed.results.reproduce.report import Report
from slicebed.results.reproduce.section import STOPPED
from slicebed.results.reproduce.table5 import judge_table5, section_table5, table5
from slicebed.results.reproduce.table6 import MODELS, judge_table6, section_table6, table6

METHODS = ("strongman", "comm-slim", "hybrid")


def _of_table5(model=INCEPTION, counts=(34, 17, 2)):
    cuts = [cut(number, model=model) for number in range(counts[0])]
    taken = zip(METHODS, counts, strict=True)
    return searches(cuts, *(decision(method, "c0", count, model=model) for method, count in taken))


def test_every_published_row_is_there():
    table = table5(_of_table5())
    assert len(table) == 7
    row = table.set_index("model").loc[INCEPTION]
    assert [row[name] for name in ("candidates", "strongman", "comm_slim", "hybrid")] == [34, 34, 17, 2]
    assert [row[f"published_{name}"] for name in ("strongman", "comm_slim", "hybrid", "operators")] == [34, 15, 2, 788]
    assert table["candidates"].isna().sum() == 6


def test_candidates_are_known_where_only_hybrid_was_run():
    cuts = [cut(number, runs=int(number < 3)) for number in range(34)]
    row = table5(searches(cuts, decision("hybrid", "c1", 3))).set_index("model").loc[INCEPTION]
    assert row["candidates"] == 34
    assert row["hybrid"] == 3
    assert row.isna()["strongman"]


def test_what_comm_slim_leaves_is_known_without_a_run():
    cuts = [cut(number, sent=1000.0 * (10 - number), condition="mid") for number in range(9)]
    table = table5(searches(cuts, decision("hybrid", "c1", 3))).set_index("model")
    assert table.loc[INCEPTION, "comm_slim"] == 5
    rows = table6(searches(cuts, decision("hybrid", "c1", 3))).set_index(["model", "edge"])
    assert rows.loc[(INCEPTION, "mid"), "comm_slim_runs"] == 5
    assert rows["comm_slim_runs"].isna().sum() == 8


@pytest.mark.parametrize(
    ("words", "model", "counts", "verdict"),
    [
        ("34 split points only", INCEPTION, (36, 18, 2), "holds"),
        ("34 split points only", RESNET, (180, 18, 2), "does not hold"),
        ("Comm-slim reduces", INCEPTION, (34, 17, 2), "holds"),
        ("Comm-slim reduces", INCEPTION, (34, 34, 2), "does not hold"),
        ("no more split points than comm-slim", INCEPTION, (34, 17, 17), "holds"),
        ("no more split points than comm-slim", INCEPTION, (34, 17, 18), "does not hold"),
        ("a single split point", RESNET, (34, 17, 1), "holds"),
        ("a single split point", RESNET, (34, 17, 2), "does not hold"),
        ("at most a tenth", INCEPTION, (34, 17, 3), "holds"),
        ("at most a tenth", INCEPTION, (34, 17, 4), "does not hold"),
    ],
)
def test_verdicts_of_table_5(words, model, counts, verdict):
    one = _of_table5(model, counts)
    every = in_all(one, TITLES.values())
    assert_verdict_of_every_case(lambda found: judge_table5(table5(found)), one, every, words, verdict)


@pytest.mark.parametrize(
    ("words", "model", "counts"),
    [
        ("34 split points only", PNASNET, (7, 4, 1)),
        ("a single split point", INCEPTION, (34, 17, 1)),
        ("at most a tenth", PNASNET, (7, 4, 1)),
    ],
)
def test_a_model_that_a_statement_is_not_about_decides_nothing(words, model, counts):
    assert verdict_of(judge_table5(table5(_of_table5(model, counts))), words) == "not decidable"


def _of_table6(runs, *, strongman=True):
    """Of Inception V3: hybrid's split points with the low-end, mid-end and high-end edge."""
    cuts, decisions = [], []
    for edge, count in zip(("low", "mid", "high"), runs, strict=True):
        cuts += [cut(number, condition=edge, runs=int(strongman or number < count)) for number in range(30)]
        decisions.append(decision("hybrid", "c0", count, condition=edge))
        decisions.append(decision("comm-slim", "c0", 15 + 2 * count, condition=edge))
        decisions += [decision("strongman", "c0", 30, condition=edge)] if strongman else []
    return searches(cuts, *decisions)


def test_minutes_stand_beside_seconds():
    row = table6(_of_table6((1, 2, 10))).set_index(["model", "edge"]).loc[INCEPTION, "high"]
    assert (row["hybrid_s"], row["strongman_s"], row["strongman_run"], row["comm_slim_runs"]) == (100, 300, 1, 35)
    assert (row["published_hybrid_min"], row["published_strongman_min"]) == (10, ">30")


def test_strongmans_time_is_expected_from_what_was_measured():
    row = table6(_of_table6((1, 2, 10), strongman=False)).set_index(["model", "edge"]).loc[INCEPTION, "mid"]
    assert (row["strongman_s"], row["strongman_run"]) == (300, 0)


@pytest.mark.parametrize(
    ("most", "verdict"), [(6, "holds"), (7, "not decidable"), (15, "not decidable"), (16, "does not hold")]
)
def test_an_expected_time_is_taken_within_a_factor(most, verdict):
    found = in_all(_of_table6((1, 2, most), strongman=False), MODELS)
    (said,) = (each for each in judge_table6(table6(found)) if "greatly reduces" in each.text)
    assert str(said.verdict) == verdict
    assert "within a factor of 1.5, not measured, in 9" in said.why


@pytest.mark.parametrize(
    ("words", "runs", "verdict"),
    [
        ("greatly reduces", (1, 2, 10), "holds"),
        ("greatly reduces", (1, 2, 11), "does not hold"),
        ("hybrid tries more", (1, 2, 10), "holds"),
        ("hybrid tries more", (1, 1, 2), "holds"),
        ("hybrid tries more", (2, 2, 2), "does not hold"),
        ("hybrid tries more", (3, 4, 2), "does not hold"),
        ("comm-slim explores more", (1, 2, 3), "holds"),
        ("comm-slim explores more", (2, 2, 2), "does not hold"),
    ],
)
def test_verdicts_of_table_6(words, runs, verdict):
    one = _of_table6(runs)
    every = in_all(one, MODELS)
    assert_verdict_of_every_case(lambda found: judge_table6(table6(found)), one, every, words, verdict)


@pytest.mark.parametrize(
    ("words", "model", "count", "verdict"),
    [
        # Beyond the bound already: whatever it would have gone on to.
        ("at most a tenth", INCEPTION, 4, "does not hold"),
        ("a single split point", RESNET, 2, "does not hold"),
        ("no more split points than comm-slim", INCEPTION, 18, "does not hold"),
        ("at most a tenth", INCEPTION, 3, "not decidable"),
        ("a single split point", RESNET, 1, "not decidable"),
        ("no more split points than comm-slim", INCEPTION, 17, "not decidable"),
    ],
)
def test_of_a_count_that_the_budget_ended_only_the_safe_side_is_said(words, model, count, verdict):
    cuts = [cut(number, model=model) for number in range(34)]
    decisions = (
        decision("comm-slim", "c0", 17, model=model),
        decision("hybrid", "c0", count, model=model, stopped=True),
    )
    judged = judge_table5(table5(searches(cuts, *decisions)))
    assert verdict_of(judged, words) == verdict
    (said,) = (each for each in judged if words in each.text)
    assert f">= {count}" in said.facts[0].text


def test_a_budget_takes_nothing_from_what_is_known_without_a_run():
    cuts = [cut(number, sent=1000.0 * (10 - number), condition="mid") for number in range(9)]
    stopped = searches(cuts, decision("comm-slim", "c1", 3, stopped=True), decision("strongman", "c1", 4, stopped=True))
    row = table5(stopped).set_index("model").loc[INCEPTION]
    assert (row["comm_slim"], row["comm_slim_stopped"], row["strongman"], row["strongman_stopped"]) == (5, 0, 4, 1)
    row = table6(stopped).set_index(["model", "edge"]).loc[INCEPTION, "mid"]
    assert (row["comm_slim_runs"], row["comm_slim_stopped"]) == (5, 0)
    # Of all nine, by those that were measured.
    assert (row["strongman_s"], row["strongman_run"]) == (90, 0)


@pytest.mark.parametrize(
    ("words", "runs", "stopped", "verdict"),
    [
        ("hybrid tries more", (12, 12, 12), (True, True, True), "not decidable"),
        ("hybrid tries more", (3, 5, 12), (False, False, True), "holds"),
        ("hybrid tries more", (3, 12, 12), (False, True, True), "not decidable"),
        ("hybrid tries more", (12, 5, 12), (True, False, True), "does not hold"),
        ("greatly reduces", (1, 2, 10), (False, False, True), "not decidable"),
        ("greatly reduces", (1, 2, 11), (False, False, True), "does not hold"),
    ],
)
def test_verdicts_of_table_6_where_the_budget_ended_hybrid(words, runs, stopped, verdict):
    cuts, decisions = [], []
    for edge, count, short in zip(("low", "mid", "high"), runs, stopped, strict=True):
        cuts += [cut(number, condition=edge) for number in range(30)]
        decisions.append(decision("hybrid", "c0", count, condition=edge, stopped=short))
        decisions.append(decision("strongman", "c0", 30, condition=edge))
    found = in_all(searches(cuts, *decisions), MODELS)
    (said,) = (each for each in judge_table6(table6(found)) if words in each.text)
    assert str(said.verdict) == verdict
    assert f"in {len(MODELS) * sum(stopped)} the budget stopped" in said.why


def test_the_least_that_a_count_may_be_is_told_as_such_on_page_and_terminal():
    cuts = [cut(number, runs=int(number < 12)) for number in range(34)]
    found = section_table6(searches(cuts, decision("hybrid", "c1", 12, stopped=True)))
    console = Console(file=StringIO(), width=120)
    render_report(console, Report((found,), ()))
    for text in (page("it", [found], (), {}, {}), console.file.getvalue()):
        assert "≥ 12" in text
        assert "≥ 120" in text
        assert "hybrid_stopped" not in text.replace(" ", "_")
        assert STOPPED in text
    whole = page("it", [section_table6(searches(cuts, decision("hybrid", "c1", 12)))], (), {}, {})
    assert "≥" not in whole
    assert found.table["hybrid_stopped"].sum() == 1


def test_one_edge_tells_nothing_of_how_it_moves():
    table = table6(searches([cut(1)], decision("hybrid", "c1", 1)))
    assert verdict_of(judge_table6(table), "hybrid tries more") == "not decidable"


@pytest.mark.parametrize("section", [section_table5, section_table6])
def test_without_any_search_nothing_is_decided_and_everything_is_there(section):
    found = section(Searches())
    assert len(found.table) in {7, 9}
    assert {str(each.verdict) for each in found.statements} == {"not decidable"}
    assert all(each.why for each in found.statements)
