"""How often a verdict about the best of many cuts, or about some of many cases, is wrong: simulated, seeded."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from reproduced import FAILS, HOLDS, PNASNET, decision, drawn, in_all, searches, verdict_of

from slicebed.results.reproduce.figure9 import judge_figure2, judge_figure9
from slicebed.results.reproduce.figures10_12 import FIGURES, judge_figures10_12
from slicebed.results.reproduce.names import TITLES

TRIALS = 60
# Of 5 %, one trial in twenty; more than six of sixty would come of that by chance in one of fifty.
MOST_WRONG = 6
PROBLEMS = [(model, edge, 8 if model == PNASNET else 24) for model in FIGURES for edge in ("low", "mid", "high")]


def _searched(rng, ms, share, hybrid):
    """Every cut of the problems, of true latencies and drop rates by place, and hybrid's choice of them."""
    cuts, decisions = [], []
    for model, condition, count in PROBLEMS:
        where = {"model": model, "condition": condition}
        cuts += [drawn(rng, number, ms(number), share(number), **where) for number in range(count)]
        decisions += [
            decision(method, f"c{hybrid(rng, count)}", 3, model=model, condition=condition)
            for method in ("hybrid", "early-stop")
        ]
    return searches(cuts, *decisions)


def _verdicts(judge, made, words):
    """How often each verdict comes, of statements by their words."""
    found = {each: Counter() for each in words}
    for seed in range(TRIALS):
        statements = judge(made(np.random.default_rng(seed)))
        for each in words:
            found[each][verdict_of(statements, each)] += 1
    return found


def test_of_alike_cuts_nothing_is_said_that_is_not_so():
    wrong = {
        "may not be the best one for drop rate": HOLDS,
        "twice the latency": HOLDS,
        "finds what strongman finds": FAILS,
        "performs well": FAILS,
        "within three iterations": FAILS,
    }
    found = _verdicts(
        judge_figures10_12,
        lambda rng: _searched(rng, lambda _: 1000, lambda _: 0.3, lambda rng, count: rng.integers(count)),
        wrong,
    )
    assert {
        words: found[words][verdict] for words, verdict in wrong.items() if found[words][verdict] > MOST_WRONG
    } == {}


@pytest.mark.parametrize(("chosen", "matches"), [(0, HOLDS), (5, FAILS)])
def test_of_clearly_different_cuts_it_is_said(chosen, matches):
    right = {
        "may not be the best one for drop rate": HOLDS,
        "twice the latency": HOLDS,
        "finds what strongman finds": matches,
        "performs well": matches,
        "within three iterations": matches,
    }
    found = _verdicts(
        judge_figures10_12,
        lambda rng: _searched(
            rng,
            lambda number: 1000 + 400 * number,
            lambda number: 0.02 if number == 6 else 0.7,
            lambda *_: chosen,
        ),
        right,
    )
    assert {
        words: found[words][verdict] for words, verdict in right.items() if found[words][verdict] < 0.8 * TRIALS
    } == {}


def test_the_best_of_cuts_like_the_cloud_is_no_better():
    def made(rng):
        cloud = [drawn(rng, 99, 1000, 0.3, cut="", placement="cloud", condition=edge) for edge in ("low", "mid")]
        cuts = [drawn(rng, number, 1000, 0.3, condition=edge) for edge in ("low", "mid") for number in range(24)]
        return in_all(searches([*cuts, *cloud]), TITLES.values())

    words = ("every model is faster", "every model drops fewer")
    found = _verdicts(judge_figure9, made, words)
    assert all(each[HOLDS] <= MOST_WRONG for each in found.values()), found


def test_among_many_alike_cases_none_stands_out():
    def made(rng):
        return searches(
            drawn(rng, 0, 1000, 0.3, cut="", placement=place, key=place, model=f"model {number}", frames=400)
            for place in ("edge", "cloud")
            for number in range(21)
        )

    found = _verdicts(judge_figure2, made, ("does not depend on the model", "Whole on the edge"))
    assert all(each[FAILS] <= MOST_WRONG for each in found.values()), found
    assert found["Whole on the edge"][HOLDS] == 0
