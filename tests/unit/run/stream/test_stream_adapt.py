"""--adapt takes the faster cut when it is clearly faster for a while, and noise alone never moves it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebed.run.stream.adapt import (
    IN_A_ROW,
    REST_S,
    Candidate,
    LinkState,
    Measured,
    Verdict,
    changed,
    decide,
    predict_s,
)

EARLY = Candidate("early", (400_000,), (10, 90))
LATE = Candidate("late", (40_000,), (90, 10))
BOTH = {"early": EARLY, "late": LATE}
FAST, SLOW = 1_000_000_000, 10_000_000


def measured(rate, client_s=0.010, cloud_s=0.009):
    return Measured((LinkState(0.010, rate),), (client_s, cloud_s))


def evaluate(states, current="early", every_s=2.0):
    """Carry the decisions out; give the switches as (time, cut)."""
    patience, switches, at_s = changed(0.0), [], 0.0
    for state in states:
        at_s += every_s
        decision, patience = decide(BOTH, current, state, patience, at_s)
        if decision.verdict is Verdict.SWITCH:
            current, patience = decision.cut, changed(at_s)
            switches.append((at_s, current))
    return switches


def test_a_prediction_is_compute_and_transfer_and_way():
    state = Measured((LinkState(0.010, 8_000_000, ratio=0.5),), (0.010, 0.009))
    assert predict_s(EARLY, EARLY, state) == pytest.approx(0.010 + 0.009 + 0.005 + 0.2)
    # The client is nine times as long at work on 90 of what it does 10 of now, the cloud a ninth.
    assert predict_s(LATE, EARLY, state) == pytest.approx(0.090 + 0.001 + 0.005 + 0.02)


def test_slices_on_one_host_have_no_way_between_them():
    state = Measured((None,), (0.010, 0.009))
    assert predict_s(LATE, EARLY, state) == pytest.approx(0.091)


def test_a_slice_without_work_tells_no_speed():
    idle = Candidate("idle", (10,), (0, 100))
    state = Measured((LinkState(0.0, 0),), (0.001, 0.010))
    assert predict_s(idle, idle, state) == pytest.approx(0.010)
    assert predict_s(LATE, idle, state) == pytest.approx(0.010)


def test_a_slow_link_moves_the_cut_once_it_was_slow_for_a_while():
    switches = evaluate([measured(FAST)] * 10 + [measured(SLOW)] * 10)
    assert switches == [(2.0 * (10 + IN_A_ROW), "late")]


def test_there_is_no_change_soon_after_another():
    states = [measured(SLOW)] * 20
    assert evaluate(states, every_s=0.5) == [(REST_S, "late")]


def test_one_bad_moment_changes_nothing():
    assert evaluate(([measured(FAST)] * 3 + [measured(SLOW)] * (IN_A_ROW - 1)) * 10) == []


def test_a_decision_says_why():
    decision, _ = decide(BOTH, "early", measured(SLOW), changed(0.0), 1.0)
    assert decision.verdict is Verdict.WAIT
    assert decision.cut == "late"
    assert "late is predicted" in decision.reason
    assert decision.predicted_ms["early"] > decision.predicted_ms["late"]


def test_what_a_cut_took_when_it_ran_counts_more_than_its_work():
    """Work that predicts wrongly costs two changes, not one every ten seconds."""
    takes = {"early": (0.010, 0.010), "late": (0.100, 0.010)}
    current, patience, at_s, switches = "early", changed(0.0), 0.0, []
    candidates = {"early": Candidate("early", (100,), (50, 50)), "late": Candidate("late", (100,), (20, 20))}
    for _ in range(60):
        at_s += 2.0
        state = Measured((LinkState(0.001, FAST),), takes[current])
        decision, patience = decide(candidates, current, state, patience, at_s)
        if decision.verdict is Verdict.SWITCH:
            current, patience = decision.cut, changed(at_s, patience)
            switches.append(current)
    assert switches == ["late", "early"]


@settings(max_examples=300)
@given(
    crossing=st.floats(0.9, 1.1),
    noise=st.lists(st.tuples(st.floats(0.9, 1.1), st.floats(0.9, 1.1)), min_size=1, max_size=80),
)
def test_noise_around_a_crossing_never_makes_it_flap(crossing, noise):
    """Whatever noise of 10 % does to two predictions that are about equal, the cut changes once at most."""
    flops = {"here": 100, "there": 100}
    current, patience, at_s, switches = "here", changed(0.0), 0.0, 0
    for mine, other in noise:
        at_s += 2.0
        true = {"here": 1.0 * mine, "there": crossing * other}
        # A candidate whose work takes as long as the noise says.
        candidates = {name: Candidate(name, (), (round(1e6 * true[name] * flops[name]),)) for name in true}
        state = Measured((), (true[current],))
        decision, patience = decide(candidates, current, state, patience, at_s)
        if decision.verdict is Verdict.SWITCH:
            current, patience, switches = decision.cut, changed(at_s), switches + 1
    assert switches <= 1
