"""A campaign on disk: whole runs have a name, failed ones are kept, and --resume finds what is left."""

from __future__ import annotations

import json

import pytest

from slicebed.errors import ConflictError, RunError, SpecError
from slicebed.run.store import FAILED, INVALID, create_campaign, find_unfinished, write_json

PLAN = {
    "experiment": "dnn",
    "experiment_sha256": "a",
    "runs": ["c1_1-8_r1", "c1_1-9_r1"],
    "frames": 50,
    "spec": {"points": (1, 8)},
}


def complete(campaign, run):
    folder = campaign.begin_run(run)
    write_json(folder / "manifest.json", {"status": "complete"})
    campaign.finish_run(run)


def events(campaign):
    lines = (campaign.folder / "journal.jsonl").read_text().splitlines()
    return [(line["event"], line.get("run")) for line in map(json.loads, lines)]


def test_a_run_has_its_name_only_when_whole(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    folder = campaign.begin_run("c1_1-8_r1")
    assert folder.name == "c1_1-8_r1.partial"
    assert not campaign.is_done("c1_1-8_r1")
    write_json(folder / "manifest.json", {"status": "complete"})
    campaign.finish_run("c1_1-8_r1")
    assert campaign.is_done("c1_1-8_r1")
    assert events(campaign) == [
        ("campaign_created", None),
        ("run_started", "c1_1-8_r1"),
        ("run_complete", "c1_1-8_r1"),
    ]


def test_every_failed_attempt_is_kept(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    for attempt in (1, 2):
        folder = campaign.begin_run("c1_1-8_r1")
        (folder / "samples.jsonl").write_text(f"attempt {attempt}")
        campaign.fail_run("c1_1-8_r1")
    kept = sorted(campaign.folder.glob("*.failed-*"))
    assert [(path / "samples.jsonl").read_text() for path in kept] == ["attempt 1", "attempt 2"]


def test_remains_of_a_killed_control_machine_become_a_failed_run(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    (campaign.begin_run("c1_1-8_r1") / "half").write_text("written before the machine died")
    with find_unfinished(tmp_path, "dnn", PLAN).taken() as again:
        again.begin_run("c1_1-8_r1")
    assert (again.folder / "c1_1-8_r1.failed-1" / "half").exists()
    assert ("run_abandoned", "c1_1-8_r1") in events(again)


def test_resume_takes_the_newest_unfinished_campaign(tmp_path):
    create_campaign(tmp_path, "dnn", PLAN)
    newest = create_campaign(tmp_path, "dnn", PLAN)
    complete(newest, "c1_1-8_r1")
    assert find_unfinished(tmp_path, "dnn", PLAN).folder == newest.folder


def test_a_run_that_was_whole_but_for_its_name_is_adopted(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    folder = campaign.begin_run("c1_1-8_r1")
    write_json(folder / "manifest.json", {"status": "complete"})
    with find_unfinished(tmp_path, "dnn", PLAN).taken() as again:
        pass
    assert again.is_done("c1_1-8_r1")
    assert again.manifest("c1_1-8_r1") == {"status": "complete"}
    assert events(again)[-1] == ("run_complete", "c1_1-8_r1")


def test_a_journal_line_that_was_cut_short_is_taken_out(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    journal = campaign.folder / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"at": "2026-01-01", "event": "run_sta')
    assert [line["event"] for line in campaign.events()] == ["campaign_created"]
    with find_unfinished(tmp_path, "dnn", PLAN).taken() as again:
        assert journal.read_bytes() == whole
        again.note("run_started", run="c1_1-8_r1")
    assert [line["event"] for line in again.events()] == ["campaign_created", "run_started"]


@pytest.mark.parametrize("line", ["no line", "[1]", '{"at": "2026-01-01"}'])
def test_a_journal_damaged_in_its_middle_is_refused(tmp_path, line):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    with (campaign.folder / "journal.jsonl").open("a") as journal:
        journal.write(line + "\n")
    campaign.note("campaign_complete")
    with pytest.raises(RunError, match=r"journal\.jsonl, line 2: a line of the journal cannot be read"):
        campaign.events()


def test_attempts_that_failed_and_those_that_are_invalid_are_kept_apart(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    for how in (FAILED, INVALID, INVALID):
        campaign.begin_run("c1_1-8_r1")
        campaign.fail_run("c1_1-8_r1", how)
    kept = sorted(path.name for path in campaign.folder.glob("c1*"))
    assert kept == ["c1_1-8_r1.failed-1", "c1_1-8_r1.invalid-1", "c1_1-8_r1.invalid-2"]
    assert events(campaign)[-1] == ("run_invalid", "c1_1-8_r1")


def test_a_search_is_finished_when_its_journal_says_so_and_is_no_sweep(tmp_path):
    plan = {"kind": "search", "experiment": "dnn", "methods": ["hybrid"]}
    campaign = create_campaign(tmp_path, "dnn", plan)
    create_campaign(tmp_path, "dnn", PLAN)
    complete(campaign, "a_cell")
    assert find_unfinished(tmp_path, "dnn", plan).folder == campaign.folder
    campaign.complete()
    with pytest.raises(SpecError, match="no unfinished campaign of dnn"):
        find_unfinished(tmp_path, "dnn", plan)


def test_a_finished_campaign_is_not_resumed(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    for run in PLAN["runs"]:
        complete(campaign, run)
    with pytest.raises(SpecError, match="no unfinished campaign of dnn"):
        find_unfinished(tmp_path, "dnn", PLAN)


@pytest.mark.parametrize("changed", [{"frames": 20}, {"experiment_sha256": "b"}, {"runs": ["c1_1-8_r1"]}])
def test_resume_refuses_another_experiment_and_says_what_differs(tmp_path, changed):
    create_campaign(tmp_path, "dnn", PLAN)
    with pytest.raises(SpecError, match=f"begun with another {next(iter(changed))}"):
        find_unfinished(tmp_path, "dnn", {**PLAN, **changed})


GROUND = {
    "hosts": [{"client": "10.0.0.1:22", "edge": "10.0.0.2:22"}],
    "image": {"reference": "slicebed-agent:aa", "dependencies": "d", "base": "b"},
}


@pytest.mark.parametrize(
    ("changed", "unlike", "again"),
    [
        (
            {"hosts": [{"client": "10.0.0.1:22", "edge": "10.0.0.3:22"}]},
            "hosts (edge 10.0.0.2:22, now 10.0.0.3:22)",
            "an inventory of the hosts",
        ),
        (
            {"hosts": [*GROUND["hosts"], {"edge": "10.0.0.3:22"}]},
            "hosts (none, now edge 10.0.0.3:22)",
            "an inventory of the hosts",
        ),
        (
            {"image": {**GROUND["image"], "reference": "slicebed-agent:bb"}},
            "image (reference slicebed-agent:aa, now slicebed-agent:bb)",
            "the agent image (slicebed image build, from the sources)",
        ),
    ],
)
def test_resume_refuses_other_hosts_and_another_image_and_says_which(tmp_path, changed, unlike, again):
    campaign = create_campaign(tmp_path, "dnn", {**PLAN, **GROUND})
    assert find_unfinished(tmp_path, "dnn", {**PLAN, **GROUND}).folder == campaign.folder
    with pytest.raises(SpecError) as refused:
        find_unfinished(tmp_path, "dnn", {**PLAN, **GROUND, **changed})
    says = f"begun with another {unlike}; resume with {again} it was begun with, or run without --resume"
    assert str(refused.value) == f"{campaign.folder}: {says}"


def test_resume_refuses_what_was_begun_before_hosts_were_kept(tmp_path):
    create_campaign(tmp_path, "dnn", PLAN)
    unlike = r"hosts \(none, now client 10\.0\.0\.1:22, edge 10\.0\.0\.2:22\), image \(none, now reference"
    with pytest.raises(SpecError, match=f"begun with another {unlike}"):
        find_unfinished(tmp_path, "dnn", {**PLAN, **GROUND})


NEWER = "dnn-99990101T000000Z"


def newer(results, plan, journal='{"event": "campaign_created"}\n'):
    (results / NEWER).mkdir()
    (results / NEWER / "campaign.json").write_text(plan)
    (results / NEWER / "journal.jsonl").write_text(journal)


@pytest.mark.parametrize(
    ("plan", "journal"), [('{"kind": "sea', ""), ("[]", ""), (json.dumps(PLAN), "bad\n"), (json.dumps(PLAN), "[1]\n")]
)
def test_resume_passes_over_what_cannot_be_read(tmp_path, plan, journal):
    newer(tmp_path, plan, journal)
    with pytest.raises(RunError, match=rf"{NEWER}/.* cannot be read"):
        find_unfinished(tmp_path, "dnn", PLAN)
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    assert find_unfinished(tmp_path, "dnn", PLAN).folder == campaign.folder


def test_resume_passes_over_newer_campaigns_of_other_options_and_names_the_newest_where_all_are(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    newer(tmp_path, json.dumps({**PLAN, "frames": 20}))
    assert find_unfinished(tmp_path, "dnn", PLAN).folder == campaign.folder
    with pytest.raises(SpecError, match=f"{NEWER}: begun with another frames, seed"):
        find_unfinished(tmp_path, "dnn", {**PLAN, "seed": 1})


def test_two_commands_do_not_work_on_one_campaign(tmp_path):
    campaign = create_campaign(tmp_path, "dnn", PLAN)
    with campaign.taken():
        campaign.begin_run("c1_1-8_r1")
        (campaign.folder / "c1_1-8_r1.partial" / "manifest.json").write_text('{"status": "complete"}')
        other = find_unfinished(tmp_path, "dnn", PLAN)
        with pytest.raises(ConflictError, match="works on this campaign"), other.taken():
            pass
        assert not campaign.is_done("c1_1-8_r1"), "what is under way was taken for a dead process's"
    with other.taken():
        assert campaign.is_done("c1_1-8_r1")


def test_two_campaigns_in_one_second_do_not_share_a_folder(tmp_path):
    assert create_campaign(tmp_path, "dnn", PLAN).folder != create_campaign(tmp_path, "dnn", PLAN).folder
