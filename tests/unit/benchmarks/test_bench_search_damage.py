"""Whatever killing a search may damage is found in its campaign; one that was only killed shows nothing."""

from __future__ import annotations

import csv
import itertools
import json
import shutil

import pytest
import searches
from benchmarks.search.damage import Kind, between, in_the_end, kept
from simulated_search import SEARCHES, search

from slicebed.run.store import Campaign
from slicebed.split.search.contracts import Ask, Choice

WINDOWS = ("started", "measured", "whole", "named")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return {kind: search(folder / kind, kind, folder / f"results-{kind}") for kind in SEARCHES}


@pytest.fixture
def damaged(undisturbed, tmp_path):
    """A copy of an undisturbed search, to be damaged."""

    def copy(kind):
        return Campaign(shutil.copytree(undisturbed[kind].folder, tmp_path / undisturbed[kind].name))

    return copy


def kinds(damage):
    return {each.kind for each in damage}


def edit_table(campaign, name, change):
    path = campaign.folder / "tables" / f"{name}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def edit_journal(campaign, change):
    events = list(campaign.events())
    change(events)
    text = "".join(json.dumps(event) + "\n" for event in events)
    (campaign.folder / "journal.jsonl").write_text(text)


def decision_of(events, method):
    return next(event for event in events if event["event"] == "decision" and event["method"] == method)


def a_run(campaign):
    return sorted(path.parent for path in campaign.folder.glob("*/manifest.json"))[3]


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_that_is_killed_again_and_again_shows_no_damage(undisturbed, tmp_path, kind):
    before, found = None, []
    for window in itertools.cycle(WINDOWS):
        campaign = search(tmp_path, kind, tmp_path / "results", kill_at=(window, 3))
        found += [] if before is None else between(before, campaign)
        if campaign.is_complete:
            break
        before = kept(campaign)
    assert before is not None
    assert found == []
    assert list(in_the_end(campaign, undisturbed[kind])) == []


def test_methods_that_react_may_measure_other_cells_where_times_are_others(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(searches, "latency_ms", lambda cell: 200 if "op4" in cell.key else 90 + len(cell.key))
    campaign = search(tmp_path, "reacting", tmp_path / "results")
    cells = [{each["cell"] for each in of.events() if "cell" in each} for of in (campaign, undisturbed["reacting"])]
    assert cells[0] != cells[1]
    assert list(in_the_end(campaign, undisturbed["reacting"])) == []


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_finished_cell_that_is_gone_or_changed_is_lost(damaged, kind):
    campaign = damaged(kind)
    before = kept(campaign)
    shutil.rmtree(a_run(campaign))
    assert kinds(between(before, campaign)) == {Kind.LOST}
    assert Kind.LOST in kinds(in_the_end(campaign, campaign))
    other = a_run(campaign)
    (other / "samples.parquet").write_bytes(b"others")
    assert [each.what.rpartition(" is ")[2] for each in between(before, campaign)].count("changed") == 1


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_cell_that_is_whole_but_for_its_name_is_not_to_be_measured_again(tmp_path, kind):
    campaign = search(tmp_path, kind, tmp_path / "results", kill_at=("whole", 2))
    (partial,) = campaign.folder.glob("*.partial")
    before = kept(campaign)
    assert partial.name.removesuffix(".partial") in before.cells
    shutil.rmtree(partial)
    again = search(tmp_path, kind, tmp_path / "results")
    assert Kind.REPEATED in kinds(between(before, again))


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_cell_that_was_finished_and_begun_again_between_two_kills_is_found(damaged, kind):
    campaign = damaged(kind)
    before = kept(campaign)
    run = a_run(campaign).name
    campaign.note("cell_started", cell="it", run=run, site="lab")
    campaign.note("run_started", run=run)
    assert [each.kind for each in between(before, campaign)] == [Kind.REPEATED]


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("known", [True, False])
def test_another_seed_is_found_also_of_a_cell_that_the_other_search_lacks(damaged, undisturbed, kind, known):
    campaign, expected = damaged(kind), undisturbed[kind]
    path = a_run(campaign) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["spec"]["source"]["seed"] += 1
    path.write_text(json.dumps(manifest))
    if not known:
        expected = Campaign(shutil.copytree(expected.folder, campaign.folder.parent / "without"))
        edit_table(expected, "cells", lambda rows: rows.remove(next(r for r in rows if r["cell"] == manifest["cell"])))
    found = [each.what for each in in_the_end(campaign, expected) if each.kind == Kind.TABLES]
    assert any("seed" in what and manifest["cell"] in what for what in found)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("cells", lambda rows: rows.pop()),
        ("cells", lambda rows: rows.append(rows[0])),
        ("cells", lambda rows: rows[1].update(captured="11")),
        ("candidates", lambda rows: rows.pop()),
        ("candidates", lambda rows: rows[0].update(bytes_per_frame="[1]")),
        ("candidates", lambda rows: rows[0].update(measured="0")),
        ("decisions", lambda rows: rows.pop()),
        ("decisions", lambda rows: rows.append(rows[0])),
    ],
)
def test_tables_that_are_not_the_undisturbed_ones_are_found(damaged, undisturbed, table, change):
    campaign = damaged("blind")
    edit_table(campaign, table, change)
    assert Kind.TABLES in kinds(in_the_end(campaign, undisturbed["blind"]))


@pytest.mark.parametrize("table", ["cells", "candidates", "decisions"])
def test_measured_times_may_be_others(damaged, undisturbed, table):
    campaign = damaged("blind")
    for column in ("latency_ms", "predicted_latency_ms", "value", "regret_measured", "testbed_s"):
        edit_table(campaign, table, lambda rows, name=column: name in rows[0] and rows[0].update({name: "123"}))
    assert list(in_the_end(campaign, undisturbed["blind"])) == []


def test_a_method_that_depends_on_no_measure_must_ask_for_the_same_cells(damaged, undisturbed):
    campaign = damaged("blind")
    edit_journal(campaign, lambda events: decision_of(events, "comm-slim")["cells"].pop())
    assert kinds(in_the_end(campaign, undisturbed["blind"])) == {Kind.TABLES, Kind.DECISIONS}


@pytest.mark.parametrize("method", ["predict", "hybrid", "halving"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda event: event["cells"].append(event["cells"][0]), "is named 2 times"),
        (lambda event: event["cells"].append("net-testbed/split:op9/r1"), "and measured 0 times"),
        (lambda event: event["cells"].pop(), "the table says"),
        (lambda event: event.update(chosen="split:op9"), "of which it names no cell"),
    ],
)
def test_a_decision_that_its_cells_do_not_bear_out_is_found(damaged, undisturbed, method, change, said):
    campaign = damaged("reacting")
    edit_journal(campaign, lambda events: change(decision_of(events, method)))
    found = list(in_the_end(campaign, undisturbed["reacting"]))
    assert any(each.kind == Kind.DECISIONS and method in each.what and said in each.what for each in found)


def test_a_session_that_is_decided_twice_is_found(damaged, undisturbed):
    campaign = damaged("reacting")
    edit_journal(campaign, lambda events: events.append(decision_of(events, "hybrid")))
    assert Kind.DECISIONS in kinds(in_the_end(campaign, undisturbed["reacting"]))


def test_a_table_of_decisions_that_is_not_the_journal_s_is_found(damaged, undisturbed):
    campaign = damaged("reacting")
    edit_table(campaign, "decisions", lambda rows: rows[0].update(runs="77"))
    assert kinds(in_the_end(campaign, undisturbed["reacting"])) == {Kind.DECISIONS}


def test_a_method_that_asks_for_something_else_after_a_kill_is_found(undisturbed, tmp_path):
    """What it had asked for before is measured, and nobody has asked for it."""
    wanted = iter(["split:op2/edge.quota=0.5", "split:op7/edge.quota=1"])

    def fickle(problem):
        key = next(wanted)
        measures = yield Ask((key,))
        assert measures
        return Choice(key, "it likes this one")

    methods = {"predict": fickle, "hybrid": sober, "halving": sober}
    search(tmp_path, "reacting", tmp_path / "results", kill_at=("named", 2), methods=methods)
    campaign = search(tmp_path, "reacting", tmp_path / "results", methods=methods)
    found = list(in_the_end(campaign, undisturbed["reacting"]))
    assert any("no decision names it" in each.what and "op2" in each.what for each in found)


def sober(problem):
    measures = yield Ask(("split:op4/edge.quota=1",))
    return Choice(measures[0].key, "it always likes this one")


def test_one_that_asks_for_the_same_in_another_order_after_a_kill_is_found(undisturbed, tmp_path):
    first, second = "split:op2/edge.quota=0.5", "split:op7/edge.quota=1"
    orders = iter([(first, second), (second, first)])

    def fickle(problem):
        for key in next(orders):
            measures = yield Ask((key,))
        return Choice(measures[0].key, "it likes the last")

    methods = {"predict": fickle, "hybrid": sober, "halving": sober}
    search(tmp_path, "reacting", tmp_path / "results", kill_at=("named", 2), methods=methods)
    campaign = search(tmp_path, "reacting", tmp_path / "results", methods=methods)
    profiles = shutil.copytree(undisturbed["reacting"].folder / "profiles", campaign.folder / "profiles")
    assert profiles.is_dir()
    found = list(in_the_end(campaign, undisturbed["reacting"]))
    assert [each.what.partition(": ")[2] for each in found] == [
        "its cells were not measured in the order in which it asks for them"
    ]


@pytest.mark.parametrize("damage", ["gone", "changed", "again", "twice"])
def test_profiles_are_made_once_and_kept(damaged, undisturbed, damage):
    campaign = damaged("reacting")
    before = kept(campaign)
    (path,) = campaign.folder.glob("profiles/*.json")
    if damage == "gone":
        path.unlink()
    elif damage == "changed":
        path.write_text("{}")
    elif damage == "again":
        path.with_name("net_edge_0a1b2c3d.json").write_text("{}")
    else:
        campaign.note("profiled", problem="net-testbed", testbed_s=1.0)
    found = [*between(before, campaign), *in_the_end(campaign, undisturbed["reacting"])]
    assert kinds(found) == {Kind.PROFILES}
