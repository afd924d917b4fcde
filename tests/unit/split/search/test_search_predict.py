from __future__ import annotations

import random
import statistics

import pytest
from search_problems import LATENCY, Line, Testbed, around, cut, foretelling, of, point

from slicebed.errors import RunError, SpecError
from slicebed.spec.objective import Objective
from slicebed.split.search.contracts import Foretold, Measure, Problem
from slicebed.split.search.methods.predict import expected_gain
from slicebed.split.search.registry import load
from slicebed.split.search.session import drive


def run(predicted, true, **more):
    share, correct = more.pop("share", 0.05), more.pop("correct", None)
    problem = Problem(
        tuple(cut(place, key=key) for place, key in enumerate(true)),
        more.pop("objective", LATENCY),
        foretell=foretelling(predicted, share, correct),
        **more,
    )
    return drive("predict", load("predict"), problem, Testbed(true))


def test_a_perfect_prediction_is_verified_twice_and_leaves_no_regret():
    true = {f"cut{place}": 0.1 + 0.05 * place for place in range(10)}
    decision = run(true, true)
    assert (decision.asked, decision.choice.key) == (("cut0", "cut1"), "cut0")
    assert (decision.choice.regret, decision.choice.error) == (0.0, 0.0)
    assert "stopped" not in decision.choice.why
    assert run(true, true, options={"least": 1}).asked == ("cut0",)


@pytest.mark.parametrize(
    ("candidates", "options", "runs"), [(40, {}, 2), (41, {}, 3), (98, {}, 5), (98, {"most": 4}, 4)]
)
def test_of_many_candidates_more_are_verified(candidates, options, runs):
    true = {f"cut{place:02}": 0.1 + 0.05 * place for place in range(candidates)}
    decision = run(true, true, options=options)
    assert decision.asked == tuple(list(true)[:runs])
    assert "stopped" not in decision.choice.why


def test_it_goes_on_while_another_is_expected_to_be_better_by_more_than_the_tolerance():
    predicted = {f"cut{place}": 0.100 + 0.001 * place for place in range(10)}
    true = {key: value * (1.05 if key in {"cut0", "cut1", "cut2"} else 1.0) for key, value in predicted.items()}
    decision = run(predicted, true, share=0.01, options={"tolerance": "1 %"})
    assert decision.asked == ("cut0", "cut1", "cut2", "cut3")
    assert decision.choice.key == "cut3"
    # The fourth is expected to gain less than 2 %.
    assert run(predicted, true, share=0.01).asked == ("cut0", "cut1", "cut2")
    assert run(predicted, true, share=0.01, options={"tolerance": "10 %"}).asked == ("cut0", "cut1")


@pytest.mark.parametrize(("options", "budget", "runs"), [({}, None, 5), ({"most": 7}, None, 7), ({"most": 7}, 3, 3)])
def test_it_stops_at_its_most_and_at_the_budget(options, budget, runs):
    predicted = {f"cut{place}": 0.1 for place in range(10)}
    true = {key: 0.2 for key in predicted}  # noqa: C420 - reads as what it is
    decision = run(predicted, true, options=options, budget=budget)
    assert len(decision.asked) == runs
    assert decision.choice.error == pytest.approx(0.5)
    assert decision.choice.regret == pytest.approx(0.2 / 0.095 - 1)
    assert f"stopped at the most that may be measured, {runs};" in decision.choice.why


def test_a_bound_that_is_not_known_is_not_told():
    """The best measured breaks a limit, which another may keep: how much better that one is has no share."""
    objective = Objective({"latency": 1.0}, limits={"drop_rate": 0.1})
    keys = [f"cut{place}" for place in range(3)]
    foretold = {key: Foretold(key, {"latency": around(0.1, 0.1), "drop_rate": around(0.05, 0.9)}) for key in keys}
    problem = Problem(tuple(cut(at, key=key) for at, key in enumerate(keys)), objective, 2, foretell=lambda _: foretold)
    decision = drive(
        "predict",
        load("predict"),
        problem,
        lambda ask: [Measure(key, of(latency=0.1, drop_rate=0.5)) for key in ask.keys],
    )
    assert decision.choice.regret is None
    assert decision.choice.why == (
        "the best of 2 verified of 3 predicted; stopped at the most that may be measured, 2; "
        "how much better another may be is not known"
    )


def test_what_is_learnt_from_a_measure_moves_the_other_predictions():
    """Everything takes twice as long as predicted; once that is known, nothing else is promising."""
    predicted = {f"cut{place}": 0.1 + 0.02 * place for place in range(10)}
    true = {key: 2 * value for key, value in predicted.items()}
    decision = run(predicted, true, correct=lambda measures: 2.0 if measures else 1.0, share=0.02)
    assert decision.asked == ("cut0", "cut1")
    assert decision.choice.error == pytest.approx(0.25)
    assert "off by 25.0%" in decision.choice.why


def test_noisy_predictions_of_a_real_shape_find_the_best_within_five():
    """Predictions off by 5 %, which their intervals say: the regret stays within 3 %, mostly at 0."""
    regrets = []
    for seed in range(40):
        draw = random.Random(seed)
        line = Line(count=34, slow_edge=0.3)
        true = line.testbed().latency_s
        predicted = {key: value * draw.gauss(1, 0.05) for key, value in true.items()}
        decision = run(predicted, true, share=0.1)
        assert len(decision.asked) <= 5
        regrets.append(true[decision.choice.key] / min(true.values()) - 1)
    assert statistics.quantiles(regrets, n=20)[-1] <= 0.03


def test_a_limit_that_only_another_may_keep_is_worth_a_run():
    objective = Objective({"latency": 1.0}, limits={"drop_rate": 0.1})
    problem = Problem((cut(0), cut(1), cut(2)), objective, options={"least": 1})
    foretold = {
        "cut0": {"latency": point(0.1), "drop_rate": around(0.08, 0.5)},
        "cut1": {"latency": point(0.2), "drop_rate": around(0.12, 0.5)},
        "cut2": {"latency": point(0.1), "drop_rate": point(0.9)},
    }
    best = of(latency=0.15, drop_rate=0.5)
    assert expected_gain(objective, foretold["cut1"], best) > 1e12
    assert expected_gain(objective, foretold["cut2"], best) == 0
    kept = of(latency=0.3, drop_rate=0.0)
    assert expected_gain(objective, foretold["cut0"], kept) == pytest.approx(0.2)
    assert expected_gain(objective, foretold["cut1"], kept) == pytest.approx(0.5 * 0.1)
    assert problem.budget is None


def test_an_expected_gain_is_the_mean_of_the_improvement():
    draw = random.Random(1)
    spread = {"latency": around(1.02, 0.1)}
    deviation = 1.02 * 0.1 / 1.959963984540054
    mean = statistics.fmean(max(0.0, 1.0 - draw.gauss(1.02, deviation)) for _ in range(100_000))
    assert expected_gain(LATENCY, spread, of(latency=1.0)) == pytest.approx(mean, rel=0.02)
    assert expected_gain(LATENCY, of(latency=0.9), of(latency=1.0)) == pytest.approx(0.1)
    assert expected_gain(LATENCY, {"latency": around(2.0, 0.1)}, of(latency=1.0)) == 0


def test_drop_rates_that_are_all_nothing_need_no_more_runs():
    true = {f"cut{place}": 0.1 for place in range(10)}
    decision = run(true, true, objective=Objective({"drop_rate": 1.0}))
    assert len(decision.asked) == 2
    assert (decision.choice.regret, decision.choice.error) == (0.0, 0.0)


def test_what_fails_to_run_is_passed_over():
    line = Line()
    true = line.testbed().latency_s
    problem = line.problem(foretell=foretelling(true, 0.01))
    decision = drive("predict", load("predict"), problem, line.testbed(dead=frozenset({line.best})))
    assert decision.asked[0] == line.best
    assert decision.choice.key == min(set(true) - {line.best}, key=true.__getitem__)
    with pytest.raises(RunError, match="could be measured"):
        drive("predict", load("predict"), problem, line.testbed(dead=frozenset(true)))


def test_without_predictions_it_says_what_it_needs():
    line = Line()
    with pytest.raises(SpecError, match="method predict: it needs profiles"):
        drive("predict", load("predict"), line.problem(), line.testbed())
    some = line.problem(foretell=foretelling({"cut0": 0.1}))
    with pytest.raises(SpecError, match="nothing is predicted of cut1"):
        drive("predict", load("predict"), some, line.testbed())
    other = line.problem(foretell=lambda _: {f"cut{at}": Foretold(f"cut{at}", of(drop_rate=0.0)) for at in range(10)})
    with pytest.raises(SpecError, match="method predict: the objective needs latency"):
        drive("predict", load("predict"), other, line.testbed())


def test_a_cut_that_lets_nothing_through_is_passed_over():
    line = Line()
    true = line.testbed().latency_s

    def testbed(ask):
        stuck = line.best in ask.keys
        return [Measure(line.best, of(drop_rate=1.0))] if stuck else line.testbed()(ask)

    decision = drive("predict", load("predict"), line.problem(foretell=foretelling(true, 0.01)), testbed)
    assert decision.asked[0] == line.best
    assert decision.choice.key == min(set(true) - {line.best}, key=true.__getitem__)
    assert decision.choice.error == 0
