from __future__ import annotations

import json
import math
from io import StringIO

import pandas as pd
import pytest
from campaign_folder import EXPERIMENT, write_run
from rich.console import Console

from slicebed.errors import RunError, SpecError
from slicebed.results.campaign import read_campaign
from slicebed.results.plots import write_plots
from slicebed.results.render import render
from slicebed.results.tables import COLUMNS, campaign_table, table_of, to_json, write_tables


@pytest.fixture
def folder(tmp_path):
    campaign = tmp_path / "trial"
    write_run(campaign, "1", (1, 10), "c" * 20 + "siii" + "o", total_time_s=40.0)
    write_run(campaign, "1", (1, 8), "c" * 20 + "i" * 5, total_time_s=50.0)
    write_run(campaign, "1", (1, 8), "c" * 25, repeat=2, total_time_s=52.0)
    write_run(campaign, "2", (3, 11), "i" * 25)
    write_run(campaign, "3", (3, 11), "cc", status="failed", samples=False)
    (campaign / "c3_1-8_r1.partial").mkdir()
    (campaign / "tables").mkdir()
    return campaign


def _printed(folder, width=120) -> str:
    out = StringIO()
    campaign = read_campaign(folder)
    render(Console(file=out, width=width), campaign, table_of(campaign))
    return out.getvalue()


def test_one_row_per_configuration_and_cut_over_its_repeats(folder):
    table = campaign_table(folder)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["configuration"], table["cut"], strict=True)) == [("1", "1-8"), ("1", "1-10"), ("2", "3-11")]
    row = table.iloc[0]
    assert (row["runs"], row["captured"], row["completed"], row["dropped"], row["failed"]) == (2, 50, 45, 5, 0)
    assert row["total_time_s"] == pytest.approx(51.0)
    assert row["frame_drop_rate"] == pytest.approx(0.1)
    assert row["frame_drop_rate_low"] < 0.1 < row["frame_drop_rate_high"]
    assert row["split"] == "Conv2D - BatchNormalization"


def test_latency_figures_come_with_their_count(folder):
    row = campaign_table(folder).iloc[1]
    assert row["latency_n"] == 20
    assert row["latency_median_ms"] == pytest.approx(695.0)
    assert (row["latency_median_low_ms"], row["latency_median_high_ms"]) == (650.0, 740.0)
    assert row["latency_p95_ms"] == pytest.approx(780.5)


def test_places_of_drops_and_correctness(folder):
    row = campaign_table(folder).iloc[1]
    assert row["dropped_where"] == "edge inbound 3, client source 1, edge outbound 1"
    assert row["images"] == 20 * 16
    assert row["labels_equal_share"] == 1.0
    assert row["accuracy"] == pytest.approx(15 / 16)
    assert row["max_abs_error"] == pytest.approx(2e-7)


def test_published_figures_stand_beside(folder):
    table = campaign_table(folder)
    assert table["published_time_s"].tolist() == [49.7454, 49.7301, 47.8205]
    assert table["published_drop_rate"].tolist() == [0.18, 0.34, 0.60]


def test_other_conditions_under_the_same_name_are_not_compared(tmp_path):
    spec = EXPERIMENT.to_plain()
    spec["configurations"][0]["hosts"]["cloud"]["latency_us"] = 1
    write_run(tmp_path / "other", "1", (1, 8), "c" * 10, spec=spec)
    assert campaign_table(tmp_path / "other")["published_time_s"].isna().all()
    assert "paper" not in _printed(tmp_path / "other")


def test_cut_that_the_paper_did_not_measure_is_not_compared(tmp_path):
    write_run(tmp_path / "other", "1", (2, 8), "c" * 10)
    assert campaign_table(tmp_path / "other")["published_time_s"].isna().all()


def test_tables_are_named_as_the_papers(folder):
    written = write_tables(folder)
    assert [path.name for path in written] == ["table3.csv", "table4.csv"]
    table = pd.read_csv(written[0])
    assert tuple(table.columns) == COLUMNS
    assert list(table["cut"]) == ["1-8", "1-10"]


def test_other_configurations_have_tables_of_their_own_name(tmp_path):
    spec = EXPERIMENT.to_plain()
    spec["configurations"][0]["name"] = "lossy"
    write_run(tmp_path / "other", "lossy", (1, 8), "c" * 10, spec=spec)
    assert [path.name for path in write_tables(tmp_path / "other")] == ["table_lossy.csv"]


def test_json_is_plain_and_names_campaign_and_wire(folder):
    campaign = read_campaign(folder)
    value = json.loads(json.dumps(to_json(campaign, table_of(campaign)), allow_nan=False))
    assert (value["campaign"], value["wire"]) == ("trial", "vde")
    assert [row["cut"] for row in value["rows"]] == ["1-8", "1-10", "3-11"]
    assert value["rows"][0]["dropped_where"] == [{"host": "edge", "stage": "inbound", "frames": 5}]
    assert value["rows"][2]["latency_median_ms"] is None
    assert value["rows"][2]["frame_drop_rate"] == 1.0
    assert [(run["run"], run["status"]) for run in value["unfinished"]] == [
        ("c3_1-8_r1", "partial"),
        ("c3_3-11_r1", "failed"),
    ]


def test_terminal_tables_fit_and_say_it_all(folder):
    text = _printed(folder)
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "Configuration 1 beside the paper's Table 3" in text
    assert "wire vde" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("1-8"))
    for cell in ("Conv - BNorm", "51.0", "49.7", "0.10", "0.18", "45/50"):
        assert cell in row
    assert "…" not in text, "no heading or figure is cut off"
    assert "Not in the tables" in text
    assert "  c3_3-11_r1 failed" in text
    assert "  c3_1-8_r1 partial" in text


def test_failed_attempts_are_told_with_their_error_and_whether_they_were_repeated(folder):
    killed, manifest = write_run(folder, "3", (3, 9), "cc", status="failed", samples=False)
    (killed / "manifest.json").write_text(json.dumps(manifest | {"error": "host edge: the agent died at slice [9]"}))
    killed.rename(folder / "c3_3-9_r1.failed-1")
    (folder / "c1_1-8_r1.failed-1").mkdir()
    attempts = {each.run: each for each in read_campaign(folder).unfinished}
    assert attempts["c1_1-8_r1"].repeated
    assert not attempts["c3_3-9_r1"].repeated
    text = _printed(folder)
    assert "c3_3-9_r1 failed: host edge: the agent died at slice [9]" in text
    assert "c1_1-8_r1 failed, completed since: cut off before it could say why" in text


def test_total_times_say_what_paces_them(folder):
    said = " ".join(_printed(folder).split())
    assert "25 frames at 10 a second here, 50 at about one a second in the paper" in said


def test_the_summary_accounts_for_every_frame(folder):
    table = campaign_table(folder)
    counts = [int(table[name].sum()) for name in ("captured", "completed", "dropped", "failed")]
    said = "{} frames captured = {} completed + {} dropped + {} failed".format(*counts)
    assert said in " ".join(_printed(folder).split())


def test_failed_frames_stand_out(tmp_path):
    write_run(tmp_path / "other", "1", (1, 8), "cccccccF")
    assert "1 frame(s) failed." in _printed(tmp_path / "other")


def test_campaign_without_a_complete_run(tmp_path):
    write_run(tmp_path / "none", "1", (1, 8), "c", status="failed", samples=False)
    assert campaign_table(tmp_path / "none").empty
    assert write_tables(tmp_path / "none") == ()
    assert write_plots(tmp_path / "none") == ()
    assert "No complete run yet." in _printed(tmp_path / "none")


def test_no_such_campaign(tmp_path):
    with pytest.raises(SpecError, match="no such campaign"):
        campaign_table(tmp_path / "nothing")


def test_finished_run_without_samples_is_an_error(folder):
    (folder / "c1_1-8_r1" / "samples.parquet").unlink()
    with pytest.raises(RunError, match="c1_1-8_r1: samples of a finished run cannot be read"):
        campaign_table(folder)


def test_plots_show_what_was_measured_beside_what_was_published(folder):
    written = write_plots(folder)
    assert [path.name for path in written] == [
        *("figure4.svg", "figure4.png", "figure5.svg", "figure5.png"),
        *("latency.svg", "latency.png"),
    ]
    for path in written[1::2]:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000
    words = written[0].read_text()
    for word in ("1-8", "1-10", "Conv2D", "total time, paper", "frame drop rate, paper", "wire vde", "n = 25 to 50"):
        assert word in words


def test_same_campaign_gives_the_same_plot(folder):
    first = [path.read_bytes() for path in write_plots(folder) if path.suffix == ".svg"]
    second = [path.read_bytes() for path in write_plots(folder) if path.suffix == ".svg"]
    assert first == second


def test_nothing_completed_can_still_be_shown(tmp_path):
    write_run(tmp_path / "other", "2", (1, 8), "i" * 10)
    row = campaign_table(tmp_path / "other").iloc[0]
    assert math.isnan(row["latency_median_ms"])
    assert row["frame_drop_rate"] == 1.0
    assert len(write_plots(tmp_path / "other")) == 4
    assert "0/10" in _printed(tmp_path / "other")
