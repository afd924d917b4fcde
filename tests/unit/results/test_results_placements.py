"""The report of an experiment with placements: where a frame's time goes, as Couper's Figures 2 and 4 show it."""

from __future__ import annotations

import math
from io import StringIO

import pandas as pd
import pytest
from placed_folder import write_placed
from rich.console import Console

from slicebed.results.campaign import read_campaign
from slicebed.results.placements import parts_of
from slicebed.results.plots import write_plots
from slicebed.results.render import render
from slicebed.results.tables import campaign_table, table_of, to_json, write_tables


@pytest.fixture
def folder(tmp_path):
    write_placed(tmp_path / "trial", "sliced", 20, early=5, cut=(8,))
    write_placed(tmp_path / "trial", "client", 20)
    return tmp_path / "trial"


def _printed(folder) -> str:
    out = StringIO()
    campaign = read_campaign(folder)
    render(Console(file=out, width=120), campaign, table_of(campaign))
    return out.getvalue()


def test_a_row_for_every_placement_in_the_experiments_order(folder):
    table = campaign_table(folder)
    assert list(table["placement"]) == ["client", "sliced"]
    assert list(table["chain"]) == ["client", "client > edge"]
    assert list(table["cut"]) == ["whole", "8"]
    assert table["frame_drop_rate"].tolist() == [0.0, 0.0]
    assert table["early_share"].tolist() == [0.0, 0.25]


def test_parts_of_the_way_are_means_of_all_completed_frames(folder):
    client, sliced = campaign_table(folder).to_dict("records")
    assert (client["camera_queue_ms"], client["transformer_ms"], client["client_slice_ms"]) == (2.0, 3.0, 3.0)
    assert client["other_queues_ms"] == 4.0
    assert math.isnan(client["client_edge_transfer_ms"])
    # Encoding 2, on its way 15, decoding 1.
    assert sliced["client_edge_transfer_ms"] == pytest.approx(18.0)
    # Two slices of 3 ms each; a quarter of the frames answered before the second.
    assert sliced["edge_slice_ms"] == pytest.approx(3.0 + 0.75 * 3.0)
    assert sliced["exit_ms"] == pytest.approx(3.0)
    assert sliced["classifier_ms"] == pytest.approx(0.75 * 3.0)


def test_parts_sum_to_the_latency_with_what_the_way_back_took(folder):
    table = campaign_table(folder)
    parts = parts_of(table)
    assert parts[-1] == "way_back_and_rest_ms"
    assert table[parts].sum(axis=1).tolist() == pytest.approx([50.0, 50.0])
    assert table.loc[0, "way_back_and_rest_ms"] == pytest.approx(50.0 - 15.0)


def test_files_and_json(folder):
    (path,) = write_tables(folder)
    assert path.name == "placements.csv"
    assert list(pd.read_csv(path)["placement"]) == ["client", "sliced"]
    campaign = read_campaign(folder)
    rows = to_json(campaign, table_of(campaign))["rows"]
    assert rows[0]["client_edge_transfer_ms"] is None
    assert rows[1]["codec"] == "auto: lossless"


def test_the_plot_stacks_the_parts(folder):
    svg, png = write_plots(folder)
    assert (svg.name, png.name) == ("placements_testbed.svg", "placements_testbed.png")
    text = svg.read_text()
    for words in (
        "camera queue",
        "edge slice",
        "client edge transfer",
        "way back and rest",
        "frame drop rate, 95 % interval",
        "sliced",
    ):
        assert words in text


def test_the_terminal_says_where_time_goes_which_codec_and_what_exits_did(folder):
    text = _printed(folder)
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "client > edge" in text
    assert "Codec of client (sliced, 8): lossless: 1.9 times shorter" in text
    assert "Early exits (sliced, 8): 5 frames, 25.0% of those completed; accuracy 100.0%, of the others 100.0%" in text
    assert "sliced 8" in text
    assert "10/10" in text, "labels that were checked"
    assert "a link is encoding + transfer + decoding" in " ".join(text.split())


def test_what_a_lossy_codec_does_to_answers_is_printed(tmp_path):
    write_placed(tmp_path / "lossy", "sliced", 20, cut=(8,), codec="uint8")
    assert "Codec uint8 (sliced, 8): 100.0% of 10 labels as the whole model's, outputs within 1e-07" in _printed(
        tmp_path / "lossy"
    )
