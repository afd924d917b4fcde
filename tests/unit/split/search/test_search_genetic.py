from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from benchmarks.search.genetic import EVALUATIONS, RATIO, searches, summary, verdicts
from benchmarks.search.space import OBJECTIVES, drawn
from search_problems import LATENCY, Line, Testbed, cut

from slicebed.errors import RunError, SpecError
from slicebed.split.search.contracts import Problem
from slicebed.split.search.grid import Grid
from slicebed.split.search.registry import load
from slicebed.split.search.session import drive


def run(problem, measure):
    return drive("genetic", load("genetic"), problem, measure)


def full(places=5, codecs=("raw", "lossless"), cores=(1.0, 2.0, 4.0)):
    return [
        cut(place, 1000 - 100 * place, key=f"{place}/{codec}/{count:g}", codec=codec, knobs={"edge.cores": count})
        for place, codec, count in product(range(places), codecs, cores)
    ]


def test_a_grid_numbers_what_candidates_differ_in():
    grid = Grid(full())
    assert grid.points["3/lossless/4"] == (0, 3, 1, 2, 0)
    assert grid.ordered == (False, True, False, True, False)
    assert grid.values == [[0], [0, 1, 2, 3, 4], [0, 1], [0, 1, 2], [0]]
    assert all(grid.at(point) == key for key, point in grid.points.items())


def test_a_grid_finds_what_is_nearest_where_nothing_is():
    grid = Grid([candidate for candidate in full() if candidate.key != "2/raw/2"])
    assert grid.at((0, 2, 0, 1, 0)) in {"1/raw/2", "3/raw/2"}


def test_steps_go_up_and_down_and_to_every_other_name():
    assert set(Grid(full()).steps("2/raw/1")) == {"1/raw/1", "3/raw/1", "2/lossless/1", "2/raw/2"}


def test_steps_go_on_to_where_fewer_bytes_cross():
    crossing = (10, 90, 50, 80, 40)
    assert list(Grid([cut(place, crossing[place]) for place in range(5)]).steps("cut2")) == [
        "cut1",
        "cut0",
        "cut3",
        "cut4",
    ]


def test_lines_hold_all_that_one_coordinate_can_be_fewest_bytes_first():
    lines = list(Grid(full(cores=(1.0,))).lines("2/raw/1"))
    assert lines == ["4/raw/1", "3/raw/1", "2/lossless/1", "1/raw/1", "0/raw/1"]


def test_settings_leave_the_way_of_cutting_as_it_is():
    assert set(Grid(full()).settings("2/raw/1")) == {"2/lossless/1", "2/raw/2"}


def test_cuts_in_several_places_and_placements_of_any_depth_have_points():
    pairs = [
        cut(first, key=f"{first}-{second}", cut=("p", "q"), places=(first, second), hosts=("a", "b", "c"))
        for first, second in product(range(4), repeat=2)
        if first < second
    ]
    grid = Grid(
        [
            *pairs,
            cut(1),
            replace(cut(0), key="whole", cut=(), places=(), hosts=("c",), knobs={"c.governor": "powersave"}),
        ]
    )
    assert len(set(grid.points.values())) == len(pairs) + 2
    assert {"0-2", "1-3"} <= set(grid.steps("0-3"))
    assert "cut1" in set(grid.steps("1-2"))
    assert grid.niches(["0-1", "1-2", "whole", "cut1"]) == ["0-1", "whole", "cut1"]
    assert grid.ways(["0-1", "1-2", "whole", "cut1", "1-2"]) == ["0-1", "1-2", "whole", "cut1"]


def test_candidates_that_differ_in_nothing_else_are_told_apart():
    twins = [replace(cut(0), key="one"), replace(cut(0), key="other")]
    grid = Grid(twins)
    assert sorted(grid.at(point) for point in grid.points.values()) == ["one", "other"]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", [500, 501, 502, 503, 504, 505, 1050, 1056])
def test_it_comes_within_two_percent_of_the_exhaustive_optimum(objective, seed):
    space = drawn(seed, OBJECTIVES[objective])
    decision = run(space.problem, space.measure)
    assert len(space.true) == 5040
    assert len(decision.asked) == EVALUATIONS
    assert space.worth(decision.choice.key) <= RATIO * space.best


def test_the_same_seed_searches_the_same_way():
    space = drawn(3, OBJECTIVES["latency"])
    once, again = (run(space.problem, space.measure) for _ in range(2))
    other = run(replace(space.problem, seed=4), space.measure)
    assert once.asked == again.asked != other.asked


@pytest.mark.parametrize(
    ("options", "budget", "most"),
    [({"evaluations": 60}, None, 60), ({}, 10, 10), ({"evaluations": 60, "breeding": "100 %"}, 40, 40)],
)
def test_it_keeps_to_its_evaluations_and_to_the_budget(options, budget, most):
    space = drawn(1, OBJECTIVES["latency"])
    decision = run(replace(space.problem, options=options, budget=budget), space.measure)
    assert len(decision.asked) <= most
    assert decision.choice.key == min(decision.asked, key=space.worth)
    assert "budget" not in decision.choice.why


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_in_a_small_space_it_looks_at_all_and_ends(count):
    line = Line(count=count)
    decision = run(line.problem(options={"population": 4}), line.testbed())
    assert decision.choice.key == line.best


def test_it_does_with_what_can_be_measured():
    candidates = full()
    true = {candidate.key: 1.0 + at for at, candidate in enumerate(candidates)}
    dead = frozenset(list(true)[:6])
    decision = run(Problem(tuple(candidates), LATENCY), Testbed(true, dead=dead))
    assert decision.choice.key == list(true)[6]
    with pytest.raises(RunError, match="could be measured"):
        run(Problem(tuple(candidates), LATENCY), Testbed(true, dead=frozenset(true)))


@pytest.mark.parametrize("options", [{"evaluations": 0.0}, {"population": 2.5}, {"climb": 1.0}, {"breeding": "5 ms"}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(SpecError, match=f"option.*{next(iter(options))}"):
        run(replace(Line().problem(), options=options), Line().testbed())


def test_the_benchmark_scores_against_the_best_there_is():
    said = []
    rows = searches(1, said.append)
    assert {row.noise for row in rows} == {0.0, 0.03}
    assert all(row.ratio >= 1 and row.by_chance >= 1 and row.evaluations <= EVALUATIONS for row in rows)
    assert [verdict.said for verdict in verdicts(rows)] == ["met", "met"]
    assert len(summary(rows).splitlines()) == 2 + len(rows) == 2 + len(said)
