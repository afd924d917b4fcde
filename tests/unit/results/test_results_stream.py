"""The report of a stream: each version of its cut has figures of its own, and what happened when is told."""

from __future__ import annotations

import json
from io import StringIO

import pandas as pd
import pytest
from placed_folder import write_placed, write_stream
from rich.console import Console

from slicebed.results.campaign import read_campaign
from slicebed.results.plots import write_plots
from slicebed.results.render import render
from slicebed.results.tables import campaign_table, table_of, to_json, write_tables

RUN = "ctestbed_sliced_r1"


@pytest.fixture
def folder(tmp_path):
    write_stream(tmp_path / "stream", (12, 17), ("8", "9", "8"))
    return tmp_path / "stream"


def _printed(folder) -> str:
    out = StringIO()
    campaign = read_campaign(folder)
    render(Console(file=out, width=120), campaign, table_of(campaign))
    return out.getvalue()


def test_a_row_for_every_version_of_the_cut_in_their_order(folder):
    table = campaign_table(folder)
    assert list(table["stretch"]) == [f"{RUN} v0", f"{RUN} v1", f"{RUN} v2"]
    assert list(table["cut"]) == ["8", "9", "8"]
    assert list(table["captured"]) == list(table["completed"]) == list(table["latency_n"]) == [12, 5, 3]
    assert list(table["early_share"]) == pytest.approx([5 / 12, 0.0, 0.0])
    assert table["images"].sum() == 10, "of every other frame"


def test_samples_have_the_cut_that_their_frame_went_through(folder):
    samples = pd.read_parquet(folder / RUN / "samples.parquet")
    assert samples.groupby("version")["cut"].unique().map(list).tolist() == [["8"], ["9"], ["8"]]


def test_a_version_without_frames_has_no_row(tmp_path):
    write_stream(tmp_path / "stream", (20,), ("8", "9"))
    assert list(campaign_table(tmp_path / "stream")["cut"]) == ["8"]


def test_what_is_said_of_codecs_and_exits_is_of_the_version_that_had_them(folder):
    text = " ".join(_printed(folder).split())
    assert f"Codec of client ({RUN} v0, 8): lossless" in text
    assert text.count("Codec of client") == 1
    assert f"Early exits ({RUN} v0, 8): 5 frames, 41.7% of those completed" in text


def test_the_timeline_is_on_the_screen_in_a_table_and_in_json(folder):
    text = _printed(folder)
    assert "Timeline" in text
    assert "0.5 s  cut switched: version 1, first_frame 12" in text
    assert {path.name for path in write_tables(folder)} == {"placements.csv", "timeline.csv"}
    events = pd.read_csv(folder / "tables" / "timeline.csv")
    assert list(events["event"]) == ["stream begins", "cut switched", "cut switched"]
    campaign = read_campaign(folder)
    assert to_json(campaign, table_of(campaign))["timeline"][1]["first_frame"] == 12


def test_the_plots_show_every_version_and_latency_over_time(folder):
    names = {path.name for path in write_plots(folder)}
    assert {"placements_testbed.svg", f"timeline_{RUN}.svg"} < names
    bars = (folder / "plots" / "placements_testbed.svg").read_text()
    assert f"{RUN} v2" in bars
    over_time = (folder / "plots" / f"timeline_{RUN}.svg").read_text()
    for words in ("v0: 8 (12 of 12 frames)", "v1: 9 (5 of 5 frames)", "latency over time"):
        assert words in over_time


def test_a_part_in_which_an_agent_was_started_again_is_shown_and_called_so(folder):
    path = folder / RUN / "manifest.json"
    manifest = json.loads(path.read_text()) | {"status": "rejoined", "rejoined": ["edge"]}
    path.write_text(json.dumps(manifest))
    text = " ".join(_printed(folder).split())
    assert f"{RUN} v0" in text
    assert text.count(f"In {RUN} the agent of edge was started again") == 1
    assert "Not in the tables" not in text


def test_what_is_no_stream_has_no_timeline(tmp_path):
    write_placed(tmp_path / "trial", "client", 4)
    assert "Timeline" not in _printed(tmp_path / "trial")
    assert [path.name for path in write_tables(tmp_path / "trial")] == ["placements.csv"]
