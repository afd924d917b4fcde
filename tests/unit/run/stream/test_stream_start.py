"""What Ctrl-C and failures leave of a stream, before its first frame and after."""

from __future__ import annotations

import json

import pytest

from slicebed.errors import InterruptedRunError, ProvisionError, RunError
from slicebed.run.store import create_campaign
from slicebed.run.stream.start import discarded_when_early
from slicebed.run.stream.timeline import BEGINS, Timeline


@pytest.fixture
def campaign(tmp_path):
    return create_campaign(tmp_path, "stream-cnn14", {"runs": []})


def test_ctrl_c_before_the_first_frame_leaves_no_folder(campaign, tmp_path):
    (campaign.begin_run("part1") / "log").write_text("prepared")
    with pytest.raises(KeyboardInterrupt), discarded_when_early(campaign, Timeline(lambda _: None)):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_second_ctrl_c_keeps_what_there_is_and_says_so(campaign):
    timeline = Timeline(lambda event: campaign.note(event.name))
    timeline.note(BEGINS)
    with pytest.raises(InterruptedRunError) as stopped, discarded_when_early(campaign, timeline):
        raise KeyboardInterrupt
    assert str(stopped.value) == (
        f"{campaign.name}: interrupted while it was being ended; what there was of its samples is kept"
    )
    kept = (campaign.folder / "journal.jsonl").read_text().splitlines()
    assert json.loads(kept[-1])["event"] == BEGINS


def refused(campaign, timeline, error):
    with pytest.raises(type(error)) as raised, discarded_when_early(campaign, timeline):
        raise error
    return str(raised.value)


def samples_of(campaign, text):
    host = campaign.begin_run("part1") / "hosts" / "edge"
    host.mkdir(parents=True)
    (host / "samples.jsonl").write_text(text)
    campaign.fail_run("part1")


@pytest.mark.parametrize("spool", ["", '{"kind": "header"}\n{"kind": "usage"}\n{"kind": "fra'])
def test_a_stream_that_fails_to_start_leaves_no_folder(campaign, tmp_path, spool):
    samples_of(campaign, spool)
    error = RunError("no tensor 'x:0'", where="host edge, stage prepare")
    assert refused(campaign, Timeline(lambda _: None), error) == "host edge, stage prepare: no tensor 'x:0'"
    assert not list(tmp_path.iterdir())


def test_samples_of_a_stream_that_failed_stay_and_are_told(campaign):
    samples_of(campaign, '{"kind": "header"}\n{"kind": "frame"}\n')
    said = refused(campaign, Timeline(lambda _: None), RunError("no answer", mend="see its log"))
    assert said == f"no answer; see its log; what there is of its samples: {campaign.folder}"
    assert (campaign.folder / "part1.failed-1" / "hosts" / "edge" / "samples.jsonl").is_file()


def test_a_stream_that_began_stays_and_says_where(campaign):
    timeline = Timeline(lambda _: None)
    timeline.note(BEGINS)
    assert refused(campaign, timeline, RunError("lost")).endswith(f"what there is of its samples: {campaign.folder}")
    assert campaign.folder.is_dir()


def test_the_record_that_an_error_names_stays(campaign):
    error = ProvisionError("playbook deploy failed", mend=f"see {campaign.folder}/ansible/deploy")
    assert refused(campaign, Timeline(lambda _: None), error) == str(error)
    assert campaign.folder.is_dir()


def test_another_error_leaves_the_folder_with_its_logs(campaign):
    with pytest.raises(OSError, match="disk"), discarded_when_early(campaign, Timeline(lambda _: None)):
        raise OSError("disk")
    assert campaign.folder.is_dir()
