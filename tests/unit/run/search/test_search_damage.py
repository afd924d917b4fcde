"""A search's folder that somebody took something out of, or spoilt: what is gone is done again, the rest refused."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import pytest
from searches import LATENCY, SimulatedHosts, make_spaces

from slicebed.errors import RunError, SpecError
from slicebed.results.referee.folder import read_search
from slicebed.run.progress import Progress
from slicebed.run.search.engine import run_search
from slicebed.run.search.foresight import check_kept
from slicebed.run.search.searching import Searching, Settings
from slicebed.run.stage import ground_of, hosts_of
from slicebed.run.store import create_campaign
from slicebed.split.search import registry
from slicebed.testbed.checkout import Checkout
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory

METHODS = ("strongman", "hybrid")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search with two repeats of every candidate, and its spaces."""
    folder = tmp_path_factory.mktemp("searched")
    _, spaces = make_spaces(folder)
    campaign = create_campaign(folder / "results", "small", {"kind": "search", "objective": "latency"})
    search(campaign, spaces)
    return campaign, spaces


@pytest.fixture
def damaged(searched, tmp_path):
    """A copy of it to spoil, and its spaces."""
    campaign, spaces = searched
    copy = type(campaign)(tmp_path / campaign.name)
    shutil.copytree(campaign.folder, copy.folder)
    return copy, spaces


def search(campaign, spaces, budget=None):
    """What of it had to be measured."""
    hosts = SimulatedHosts(campaign, spaces)
    settings = Settings(LATENCY, budget, at_least=2, at_most=2, order_seed=1)
    chosen = {name: registry.load(name) for name in METHODS}
    Searching(campaign, spaces, chosen, settings, Progress(), None).run([hosts])
    return [cell.run_id for cell in hosts.measured]


def decisions(campaign):
    with (campaign.folder / "tables" / "decisions.csv").open() as file:
        return {row["method"]: (row["chosen"], row["runs"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("which", ["*_r1", "*op5*_r*", "*_r2"])
def test_runs_that_are_gone_are_done_again_and_decided_upon_again(damaged, searched, which):
    campaign, spaces = damaged
    gone = sorted(campaign.folder.glob(which))
    for folder in gone:
        shutil.rmtree(folder)
    assert gone
    assert sorted(search(campaign, spaces)) == sorted(folder.name for folder in gone)
    assert decisions(campaign) == decisions(searched[0])


@pytest.mark.parametrize(("field", "value"), [("problem", "gone"), ("chosen", "gone"), ("foretold", "gone.json")])
def test_a_decision_on_what_is_gone_is_made_anew(damaged, searched, field, value):
    campaign, spaces = damaged
    journal = campaign.folder / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    lines = [json.dumps(event | {field: value} if event["event"] == "decision" else event) for event in events]
    journal.write_text("\n".join(lines) + "\n")
    assert search(campaign, spaces) == []
    assert decisions(campaign) == decisions(searched[0])


def spoil_manifest(folder, text):
    (folder / "manifest.json").write_text(text)


def respell_manifest(folder, **facts):
    """Say something else in a manifest; None: nothing."""
    path = folder / "manifest.json"
    changed = json.loads(path.read_text()) | facts
    path.write_text(json.dumps({name: each for name, each in changed.items() if each is not None}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: spoil_manifest(run, '{"status": "comp'), "manifest.json: a run's manifest cannot be read"),
        (lambda run: spoil_manifest(run, "[]"), "manifest.json: a run's manifest cannot be read"),
        (lambda run: spoil_manifest(run, '{"status": "complete"}'), "cannot be read: KeyError: 'problem'"),
        (lambda run: respell_manifest(run, site=None), "cannot be read: KeyError\\('site'\\)"),
        (lambda run: respell_manifest(run, testbed_s=None), "cannot be read: KeyError\\('testbed_s'\\)"),
        (lambda run: respell_manifest(run, frames={}), "cannot be read: KeyError\\('captured'\\)"),
        (lambda run: respell_manifest(run, stages=[]), "cannot be read: AttributeError"),
        (lambda run: (run / "samples.parquet").write_bytes(b"PAR1"), "samples of a finished cell cannot be read"),
        (lambda run: (run / "samples.parquet").unlink(), "samples of a finished cell cannot be read"),
        (lambda run: shutil.copytree(run, run.with_name("backup")), "backup/manifest.json: it is the manifest of run"),
    ],
)
def test_a_run_that_cannot_be_read_is_named_with_what_to_do(damaged, spoil, said):
    campaign, spaces = damaged
    spoil(min(campaign.folder.glob("*_r1")))
    with pytest.raises(RunError, match=said) as refused:
        search(campaign, spaces)
    assert refused.value.mend == "remove this run's folder, then --resume"


@pytest.mark.parametrize("gone", [("cells", "candidates", "decisions"), ("decisions",)])
def test_tables_that_are_gone_are_made_again_without_models(damaged, gone):
    campaign, _ = damaged
    tables = campaign.folder / "tables"
    before = {path.name: path.read_text() for path in tables.glob("*.csv")}
    for name in gone:
        (tables / f"{name}.csv").unlink()
    found = read_search(campaign.folder)
    assert {path.name: path.read_text() for path in tables.glob("*.csv")} == before
    assert len(found.decisions) == len(METHODS)
    assert len(found.cells) == len(list(campaign.folder.glob("*/manifest.json")))


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "tables are gone, and nothing else in it lists"), ("{", "cannot be read"), ("[1]", "cannot be read")],
)
def test_tables_that_cannot_be_made_again_are_told(damaged, text, said):
    campaign, _ = damaged
    shutil.rmtree(campaign.folder / "tables")
    path = campaign.folder / "candidates.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RunError, match=said) as refused:
        read_search(campaign.folder)
    assert "--resume" in refused.value.mend


def test_decisions_of_an_older_journal_may_have_been_stopped_by_the_budget(damaged):
    campaign, spaces = damaged
    journal, plan = campaign.folder / "journal.jsonl", campaign.folder / "campaign.json"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in events:
        event.pop("stopped_by_budget", None)
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert search(campaign, spaces) == []
    most = len(spaces[0].candidates)
    for budget, stopped in ((None, False), (most, True), (most + 1, False)):
        plan.write_text(json.dumps(json.loads(plan.read_text()) | {"budget": budget}))
        found = read_search(campaign.folder).decisions.set_index("method")["stopped_by_budget"]
        assert bool(found["strongman"]) is stopped


def test_that_the_budget_stopped_a_method_is_in_its_tables(damaged, tmp_path):
    _, spaces = damaged
    campaign = create_campaign(tmp_path / "results", "short", {"kind": "search", "objective": "latency", "budget": 2})
    search(campaign, spaces, budget=2)
    found = read_search(campaign.folder).decisions.set_index("method")
    assert found["stopped_by_budget"]["strongman"]
    assert "the budget of 2 left out 7 more" in found["why"]["strongman"]


def respell(campaign, change):
    """Change what the journal holds of its decisions; give the number of the first one's line."""
    journal = campaign.folder / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    lines = [json.dumps(change(event) if event["event"] == "decision" else event) for event in events]
    journal.write_text("\n".join(lines) + "\n")
    return [event["event"] for event in events].index("decision") + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: {"event": "decision"}, "there is no problem"),
        (lambda event: event | {"problem": []}, r"problem is \[\]"),
        (lambda event: event | {"cells": 3}, "cells is 3"),
        (lambda event: event | {"chosen": None}, "chosen is None"),
        (lambda event: {name: each for name, each in event.items() if name != "foretold"}, "there is no foretold"),
        (lambda event: event | {"decision_s": "1"}, "decision_s is '1'"),
        (lambda event: event | {"regret_predicted": {}}, "regret_predicted is {}"),
    ],
)
def test_a_decision_that_cannot_be_read_is_named_with_its_line(damaged, change, said):
    campaign, spaces = damaged
    line = respell(campaign, change)
    with pytest.raises(
        RunError, match=rf"journal.jsonl, line {line}: a decision cannot be read: {said}; take the line"
    ):
        search(campaign, spaces)


def test_a_decision_that_names_no_cell_is_made_anew(damaged, searched):
    campaign, spaces = damaged
    respell(campaign, lambda event: event | {"cells": [], "chosen": "split:op1"})
    shutil.rmtree(next(campaign.folder.glob("*op1_*_r1")))
    shutil.rmtree(next(campaign.folder.glob("*op1_*_r2")))
    assert len(search(campaign, spaces)) == 2
    assert decisions(campaign) == decisions(searched[0])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"split:op1": 3}', '{"split:op1": {"latency": [1]}}', '{"split:op1": {"latency": [1, "2", 3]}}']
)
def test_predictions_that_cannot_be_read_are_named_and_without_them_there_is_a_new_decision(damaged, searched, text):
    campaign, spaces = damaged
    respell(campaign, lambda event: event | {"foretold": "told.json"})
    told = campaign.folder / "foretold" / "told.json"
    told.parent.mkdir()
    told.write_text(text)
    with pytest.raises(RunError, match=r"told\.json: predictions cannot be read") as refused:
        search(campaign, spaces)
    assert refused.value.mend == "remove the file, then --resume"
    told.unlink()
    assert search(campaign, spaces) == []
    assert decisions(campaign) == decisions(searched[0])


INVENTORY = """
testbed:
  hosts:
    client: {slicebed_links: [{peer: edge, address: 127.0.0.1, peer_address: 127.0.0.1}]}
    edge: {slicebed_links: [{peer: client, address: 127.0.0.1, peer_address: 127.0.0.1}]}
    cloud: {}
"""
IMAGE = {"reference": "agent", "id": "1", "dependencies": "2", "application": "3", "base": "4"}


@pytest.fixture
def begun(tmp_path):
    """The folder of a search that is to be gone on with, and what does so as far as that is possible without hosts."""
    wanted, spaces = make_spaces(tmp_path)
    wanted.inventory.write_text(INVENTORY)
    checkout = Checkout(tmp_path / "checkout")
    checkout.build.mkdir(parents=True)
    checkout.image_facts.write_text(json.dumps(IMAGE))
    hosts = hosts_of(spaces[0].experiment, wanted.inventory, read_inventory(wanted.inventory))
    ground = ground_of(read_image_facts(checkout), hosts)
    campaign = create_campaign(wanted.results, "small", wanted.plan(spaces, ground))
    return campaign.folder, lambda: run_search(checkout, wanted, Progress(), resume=True)


LINK = {"sender": "client", "receiver": "edge", "facts": {"rate_bit_per_s": 0, "rtt_s": 0.02}}


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("profiles/links_net-testbed.json", "", SpecError, "remove the file, and they are measured again"),
        ("profiles/links_net-testbed.json", "[]", SpecError, "remove the file, and they are measured again"),
        ("profiles/links_net-testbed.json", json.dumps({"links": [LINK], "testbed_s": 3}), SpecError, "'jitter_s'"),
        ("profiles/net_testbed_edge.json", "{}", SpecError, "remove the file, and the host is profiled again"),
        ("journal.jsonl", '{"event": "decision"}\n', RunError, "a decision cannot be read: there is no problem"),
        ("journal.jsonl", '{"event": []}\n', RunError, "a line of the journal cannot be read; take it out"),
    ],
)
def test_what_is_spoilt_is_named_before_a_host_is_asked_for_anything(begun, name, text, error, said):
    folder, resume = begun
    journal, path = folder / "journal.jsonl", folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    kept = journal.read_text()
    with pytest.raises(error, match=said) as refused:
        resume()
    assert refused.value.where.startswith(str(path))
    assert journal.read_text() == kept
    assert not (folder / "ansible").exists()


def test_what_is_sound_is_not_refused(begun):
    folder, _ = begun
    path = folder / "profiles" / "links_net-testbed.json"
    path.parent.mkdir()
    sound = LINK | {"facts": LINK["facts"] | {"jitter_s": 0.001}}
    path.write_text(json.dumps({"links": [sound], "testbed_s": 3}))
    check_kept(folder, [SimpleNamespace(id="net-testbed")])
