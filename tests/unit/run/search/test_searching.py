"""A search over simulated hosts: killed at every cell it goes on there, and its tables are those of one undisturbed."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace

import pytest
from searches import LATENCY, REPOSITORY, Killed, SimulatedHosts, make_spaces

from slicebed.errors import ProvisionError, RunError, SpecError, VerdictError
from slicebed.run.progress import Progress
from slicebed.run.search.crew import ATTEMPTS, SiteLostError
from slicebed.run.search.foresight import Foresight
from slicebed.run.search.searching import Searching, Settings
from slicebed.run.store import create_campaign, find_unfinished
from slicebed.split.search import registry
from slicebed.split.search.contracts import Ask, Choice, Figure, Foretold
from slicebed.split.search.objective import best_of

SETTINGS = Settings(LATENCY, at_least=1, at_most=3, until=0.05, order_seed=1)
METHODS = ("strongman", "hybrid", "halving")
WINDOWS = ("started", "measured", "whole", "named")


def no_profiles(site, space):
    raise AssertionError(space.id)


def methods(*names):
    return {name: registry.load(name) for name in names}


def search(campaign, spaces, workers, names=METHODS, foresee=no_profiles):
    chosen = names if isinstance(names, dict) else methods(*names)
    Searching(campaign, spaces, chosen, SETTINGS, Progress(), foresee).run(workers)
    campaign.complete()


def tables(campaign):
    found = {}
    for name in ("cells", "candidates", "decisions"):
        with (campaign.folder / "tables" / f"{name}.csv").open() as file:
            found[name] = [{k: v for k, v in row.items() if k != "decision_s"} for row in csv.DictReader(file)]
    return found


@pytest.fixture
def small(tmp_path):
    _, spaces = make_spaces(tmp_path)
    return spaces, lambda: create_campaign(tmp_path / "results", "small", plan(spaces)), tmp_path / "results"


def plan(spaces):
    return {"kind": "search", "experiment": "small", "problems": [space.id for space in spaces]}


@pytest.fixture
def undisturbed(small):
    spaces, create, _ = small
    campaign = create()
    hosts = SimulatedHosts(campaign, spaces)
    search(campaign, spaces, [hosts])
    return tables(campaign), len(hosts.measured)


def test_methods_share_the_cells_and_each_counts_what_it_asked_for(undisturbed):
    found, measured = undisturbed
    assert measured == len(found["cells"]) == len({row["cell"] for row in found["cells"]})
    by_method = {row["method"]: row for row in found["decisions"]}
    assert set(by_method) == set(METHODS)
    strongman = by_method["strongman"]
    assert strongman["chosen"] == "split:op5"
    assert int(strongman["candidates_measured"]) == 9
    assert int(by_method["hybrid"]["runs"]) <= int(strongman["runs"])
    assert sum(int(row["runs"]) for row in found["decisions"]) > measured
    assert float(strongman["testbed_s"]) == 2.5 * int(strongman["runs"])
    assert float(strongman["regret_measured"]) == 0
    assert all(row["measured"] == "1" for row in found["candidates"])


def test_repeats_end_when_the_interval_is_narrow_or_at_the_limit(undisturbed):
    found, _ = undisturbed
    repeats = {}
    for row in found["cells"]:
        if row["captured"] == "12":
            repeats.setdefault(row["cell"].rpartition("/")[0], []).append(int(row["repeat"]))
    assert {len(each) for each in repeats.values()} <= {1, 2, 3}
    assert all(each == list(range(1, len(each) + 1)) for each in repeats.values())
    assert len({len(each) for each in repeats.values()}) > 1


@pytest.mark.parametrize("window", WINDOWS)
def test_a_search_that_is_killed_at_any_cell_goes_on_there(small, undisturbed, window):
    """Killed at its first cell, its second, and so on, each time in this window."""
    spaces, create, results = small
    expected, measured = undisturbed
    campaign = create()
    done = {}
    for attempt in itertools.count():
        assert attempt <= measured + 1, "it does not come to its end"
        hosts = SimulatedHosts(campaign, spaces, kill_at=(window, 2))
        try:
            search(campaign, spaces, [hosts])
        except Killed:
            with find_unfinished(results, "small", plan(spaces)).taken() as campaign:
                pass
            runs = {path.parent.name: path.stat().st_mtime_ns for path in campaign.folder.glob("*_r?*/manifest.json")}
            assert done.items() <= runs.items(), "a finished cell was lost or repeated"
            done = runs
        else:
            break
    assert attempt >= measured // 2
    assert tables(campaign) == expected
    with pytest.raises(SpecError, match="no unfinished campaign"):
        find_unfinished(results, "small", plan(spaces))


def test_two_sites_share_one_queue(small, undisturbed):
    spaces, create, _ = small
    campaign = create()
    sites = [SimulatedHosts(campaign, spaces, site) for site in ("left", "right")]
    search(campaign, spaces, sites)
    rows = tables(campaign)["cells"]
    assert [row["cell"] for row in rows] == [row["cell"] for row in undisturbed[0]["cells"]]
    assert not set(sites[0].measured) & set(sites[1].measured)


def test_a_site_whose_hosts_die_gives_its_cell_back(small, undisturbed):
    spaces, create, _ = small
    campaign = create()

    class Dying(SimulatedHosts):
        def mend(self):
            raise SiteLostError("unreachable", where="host edge")

    dying = Dying(campaign, spaces, "left", fail=lambda *_: RunError("gone", where="host edge"))
    search(campaign, spaces, [dying, SimulatedHosts(campaign, spaces, "right")])
    assert {row["site"] for row in tables(campaign)["cells"]} == {"right"}
    assert len(dying.measured) <= 1
    assert [row["cell"] for row in tables(campaign)["cells"]] == [row["cell"] for row in undisturbed[0]["cells"]]


def profiled_on(asked, errors):
    """Profiles that fail on some sites; `asked` is told where they were wanted."""

    def foresee(site, space):
        asked.append(site)
        if site in errors:
            raise errors[site]
        return Foresight(space.candidates, lambda _: {}, 1.0)

    return foresee


@registry.with_profiles
def wants_profiles(problem):
    return (yield from choosy(problem))


@pytest.mark.parametrize(
    ("error", "left"),
    [(SiteLostError("dead"), {"right"}), (RunError("no memory"), {"left", "right"}), (VerdictError("slow"), None)],
)
def test_profiles_that_cannot_be_made_on_one_site_are_made_on_another(small, error, left):
    spaces, create, _ = small
    campaign = create()
    hosts = [SimulatedHosts(campaign, spaces, site) for site in ("left", "right")]
    asked = []
    chosen = {"wants_profiles": wants_profiles, **methods("strongman")}
    search(campaign, spaces, hosts, chosen, profiled_on(asked, {"left": error}))
    assert asked == ["left", "right"]
    assert {row["method"] for row in tables(campaign)["decisions"]} == set(chosen)
    assert {cell["site"] for cell in tables(campaign)["cells"]} == (left or {"left", "right"})
    (failed,) = [line for line in campaign.events() if line["event"] == "profiling_failed"]
    assert (failed["site"], failed["error"]) == ("left", error.what)


@pytest.mark.parametrize("error", [RunError("no memory"), VerdictError("slow"), ProvisionError("refused")])
def test_profiles_that_cannot_be_made_anywhere_are_tried_as_often_as_a_cell_and_hinder_no_other_method(small, error):
    spaces, create, _ = small
    campaign = create()
    asked = []
    chosen = {"wants_profiles": wants_profiles, **methods("strongman")}
    with pytest.raises(type(error), match=error.what):
        search(campaign, spaces, [SimulatedHosts(campaign, spaces)], chosen, profiled_on(asked, {"lab": error}))
    assert len(asked) == ATTEMPTS
    assert [row["method"] for row in tables(campaign)["decisions"]] == ["strongman"]


def test_where_the_last_site_is_lost_while_it_is_profiled_the_search_ends(small):
    spaces, create, _ = small
    campaign = create()
    hosts = [SimulatedHosts(campaign, spaces, site) for site in ("left", "right")]
    errors = {site: SiteLostError("dead", where=f"host edge of {site}") for site in ("left", "right")}
    chosen = {"wants_profiles": wants_profiles, **methods("strongman")}
    with pytest.raises(SiteLostError, match="host edge of right: dead"):
        search(campaign, spaces, hosts, chosen, profiled_on([], errors))
    assert tables(campaign)["decisions"] == []


def test_the_last_site_s_death_ends_the_search(small):
    spaces, create, _ = small
    campaign = create()

    class Dying(SimulatedHosts):
        def mend(self):
            raise SiteLostError("unreachable", where="host edge")

    with pytest.raises(SiteLostError, match="unreachable"):
        search(campaign, spaces, [Dying(campaign, spaces, fail=lambda *_: RunError("gone"))])


def choosy(problem):
    """Wants one candidate, and no other."""
    measures = yield Ask(("split:op3",))
    return Choice(best_of(measures, problem.objective).key, "as wanted")


def refusing(problem):
    raise SpecError("not this one")
    yield


def test_a_method_that_cannot_decide_hinders_no_other_and_tries_again_after_a_resume(small):
    spaces, create, results = small
    campaign = create()

    def fail(hosts, cell):
        return RunError("no memory") if cell.key == "split:op3" else None

    names = {"choosy": choosy, "refusing": refusing, **methods("strongman")}
    with pytest.raises(SpecError, match="method refusing: not this one"):
        search(campaign, spaces, [SimulatedHosts(campaign, spaces, fail=fail)], names)
    failed = [line for line in campaign.events() if line["event"] == "session_failed"]
    assert [(line["problem"], line["method"]) for line in failed] == [
        ("net-testbed", "refusing"),
        ("net-testbed", "choosy"),
    ]
    assert "could be measured; the first: no memory" in failed[1]["error"]
    assert [row["method"] for row in tables(campaign)["decisions"]] == ["strongman"]
    campaign = find_unfinished(results, "small", plan(spaces))
    again = SimulatedHosts(campaign, spaces)
    search(campaign, spaces, [again], names | {"refusing": choosy})
    assert {cell.key for cell in again.measured} == {"split:op3"}
    chosen = {row["method"]: row["chosen"] for row in tables(campaign)["decisions"]}
    assert (chosen["choosy"], chosen["refusing"]) == ("split:op3", "split:op3")


def test_conditions_are_kept_together_and_every_problem_is_decided(tmp_path):
    named = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    _, spaces = make_spaces(tmp_path, f"search: {{testbeds: {{near: {named}, far: {named}}}}}")
    campaign = create_campaign(tmp_path / "results", "small", plan(spaces))
    hosts = SimulatedHosts(campaign, spaces)
    search(campaign, spaces, [hosts])
    problems = [cell.problem for cell in hosts.measured]
    assert set(problems) == {"net-near", "net-far"}
    assert sum(before != after for before, after in itertools.pairwise(problems)) == 1
    assert len(tables(campaign)["decisions"]) == 2 * len(METHODS)


def test_a_method_that_needs_profiles_has_them_and_its_predictions_are_tabled(small):
    spaces, create, _ = small
    campaign = create()

    @registry.with_profiles
    def oracle(problem):
        told = problem.foretell(())
        best = min(told, key=lambda key: told[key].figures["latency"].value)
        assert problem.candidates[0].compute_s == (0.001, 0.002)
        yield Ask((best,))
        return Choice(best, "foretold", regret=0.01, error=0.2)

    def foresee(site, space):
        candidates = tuple(replace(each, compute_s=(0.001, 0.002)) for each in space.candidates)
        figures = {
            each.key: {"latency": Figure(at / 100, at / 200, float("nan"))} for at, each in enumerate(candidates)
        }
        return Foresight(candidates, lambda _: {key: Foretold(key, each) for key, each in figures.items()}, 40.0)

    search(campaign, spaces, [SimulatedHosts(campaign, spaces)], {"oracle": oracle}, foresee)
    found = tables(campaign)
    (decision,) = found["decisions"]
    assert (decision["chosen"], decision["regret_predicted"], decision["prediction_error"]) == (
        "split:op1",
        "0.01",
        "0.2",
    )
    assert float(decision["testbed_s"]) == 40 + 2.5 * int(decision["runs"])
    second = found["candidates"][1]
    assert (second["predicted_latency_ms"], second["predicted_low_ms"], second["predicted_high_ms"]) == ("10", "5", "")
    assert [row["measured"] for row in found["candidates"]] == ["1"] + ["0"] * 8
