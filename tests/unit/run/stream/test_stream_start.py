"""What Ctrl-C leaves of a stream, before its first frame and after."""

from __future__ import annotations

import json

import pytest

from slicebed.errors import InterruptedRunError
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


def test_another_error_leaves_the_folder_with_its_logs(campaign):
    with pytest.raises(OSError, match="disk"), discarded_when_early(campaign, Timeline(lambda _: None)):
        raise OSError("disk")
    assert campaign.folder.is_dir()
