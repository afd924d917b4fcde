"""Which campaigns a reproduction takes, how they are planned, and what becomes of those that fail or are resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slicebed.errors import InterruptedRunError, MissingRequirementError, RunError, SlicebedError, SpecError
from slicebed.run.progress import Progress
from slicebed.run.reproduce import (
    ReproduceWanted,
    create_reproduction,
    find_reproduction,
    plan,
    play_parts,
    reproduce,
    require_whole,
)
from slicebed.run.reproduce_parts import ALL, KNOWN, TARGETS, every_target, parts_of, plan_part
from slicebed.run.store import Campaign, create_campaign
from slicebed.spec.experiment import load_experiment
from slicebed.testbed.checkout import Checkout
from slicebed_agent.errors import AgentConfigError

ROOT = Path(__file__).parents[3]
CHECKOUT = Checkout(ROOT)


def nothing(text):
    raise AssertionError(text)


@pytest.fixture(scope="module")
def experiments():
    return {part.file: load_experiment(ROOT / "experiments" / part.file) for part in parts_of([ALL], quick=False)}


def test_every_target_has_parts_in_both_forms():
    for quick in (True, False):
        every = parts_of([ALL], quick=quick)
        assert len({part.name for part in every}) == len(every)
        for target in TARGETS:
            own = parts_of([target], quick=quick)
            assert own
            assert [part for part in every if target in part.targets] == list(own)


def test_the_searches_of_table_6_are_those_of_figures_10_to_12():
    assert parts_of(["couper-table6"], quick=False) == parts_of(["couper-fig10-12"], quick=False)
    assert every_target(["dnn-slicing", "couper-table5"]) == ("couper-table5", "dnn-slicing")
    assert every_target([ALL]) == TARGETS


def test_an_unknown_target_is_refused():
    with pytest.raises(SpecError, match="couper-fig7"):
        parts_of(["couper-table5", "couper-fig7"], quick=True)


@pytest.mark.parametrize("quick", [True, False])
def test_parts_name_only_what_their_files_have(experiments, quick):
    seen = set()
    for part in parts_of([ALL], quick=quick):
        search = experiments[part.file].search
        if search is None:
            continue
        models = {choice.argument for choice in search.models}
        assert set(part.models or ()) <= models <= set(KNOWN)
        assert set(part.conditions or ()) <= set(search.testbeds)
        assert set(part.methods or ()) <= set(search.methods)
        rule = experiments[part.file].is_cut_by_rule
        problems = {(rule, m, c) for m in part.models or models for c in part.conditions or search.testbeds}
        # The same problem in two parts would be two answers to one question.
        assert not problems & seen
        seen |= problems


def test_all_the_experiments_run_in_one_lab(experiments):
    testbeds = [each for found in experiments.values() if found.search for each in found.search.testbeds.values()]
    assert len({(each.host_names, each.lab) for each in [*testbeds, experiments[Path("dnn_slicing.yml")].testbed]}) == 1
    assert all({link.pair for link in each.links} >= {frozenset(("client", "cloud"))} for each in testbeds)


def test_the_quick_form_is_planned_for_less_than_three_quarters_of_an_hour():
    planned = plan(CHECKOUT, [ALL], quick=True)
    minutes = sum(each.seconds for each in planned) / 60
    assert 20 < minutes < 45
    whole = plan(CHECKOUT, [ALL], quick=False)
    assert sum(each.cells for each in whole) > 3 * sum(each.cells for each in planned)


def test_a_plan_counts_cells(experiments):
    part = next(part for part in parts_of([ALL], quick=True) if part.name == "fig10")
    experiment = experiments[part.file]
    planned = plan_part(part, experiment)
    assert (planned.problems, planned.cells) == (1, 36)
    assert planned.seconds > planned.cells * (part.frames / experiment.source.rate_per_s + 3)
    # Its limits are taken away behind it, so that its agents are started for it in any case.
    assert plan_part(part, experiment, first=True).seconds == planned.seconds
    plain = next(part for part in parts_of([ALL], quick=True) if part.name == "dnn_slicing")
    first, later = (plan_part(plain, experiments[plain.file], first=first).seconds for first in (True, False))
    assert first == pytest.approx(later + 20)
    runs = next(part for part in parts_of(["dnn-slicing"], quick=True))
    assert plan_part(runs, experiments[runs.file]).cells == 24


def test_the_quick_form_repeats_nothing(experiments):
    for part in parts_of([ALL], quick=True):
        search = part.of(experiments[part.file]).search
        assert search is None or (search.at_least, search.at_most, search.until) == (1, 1, None)
    full = next(part for part in parts_of([ALL], quick=False) if part.name == "fig10")
    assert full.of(experiments[full.file]) is experiments[full.file]


GROUND = {"hosts": [{"edge": "10.0.0.2:22"}], "image": {"reference": "slicebed-agent:aa"}}


@pytest.fixture
def wanted(tmp_path):
    return ReproduceWanted(("couper-table5",), tmp_path / "hosts.yml", tmp_path / "results", quick=True)


class Played:
    """What was played, in order; `wrong` raises what it holds for a part, once."""

    def __init__(self, wrong=None):
        self.calls, self.wrong, self.said = [], dict(wrong or {}), []

    def __call__(self, part, results, resume, deploy):
        self.calls.append((part.name, resume, deploy))
        folders = sorted(results.glob("*")) if resume else []
        campaign = Campaign(folders[-1]) if folders else create_campaign(results, part.name, {"experiment": part.name})
        if part.name in self.wrong:
            raise self.wrong.pop(part.name)
        campaign.note("campaign_complete")


def _play(found, parts, played):
    play_parts(found, parts, played, played.said.append)


def test_every_part_is_played_once_and_deployed_first(wanted):
    parts = parts_of(wanted.targets, quick=True)
    found = create_reproduction(wanted, parts, GROUND)
    played = Played()
    _play(found, parts, played)
    assert played.calls == [(part.name, False, number == 0) for number, part in enumerate(parts)]
    assert found.is_whole
    assert len(played.said) == len(parts)
    require_whole(found)
    with pytest.raises(SpecError, match="no unfinished reproduction"):
        find_reproduction(wanted, GROUND, nothing)


@pytest.mark.parametrize("error", [RunError("an agent died"), SlicebedError("x"), AgentConfigError("no such model")])
def test_a_failed_part_does_not_lose_the_others(wanted, error):
    parts = parts_of(wanted.targets, quick=True)
    found = create_reproduction(wanted, parts, GROUND)
    played = Played({parts[1].name: error})
    _play(found, parts, played)
    # What comes behind it looks for its agents again.
    assert [call[2] for call in played.calls] == [True, False, True, *[False] * (len(parts) - 3)]
    assert found.parts[parts[1].name]["status"] == "failed"
    assert str(error) in found.parts[parts[1].name]["error"]
    with pytest.raises(RunError, match=f"1 of {len(parts)} campaigns failed: {parts[1].name}") as raised:
        require_whole(found)
    assert raised.value.exit_code == 7


def test_gone_on_with_what_is_whole_is_not_run_again(wanted):
    parts = parts_of(wanted.targets, quick=True)
    found = create_reproduction(wanted, parts, GROUND)
    _play(found, parts, Played({parts[1].name: RunError("an agent died")}))
    again = find_reproduction(wanted, GROUND, nothing)
    assert again == found
    played = Played()
    _play(again, parts, played)
    assert played.calls == [(parts[1].name, True, True)]
    assert again.is_whole
    assert again.parts[parts[1].name]["error"] is None


@pytest.mark.parametrize("stop", [InterruptedRunError("stop"), MissingRequirementError("no image")])
def test_what_no_other_part_would_survive_ends_it(wanted, stop):
    parts = parts_of(wanted.targets, quick=True)
    found = create_reproduction(wanted, parts, GROUND)
    with pytest.raises(type(stop)):
        _play(found, parts, Played({parts[1].name: stop}))
    assert [part["status"] for part in found.parts.values()] == ["whole", *["open"] * (len(parts) - 1)]
    played = Played()
    _play(find_reproduction(wanted, GROUND, nothing), parts, played)
    assert played.calls[0] == (parts[1].name, True, True)
    assert len(played.calls) == len(parts) - 1


def test_a_campaign_that_ended_before_it_was_noted_is_whole(wanted):
    parts = parts_of(wanted.targets, quick=True)
    found = create_reproduction(wanted, parts, GROUND)
    create_campaign(found.home_of(parts[0].name), "x", {}).note("campaign_complete")
    played = Played()
    _play(found, parts, played)
    assert [call[0] for call in played.calls] == [part.name for part in parts[1:]]
    assert found.is_whole


def test_only_the_same_targets_in_the_same_form_are_gone_on_with(wanted):
    parts = parts_of(wanted.targets, quick=True)
    found = create_reproduction(wanted, parts, GROUND)
    same = ReproduceWanted(("couper-table5",), wanted.inventory, wanted.results, quick=True)
    assert find_reproduction(same, GROUND, nothing) == found
    for targets, quick in ((("couper-table6",), True), (("couper-table5",), False), ((ALL,), True)):
        with pytest.raises(SpecError, match="no unfinished reproduction"):
            find_reproduction(ReproduceWanted(targets, wanted.inventory, wanted.results, quick=quick), GROUND, nothing)


def test_only_on_the_same_hosts_with_the_same_image_is_it_gone_on_with(wanted):
    found = create_reproduction(wanted, parts_of(wanted.targets, quick=True), GROUND)
    for other, says in (
        ({"hosts": [{"edge": "10.0.0.3:22"}]}, r"another hosts \(edge 10\.0\.0\.2:22, now 10\.0\.0\.3:22\)"),
        ({"image": {"reference": "slicebed-agent:bb"}}, r"another image \(reference slicebed-agent:aa, now "),
    ):
        with pytest.raises(SpecError, match=says) as refused:
            find_reproduction(wanted, {**GROUND, **other}, nothing)
        assert str(found.folder) in str(refused.value)


def test_the_state_is_written_before_anything_is_run(wanted):
    found = create_reproduction(wanted, parts_of(wanted.targets, quick=True), GROUND)
    state = json.loads((found.folder / "reproduce.json").read_text())
    assert state["kind"] == "reproduce"
    assert state["targets"] == ["couper-table5"]
    assert {part["status"] for part in state["parts"].values()} == {"open"}


def test_without_an_inventory_nothing_is_begun(wanted):
    with pytest.raises(MissingRequirementError, match="no such inventory"):
        reproduce(CHECKOUT, wanted, Progress(), lambda _: None)
    assert not wanted.results.exists()


def test_a_lab_that_lacks_a_link_shows_before_anything_is_begun(wanted):
    links = [{"peer": "edge", "address": "10.198.0.1", "peer_address": "10.198.0.2", "interface": "eth1"}]
    hosts = {"client": {"ansible_host": "10.199.0.2", "slicebed_links": links}}
    wanted.inventory.write_text(json.dumps({"testbed": {"hosts": hosts}}))
    with pytest.raises(SpecError, match="no link between edge and cloud") as raised:
        reproduce(CHECKOUT, wanted, Progress(), lambda _: None)
    assert "testbeds/lab_table4_mid.yml" in str(raised.value)
    assert not wanted.results.exists()


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "repro',
        '{"kind": "reproduce", "targets": ["couper-table5"], "quick": true}',
        '{"kind": "reproduce", "targets": ["couper-table5"], "quick": true, "parts": []}',
        '{"kind": "reproduce", "targets": ["couper-table5"], "quick": true, "parts": {}}',
        '{"kind": "reproduce", "targets": ["couper-table5"], "quick": true, "parts": {"fig10": {"error": null}}}',
        "[]",
        None,
    ],
)
def test_one_that_cannot_be_read_is_named_and_an_older_one_gone_on_with(wanted, text):
    found = create_reproduction(wanted, parts_of(wanted.targets, quick=True), GROUND)
    newer = found.folder.with_name("reproduce-99991231T235959Z")
    (newer / "parts").mkdir(parents=True)
    if text is not None:
        (newer / "reproduce.json").write_text(text)
    said = []
    assert find_reproduction(wanted, GROUND, said.append) == found
    (line,) = said
    assert line.startswith("passed over: ")
    assert newer.name in line
    assert "\n" not in line
    shutil.rmtree(found.folder)
    with pytest.raises(SpecError, match=r"1 cannot.*restore what was named above"):
        find_reproduction(wanted, GROUND, said.append)
