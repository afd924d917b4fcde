"""Every method but predict and genetic, on problems whose answer can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from search_problems import LATENCY, MBIT, Chain, Line, Testbed, cut, of

from slicebed.errors import RunError, SpecError
from slicebed.spec.objective import Objective
from slicebed.split.search.contracts import Boundary, Candidate, Measure, Problem
from slicebed.split.search.estimate import estimate
from slicebed.split.search.registry import load
from slicebed.split.search.session import drive
from slicebed.split.search.walk import transfer_s, walks

SLIMS = ("comm-slim", "hybrid")


def run(name, problem, testbed):
    return drive(name, load(name), problem, testbed)


def keys(*places):
    return tuple(f"cut{place}" for place in places)


def test_a_transfer_takes_half_the_round_trip_and_its_bytes_on_every_link():
    both = Candidate("one", boundaries=(Boundary("a", "b", 1_000_000, 8 * MBIT, 0.1), Boundary("b", "c", 5, 0, 0.02)))
    assert transfer_s(both) == pytest.approx(0.05 + 1.0 + 0.01)
    assert transfer_s(Candidate("whole")) == 0


def test_candidates_are_walked_from_the_input_for_each_codec_and_setting():
    one = cut(2), cut(0), cut(1, codec="lossless", key="l1"), cut(0, codec="lossless", key="l0")
    two = cut(0, knobs={"edge.cores": 1.0}, key="k0")
    assert [[c.key for c in walk] for walk in walks((*one, two))] == [["cut0", "cut2"], ["l0", "l1"], ["k0"]]


def test_an_estimate_adds_up_and_the_slowest_stage_sets_the_pace():
    candidate = cut(0, 1_000_000, rate=80 * MBIT, rtt_s=0.02)
    found = {metric: figure.value for metric, figure in estimate(candidate, (0.05, 0.02), 40.0).items()}
    assert found["latency"] == pytest.approx(0.05 + 0.02 + 0.01 + 0.1)
    assert found["throughput"] == pytest.approx(10.0)
    assert found["drop_rate"] == pytest.approx(0.75)
    assert found["bytes"] == 1_000_000
    unpaced = estimate(candidate, (0.2, 0.02), 0.0)
    assert (unpaced["throughput"].value, unpaced["drop_rate"].value) == (pytest.approx(5.0), 0.0)


def test_strongman_measures_all_and_is_right():
    line = Line()
    decision = run("strongman", line.problem(), line.testbed())
    assert (decision.asked, decision.choice.key) == (keys(*range(10)), line.best)
    assert "all 10" in decision.choice.why


def test_strongman_within_a_budget_takes_the_first():
    line = Line(budget=3)
    assert run("strongman", line.problem(), line.testbed()).asked == keys(0, 1, 2)


def test_comm_slim_measures_what_is_cheap_to_transfer():
    """Half the round trip is 10 ms; 400 kB at 100 Mbit/s take 32 ms: places 4 and on."""
    line = Line()
    slim = run("comm-slim", line.problem(options={"latency": "42 ms"}), line.testbed())
    assert slim.asked == keys(4, 5, 6, 7, 8, 9)
    assert slim.choice.why == "the best of 6 measured; 6 of 10 have latency of up to 42 ms"
    numbers = run("comm-slim", line.problem(options={"latency": 0.2, "bytes": 1e6}), line.testbed())
    assert numbers.choice.why.endswith("have latency of up to 200 ms and bytes of up to 1 MB")
    assert run("comm-slim", line.problem(options={"latency": 0.042, "bytes": "200 kB"}), line.testbed()).asked == keys(
        6, 7, 8, 9
    )


def test_comm_slim_goes_by_what_the_codec_sends():
    """1 MB at 80 Mbit/s take 100 ms, as bytes 25 ms."""
    crossing = [(place, size, ratio) for place, size in enumerate((10**6, 4 * 10**5)) for ratio in (1.0, 0.25)]
    candidates = tuple(
        replace(
            cut(place, key=f"{place}/{ratio}"),
            boundaries=(Boundary("edge", "cloud", size, 80 * MBIT, 0.0, ratio),),
        )
        for place, size, ratio in crossing
    )
    testbed = Testbed({candidate.key: 0.1 for candidate in candidates})
    for options in ({"latency": "30 ms"}, {"bytes": "300 kB"}):
        asked = run("comm-slim", Problem(candidates, LATENCY, options=options), testbed).asked
        assert asked == ("0/0.25", "1/0.25")


def test_comm_slim_without_a_threshold_keeps_the_cheaper_half():
    line = Line()
    assert run("comm-slim", line.problem(), line.testbed()).asked == keys(4, 5, 6, 7, 8, 9)


@pytest.mark.parametrize("method", SLIMS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latency": "10 ms"}, "no candidate.*fastest transfer takes 18 ms"),
        ({"latency": "10 kB"}, "option latency: 10 kB is refused"),
        ({"latency": -1.0}, "option latency: -1.0 is refused"),
        ({"speed": 1.0}, "no option speed.*allowed: bytes, latency"),
    ],
)
def test_a_threshold_that_leaves_nothing_or_cannot_be_read_is_refused(method, options, said):
    with pytest.raises(SpecError, match=said):
        run(method, Line().problem(options=options), Line().testbed())


def test_early_stop_walks_until_the_edge_is_slower_than_the_cloud():
    """Edge 10 ms a place, cloud 2 ms a place left: 10 < 20 at place 0, 20 > 18 at place 1."""
    line = Line()
    testbed = line.testbed()
    decision = run("early-stop", line.problem(), testbed)
    assert [ask.keys for ask in testbed.asks] == [keys(0), keys(1)]
    assert decision.choice.key == "cut0"


def test_early_stop_tries_every_place_of_several_split_points_that_is_not_known_to_be_too_much():
    """1-5 leaves four operators to the edge (2.8 s) and five to the cloud (2.5 s): 1-6 to 1-9 have more on the edge.

    3-5 is too much for the client (3 s): so is all from 4-5 on.
    """
    testbed = Chain().testbed()
    decision = run("early-stop", Chain().problem(), testbed)
    assert " ".join(decision.asked) == "1-2 1-3 1-4 1-5 2-3 2-4 2-5 2-6 3-4 3-5"
    assert decision.choice.key == "1-2"


def test_early_stop_gives_a_slow_client_little_and_a_slow_edge_little():
    assert run("early-stop", Chain((9.0, 0.7, 0.5)).problem(), Chain((9.0, 0.7, 0.5)).testbed()).asked == ("1-2",)
    slow_edge = Chain((0.1, 9.0, 0.5))
    asked = run("early-stop", slow_edge.problem(), slow_edge.testbed()).asked
    assert asked == tuple(f"{first}-{first + 1}" for first in range(1, 9))


def test_early_stop_holds_a_slow_host_against_no_cut_that_leaves_the_last_one_more():
    """In 1-9 the client (1 s) is slower than the cloud (0.5 s); in 2-3, with twice as much, it is not (2 s, 3.5 s)."""
    quick_edge = Chain((1.0, 0.01, 0.5))
    asked = run("early-stop", quick_edge.problem(), quick_edge.testbed()).asked
    assert " ".join(asked) == "1-2 1-3 1-4 1-5 1-6 1-7 1-8 1-9 2-3 2-4 2-5 2-6 2-7 3-4 3-5"


def test_early_stop_with_a_weak_last_host_leaves_nothing_out():
    """The cloud has at least one operator of 90 s, the others never as much: all is tried."""
    weak = Chain((1.0, 0.7, 90.0))
    assert len(run("early-stop", weak.problem(), weak.testbed()).asked) == 36


def test_hybrid_goes_on_from_what_is_cheap_to_transfer_to_what_the_edge_can_do():
    """Of three slices too: only cuts whose second split point is behind the fourth operator cross fast enough."""
    chain = Chain()
    links = {
        each.key: (Boundary("edge", "cloud", 1000 if each.places[1] > 4 else 10**6, 8000),)
        for each in chain.problem().candidates
    }
    problem = chain.problem(options={"latency": "2 s"})
    problem = replace(
        problem, candidates=tuple(replace(each, boundaries=links[each.key]) for each in problem.candidates)
    )
    asked = run("hybrid", problem, chain.testbed()).asked
    assert " ".join(asked) == "1-5 2-5 2-6 3-5"


def test_early_stop_on_a_fast_edge_walks_to_the_end():
    line = Line(slow_edge=0.01)
    assert run("early-stop", line.problem(), line.testbed()).asked == keys(*range(10))


def test_early_stop_passes_what_cannot_be_measured_and_what_is_not_cut():
    line = Line()
    whole = Candidate("whole", hosts=("cloud",), placement="cloud")
    problem = replace(line.problem(), candidates=(*line.problem().candidates, whole))
    testbed = line.testbed(dead=frozenset({"cut0"}))
    testbed.latency_s["whole"] = 1.0
    decision = run("early-stop", problem, testbed)
    assert [ask.keys for ask in testbed.asks] == [("cut0", "whole"), keys(1)]
    assert decision.choice.key == "cut1"


def test_early_stop_needs_the_hosts_times():
    with pytest.raises(SpecError, match="method early-stop: cut0: of 2 slices, 0 have"):
        run("early-stop", Line().problem(), Testbed(Line().testbed().latency_s))
    with pytest.raises(SpecError, match="no option latency"):
        run("early-stop", Line().problem(options={"latency": 1.0}), Line().testbed())


def test_hybrid_is_early_stop_on_what_comm_slim_leaves():
    """The first that is cheap to transfer is place 4, where the edge (50 ms) is slower than the cloud (12 ms)."""
    line = Line()
    decision = run("hybrid", line.problem(options={"latency": "42 ms"}), line.testbed())
    assert (decision.asked, decision.choice.key) == (keys(4), "cut4")
    fast = Line(slow_edge=0.2)
    assert run("hybrid", fast.problem(options={"latency": "42 ms"}), fast.testbed()).asked == keys(4, 5)


@pytest.mark.parametrize("cuts", [34, 106])
def test_hybrid_needs_a_tenth_of_strongmans_runs_where_the_edge_is_no_match(cuts):
    line = Line(count=cuts)
    needed = {name: len(run(name, line.problem(), line.testbed()).asked) for name in ("strongman", "hybrid")}
    assert needed["hybrid"] * 10 <= needed["strongman"]


def test_halving_measures_fewer_on_more_frames():
    line = Line()
    testbed = line.testbed()
    decision = run("halving", line.problem(), testbed)
    assert [(len(ask.keys), ask.frames, ask.paired) for ask in testbed.asks] == [
        (10, 8, True),
        (5, 16, True),
        (3, 0, True),
    ]
    assert decision.choice.key == line.best


def test_halving_spreads_a_budget_over_the_model_and_takes_its_options():
    line = Line(budget=5)
    testbed = line.testbed()
    run("halving", line.problem(options={"frames": 5, "eta": 3, "last": 1}), testbed)
    assert testbed.asks[0].keys == keys(1, 3, 5, 7, 9)
    assert [(len(ask.keys), ask.frames) for ask in testbed.asks] == [(5, 5), (2, 15), (1, 0)]


def test_halving_goes_on_with_those_that_run_and_fails_without_any():
    line = Line()
    dead = frozenset(keys(*range(2, 10)))
    assert run("halving", line.problem(), line.testbed(dead=dead)).choice.key == "cut0"
    with pytest.raises(RunError, match="could be measured"):
        run("halving", line.problem(), line.testbed(dead=dead | set(keys(0, 1))))


def test_neurosurgeon_fits_lines_and_verifies_the_best():
    """The hosts' times are straight lines over their operations here, so three cuts are enough to be right."""
    line = Line(slow_edge=0.3)
    decision = run("neurosurgeon", line.problem(), line.testbed())
    assert decision.asked == (*keys(0, 4, 9), line.best)
    assert decision.choice.key == line.best
    assert decision.choice.error == pytest.approx(0, abs=1e-9)


def test_neurosurgeon_goes_by_operations_and_not_by_places():
    """Nearly all of the work is in one operator: cuts before it are alike, and so are those behind it."""
    line = Line()
    heavy = [1, 1, 1, 1, 1, 400, 1, 1, 1, 1]
    flops = {f"cut{place}": (sum(heavy[: place + 1]), sum(heavy[place + 1 :])) for place in range(10)}
    seconds = {key: (first * 1e-3, 0.2 + second * 1e-4) for key, (first, second) in flops.items()}
    candidates = tuple(
        replace(each, flops=flops[each.key], boundaries=(Boundary("edge", "cloud", 0),))
        for each in line.problem().candidates
    )
    true = {key: sum(each) for key, each in seconds.items()}
    decision = run("neurosurgeon", replace(line.problem(), candidates=candidates), Testbed(true, seconds))
    assert decision.choice.key == min(true, key=true.__getitem__)
    assert decision.choice.error == pytest.approx(0, abs=1e-9)


def test_neurosurgeon_has_a_line_for_each_of_several_slices():
    chain = Chain((1.0, 0.3, 0.5))
    decision = run("neurosurgeon", chain.problem(), chain.testbed())
    assert (decision.asked, decision.choice.key) == (("1-2", "3-7", "8-9", "1-9"), "1-9")
    assert decision.choice.error == pytest.approx(0, abs=1e-9)


def test_neurosurgeon_needs_the_operations_of_slices():
    with pytest.raises(SpecError, match="method neurosurgeon: cut3 has no FLOPs"):
        run("neurosurgeon", Problem((cut(3),), LATENCY), Testbed({"cut3": 0.1}))


def test_neurosurgeon_fits_each_placement_for_itself_and_codecs_together():
    line = Line(slow_edge=0.3)
    slow = [replace(c, key=f"slow {c.key}", placement="slow") for c in line.problem().candidates]
    coded = [replace(c, key=f"coded {c.key}", codec="lossless") for c in line.problem().candidates]
    testbed = line.testbed()
    for key in list(testbed.latency_s):
        testbed.latency_s |= {f"slow {key}": 9.0, f"coded {key}": testbed.latency_s[key] + 1}
        testbed.compute_s |= {f"slow {key}": (4.0, 5.0), f"coded {key}": testbed.compute_s[key]}
    problem = replace(line.problem(options={"fit": 2}), candidates=(*line.problem().candidates, *slow, *coded))
    decision = run("neurosurgeon", problem, testbed)
    assert decision.asked == (*keys(0, 9), "slow cut0", "slow cut9", "coded " + line.best)
    assert decision.choice.key == min(keys(0, 9), key=testbed.latency_s.__getitem__)


def test_neurosurgeon_does_with_what_could_be_measured():
    line = Line(slow_edge=0.3)
    decision = run("neurosurgeon", line.problem(), line.testbed(dead=frozenset(keys(4, 9, line.best[3:]))))
    assert decision.choice.key == "cut0"
    with pytest.raises(RunError, match="regressions"):
        run("neurosurgeon", line.problem(), line.testbed(dead=frozenset(keys(0, 4, 9))))


def test_scission_trusts_benchmarks_and_measures_only_the_best():
    line = Line(slow_edge=0.3)
    decision = run("scission", line.problem(profiled=True), line.testbed())
    assert (decision.asked, decision.choice.key) == ((line.best,), line.best)
    assert decision.choice.error == pytest.approx(0, abs=1e-9)


def test_scission_weighs_what_was_asked_for():
    line = Line(slow_edge=0.3)
    fewest = replace(line.problem(profiled=True, rate_per_s=20.0), objective=Objective({"bytes": 1.0}))
    with pytest.raises(SpecError, match="method scission: the objective needs bytes"):
        run("scission", fewest, line.testbed())
    energy = replace(fewest, objective=Objective({"energy": 1.0}))
    with pytest.raises(SpecError, match="method scission: the objective needs energy"):
        run("scission", energy, line.testbed())
    drops = replace(fewest, objective=Objective({"latency": 1.0}, limits={"drop_rate": 0.0}))
    assert run("scission", drops, line.testbed()).choice.key in keys(5, 6, 7, 8, 9)


def test_scission_needs_profiles():
    with pytest.raises(SpecError, match="method scission: cut0 has no times"):
        run("scission", Line().problem(), Line().testbed())


@pytest.mark.parametrize("method", ["strongman", "comm-slim", "early-stop", "hybrid", "halving", "neurosurgeon"])
def test_a_cut_that_lets_nothing_through_is_passed_over(method):
    """Of the first and the middle cut, every frame is dropped: they have no latency and no times of computing."""
    line = Line(slow_edge=0.01)
    lost = {"cut0", "cut4"}

    def testbed(ask):
        lacking = (Measure(key, of(drop_rate=1.0, throughput=0.0)) for key in ask.keys if key in lost)
        return [*lacking, *line.testbed(dead=frozenset(lost))(ask)]

    assert run(method, line.problem(), testbed).choice.key == line.best


@pytest.mark.parametrize("method", ["strongman", "comm-slim", "early-stop", "hybrid", "halving", "neurosurgeon"])
def test_one_candidate_is_enough_for_any_method(method):
    problem = Problem((cut(0, flops=(5, 1)),), LATENCY)
    decision = run(method, problem, Testbed({"cut0": 0.1}, {"cut0": (0.05, 0.01)}))
    assert (decision.asked, decision.choice.key) == (("cut0",), "cut0")
