"""Processes of a search are killed and resumed, in fact; hosts alone are simulated."""

from __future__ import annotations

import itertools
import os
import sys

import pytest
import simulated_search
from benchmarks.search import kill
from benchmarks.search.damage import Damage, Kind
from benchmarks.search.running import Moment, Running
from benchmarks.slicer.workers import BenchmarkError

from slicebed.run.store import Campaign, write_json
from slicebed.spec.experiment import load_experiment

AT_ONCE = Moment(0.0, at_hosts=True)
NEVER = Moment(300.0)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    process = [sys.executable, "-m", "simulated_search", "--hold", str(tmp_path / "hold")]
    return {kind: [*process, str(tmp_path / kind), kind] for kind in simulated_search.SEARCHES}


def test_searches_are_killed_as_often_as_asked_and_come_to_their_end(tmp_path, commands):
    hold, said = tmp_path / "hold", []

    def when():
        # However slow this process is, the other one is still there to be killed.
        while True:
            hold.touch()
            yield AT_ONCE

    def tell(text):
        hold.unlink(missing_ok=True)
        said.append(text)

    found = kill.kills(3, commands, when(), tmp_path / "results", tell)
    assert [each.search for each in found.kills] == ["blind", "reacting", "reacting"]
    assert {each.phase for each in found.kills} <= {"deciding", "cell", "between cells"}
    assert (found.searches, found.damage) == (2, [])
    assert found.decisions == 5
    assert found.profiles == 1
    assert [each.said for each in kill.verdicts(found)] == ["met"] * len(Kind)
    assert len(said) == 2 + 3
    assert all(name in kill.summary(found) for name in ("blind", "reacting", found.kills[0].phase))


def test_what_is_damaged_misses_its_bar_and_is_named():
    found = kill.Killed([kill.Kill("blind", 1.0, "cell")], 1, 8, 2, 0, 0, [Damage(Kind.REPEATED, "blind-killed-1: it")])
    assert {row.what.partition(",")[0]: row.said for row in kill.verdicts(found)}[Kind.REPEATED] == "NOT met"
    assert "blind-killed-1: it" in kill.summary(found)


def test_a_search_that_fails_names_its_log(tmp_path):
    running = Running([sys.executable, "-c", "import sys; sys.exit('no hosts')"], tmp_path / "failing")
    with pytest.raises(BenchmarkError, match=f"ended with 1; see {running.log}"):
        running.go_on(AT_ONCE)
    assert running.log.read_text() == "no hosts\n"


def test_a_search_that_ends_before_it_is_killed_is_no_evidence(tmp_path, commands):
    only = {"blind": commands["blind"]}
    with pytest.raises(BenchmarkError, match="before it could be killed"):
        kill.kills(1, only, itertools.repeat(NEVER), tmp_path / "results", str)


def test_an_end_without_a_whole_campaign_is_no_end(tmp_path):
    only = {"blind": [sys.executable, "-c", ""]}
    with pytest.raises(BenchmarkError, match="not whole"):
        kill.kills(1, only, itertools.repeat(NEVER), tmp_path / "results", str)


def test_moments_can_be_had_again_and_fall_into_every_phase():
    first, again = (list(itertools.islice(kill.moments(6), 20)) for _ in range(2))
    assert first == again
    assert [moment.at_hosts for moment in first] == [False, True] * 10
    assert min(each.after_s for each in first if not each.at_hosts) < 15


PROFILED = {"event": "profiled", "problem": "net-near"}


@pytest.mark.parametrize(
    ("before", "own", "phase"),
    [
        ([], [], "deploying"),
        ([], ["campaign_created", "playbook"], "deploying"),
        (["cell_started", "run_complete"], ["run_complete", "playbook"], "deploying"),
        ([], ["campaign_created", "model_placed"], "conditions"),
        ([], ["conditions_changed", {"event": "links_measured", "configuration": "near"}], "profiling"),
        ([PROFILED], ["model_placed", {"event": "links_measured", "configuration": "far"}], "profiling"),
        ([PROFILED], ["model_placed", {"event": "links_measured", "configuration": "near"}], "conditions"),
        ([], [PROFILED], "deciding"),
        ([], ["cell_started", "run_started"], "cell"),
        ([], ["run_started", "run_complete", "cell_done"], "between cells"),
        ([], ["cell_done", "decision"], "deciding"),
        (["decision"], ["cell_done", "decision"], "gathering logs"),
        (["decision"], ["decision", "playbook"], "gathering logs"),
        ([], ["decision", "campaign_complete"], "reporting"),
    ],
)
def test_the_phase_of_a_kill_is_the_journal_s_last_word(tmp_path, before, own, phase):
    write_json(tmp_path / "campaign.json", {"problems": {"net-near": []}, "methods": ["predict", "hybrid"]})
    (tmp_path / "profiles").mkdir()
    campaign = Campaign(tmp_path)
    for event in [*before, *own]:
        facts = {"event": event} if isinstance(event, str) else event
        campaign.note(**facts)
    assert kill.phase_of(campaign, len(before)) == phase


def test_one_file_leaves_nothing_to_chance_and_the_other_lets_methods_react():
    blind, reacting = (load_experiment(path) for path in kill.SEARCHES)
    assert set(blind.search.methods) == {"strongman", "comm-slim"}
    assert blind.search.at_least == blind.search.at_most > 1
    assert not {"strongman", "comm-slim"} & set(reacting.search.methods)
    assert reacting.search.knobs
    assert min(len(each.search.testbeds) for each in (blind, reacting)) > 1
    assert blind.testbed.path == reacting.testbed.path
