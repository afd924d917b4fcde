from __future__ import annotations

import gc
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from search_problems import LATENCY, Line, of

from slicebed.errors import RunError, SpecError
from slicebed.split.search.contracts import Ask, Choice, Measure, Problem
from slicebed.split.search.session import Session, drive

KEYS = tuple(f"cut{place}" for place in range(10))


def asking(*asks):
    """A method that asks these, keeps what it is told, and chooses the first it was told of."""
    told = []

    def method(problem):
        for ask in asks:
            told.append((yield ask))  # noqa: PERF401 - clearer than a list of yields
        return Choice(next(measure.key for measures in told for measure in measures), "first")

    method.told = told
    return method


def halves(problem):
    """One at a time, into the better half; whatever it asks hangs on what it was told."""
    low, high = 0, len(problem.candidates) - 1
    while low < high:
        middle = (low + high) // 2
        at, beside = yield Ask((f"cut{middle}", f"cut{middle + 1}"))
        low, high = (
            (low, middle) if at.figures["latency"].value <= beside.figures["latency"].value else (middle + 1, high)
        )
    (last,) = yield Ask((f"cut{low}",))
    return Choice(last.key, "halved")


def test_a_session_asks_and_is_fed_in_any_order():
    testbed = Line().testbed()
    session = Session("mine", asking(Ask(KEYS[:3]), Ask((KEYS[7], KEYS[1]))), Line().problem())
    assert session.ask == Ask(KEYS[:3])
    with pytest.raises(ValueError, match="not decided"):
        session.decision  # noqa: B018
    assert session.feed(testbed(session.ask)) == Ask((KEYS[7],))
    assert set(session.measures) == set(KEYS[:3])
    assert session.feed(testbed(session.ask)) is None
    decision = session.decision
    assert (decision.method, decision.choice.key) == ("mine", "cut0")
    assert decision.asked == (*KEYS[:3], KEYS[7])
    assert decision.decision_s > 0
    assert decision.measures["cut7"].figures == of(latency=testbed.latency_s["cut7"], drop_rate=0.0)
    with pytest.raises(ValueError, match="told more"):
        session.feed([])


def test_a_method_is_told_in_the_order_in_which_it_asked():
    method = asking(Ask((KEYS[5], KEYS[2], KEYS[5])), Ask((KEYS[2], KEYS[9], KEYS[5])))
    drive("mine", method, Line().problem(), Line().testbed())
    assert [[measure.key for measure in told] for told in method.told] == [["cut5", "cut2"], ["cut2", "cut9", "cut5"]]


def test_what_is_known_is_not_measured_again_unless_with_other_frames():
    testbed = Line().testbed()
    asks = (Ask(KEYS[:2]), Ask(KEYS[:2]), Ask(KEYS[:2], frames=9), Ask(KEYS[:2], frames=9, paired=True), Ask(KEYS[:1]))
    decision = drive("mine", asking(*asks), Line().problem(), testbed)
    assert testbed.asks == [asks[0], asks[2], asks[3]]
    assert decision.asked == KEYS[:2]
    assert decision.measures["cut0"].frames == 9


def test_what_cannot_be_measured_is_left_out_and_not_tried_again():
    testbed = Line().testbed(dead=frozenset({"cut0", "cut4"}))
    method = asking(Ask(KEYS[:2]), Ask(KEYS[:1]), Ask((KEYS[4],)))
    decision = drive("mine", method, Line().problem(), testbed)
    assert [[measure.key for measure in told] for told in method.told] == [["cut1"], [], []]
    assert [ask.keys for ask in testbed.asks] == [KEYS[:2], (KEYS[4],)]
    assert decision.asked == ("cut0", "cut1", "cut4")


def test_the_budget_counts_each_candidate_once_and_cuts_asks_down():
    testbed = Line().testbed()
    asks = (Ask(KEYS[:2]), Ask(KEYS[:2], frames=5), Ask((KEYS[0], *KEYS[4:8])))
    decision = drive("mine", asking(*asks), Line(budget=4).problem(), testbed)
    assert [ask.keys for ask in testbed.asks] == [KEYS[:2], KEYS[:2], KEYS[4:6]]
    assert decision.asked == (*KEYS[:2], *KEYS[4:6])
    assert decision.stopped_by_budget
    assert decision.choice.why == "first; the budget of 4 left out 2 more that it asked for"


def test_a_method_that_ends_as_the_budget_does_was_not_stopped_by_it():
    line = Line(budget=4)
    decision = drive("mine", asking(Ask(KEYS[:4]), Ask(KEYS[:2])), line.problem(), line.testbed())
    assert (decision.stopped_by_budget, decision.choice.why) == (False, "first")


def test_when_the_budget_is_used_up_the_best_measured_is_chosen():
    line = Line(budget=3)
    decision = drive("mine", asking(*(Ask((key,)) for key in KEYS)), line.problem(), line.testbed())
    assert decision.asked == KEYS[:3]
    assert decision.choice.key == min(KEYS[:3], key=line.testbed().latency_s.__getitem__)
    assert "budget of 3" in decision.choice.why
    assert decision.stopped_by_budget


def test_nothing_measured_is_an_error_of_the_run():
    line = Line(budget=2)
    with pytest.raises(RunError, match="could be measured"):
        drive("mine", asking(Ask(KEYS[:2]), Ask(KEYS[2:])), line.problem(), line.testbed(dead=frozenset(KEYS)))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (asking(Ask(("cut0", "cut99"))), "cut99.*no candidate"),
        (asking("cut0"), "yielded 'cut0'"),
        (asking(Ask(())), "yielded Ask"),
        (asking(Ask("cut0")), "yielded Ask"),
        (asking(Ask(5)), "yielded Ask"),
        (asking(Ask((["cut0"],))), r"asked for \['cut0'\], which is no candidate"),
        (asking(Ask(KEYS[:1], frames=-5)), "asked for -5 frames"),
        (asking(Ask(KEYS[:1], frames=2.5)), "asked for 2.5 frames"),
        (asking(Ask(KEYS[:1], frames="many")), "asked for 'many' frames"),
        (asking(*[Ask(KEYS[:1])] * 102), "100 times in a row for no other candidates"),
        (asking(*[Ask(KEYS[:1], frames=frames) for frames in range(1, 103)]), "100 times in a row"),
        (asking(Ask(KEYS[:1], paired=[])), r"asked for paired=\[\]"),
        (lambda problem: sys.exit(0), "SystemExit: 0"),
        (lambda problem: Choice("cut0", "because"), "no generator"),
        (lambda problem: 1 / 0, "ZeroDivisionError"),
        (asking(), "StopIteration"),
    ],
)
def test_whatever_a_method_does_wrong_names_it(method, said):
    with pytest.raises(SpecError, match=said) as refused:
        drive("mine", method, Line().problem(), Line().testbed())
    assert refused.value.where == "method mine"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "returned None"),
        (Choice("cut3", "guessed"), "not measured"),
        (Choice(["cut0"], "listed"), r"chose \['cut0'\]"),
        (Choice("cut0", None), "because of None"),
        (Choice("cut0", "one\ntwo"), r"because of 'one\\ntwo'"),
        (Choice("cut0", "best", regret="little"), "the regret 'little'"),
        (Choice("cut0", "best", error=[0.1]), r"the error \[0.1\]"),
    ],
)
def test_a_choice_must_have_been_measured_and_say_what_it_is(result, said):
    def method(problem):
        yield Ask(("cut0",))
        return result

    with pytest.raises(SpecError, match=said):
        drive("mine", method, Line().problem(), Line().testbed())


def test_errors_of_a_method_keep_their_words_and_gain_its_name():
    def method(problem):
        yield Ask(("cut0",))
        raise SpecError("it needs more", mend="give more")

    with pytest.raises(SpecError, match="method mine: it needs more; give more"):
        drive("mine", method, Line().problem(), Line().testbed())


def test_a_method_that_leaves_the_program_has_failed():
    def method(problem):
        yield Ask(("cut0",))
        sys.exit(0)

    with pytest.raises(SpecError, match="method mine: it failed: SystemExit: 0"):
        drive("mine", method, Line().problem(), Line().testbed())


def test_ctrl_c_while_a_method_decides_is_no_failure_of_it():
    def method(problem):
        yield Ask(("cut0",))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive("mine", method, Line().problem(), Line().testbed())


def fails_at_the_end(problem):
    try:
        for candidate in problem.candidates:
            yield Ask((candidate.key,))
    finally:
        raise ValueError(problem.budget)


def asks_at_the_end(problem):
    try:
        for candidate in problem.candidates:
            yield Ask((candidate.key,))
    finally:
        yield Ask(KEYS[:1])


def never_ends(problem):
    while True:
        for candidate in problem.candidates:
            try:
                yield Ask((candidate.key,))
            except GeneratorExit:
                continue


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (fails_at_the_end, "ValueError: 2"),
        (asks_at_the_end, "ignored GeneratorExit"),
        (never_ends, "ignored GeneratorExit"),
    ],
)
def test_a_method_that_does_not_end_with_its_budget_is_named_and_leaves_no_trace(method, said):
    """What is left of a generator would tell of itself when it is collected: here that would be a failure."""
    line = Line(budget=2)
    with pytest.raises(SpecError, match=f"method mine: it failed: .*{said}"):
        drive("mine", method, line.problem(), line.testbed())
    gc.collect()


def test_a_method_that_is_refused_ends_without_a_word():
    ended = []

    def method(problem):
        try:
            yield Ask(("cut99",))
        finally:
            ended.append(True)
            raise ValueError

    with pytest.raises(SpecError, match="cut99"):
        drive("mine", method, Line().problem(), Line().testbed())
    gc.collect()
    assert ended


def test_candidates_must_be_there_once():
    candidates = Line().problem().candidates
    for wrong, said in (((), "no candidates"), (candidates + candidates[3:5], "twice: cut3, cut4")):
        with pytest.raises(SpecError, match=said):
            Session("mine", halves, Problem(wrong, LATENCY))


def test_measures_of_what_was_not_asked_are_a_bug():
    session = Session("mine", halves, Line().problem())
    with pytest.raises(ValueError, match="cut9, for which it did not ask"):
        session.feed([Measure("cut9", of(latency=1.0))])


@pytest.mark.parametrize("after", range(5))
def test_a_session_goes_on_where_another_stopped(after):
    line = Line()
    testbed, told = line.testbed(), []
    session = Session("halves", halves, line.problem())
    while (ask := session.ask) is not None:
        told.append((ask, testbed(ask)))
        session.feed(told[-1][1])
    assert len(told) >= 3
    assert all(one[0] != other[0] for one, other in pairwise(told))
    again = Session("halves", halves, line.problem())
    for ask, measures in told[:after]:
        assert again.ask == ask
        again.feed(measures)
    while again.ask is not None:
        again.feed(testbed(again.ask))
    assert replace(again.decision, decision_s=0) == replace(session.decision, decision_s=0)
