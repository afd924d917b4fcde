"""Samples of placements: columns by stage, transfers over two clocks, early exits, frames that a link gave up."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from placed_folder import BOUND_NS, MS, write_placed

from slicebed.errors import RunError
from slicebed.run.samples import frames_table


def test_stages_have_columns_of_their_own_and_the_slice_its_old_ones(tmp_path):
    table = frames_table(*write_placed(tmp_path / "trial", "sliced", 4))
    assert table.loc[0, "edge_compute_ms"] == pytest.approx(3.0)
    assert table.loc[0, "edge_slice2_queue_wait_ms"] == pytest.approx(2.0)
    assert table.loc[0, "edge_transformer_compute_ms"] == pytest.approx(3.0)
    assert "client_compute_ms" not in table, "the camera's host has no slice here"
    assert not any(column.startswith("cloud_") for column in table), "the cloud is not part of this placement"
    assert (table["placement"] == "sliced").all()


def test_a_transfer_is_free_of_the_clocks_offset_as_it_was_then(tmp_path):
    table = frames_table(*write_placed(tmp_path / "trial", "sliced", 10))
    assert table["client_transfer_ms"].tolist() == pytest.approx([15.0] * 10)
    assert table["client_transfer_bound_ms"].tolist() == pytest.approx([BOUND_NS / MS] * 10)
    assert table["edge_transfer_ms"].isna().all()
    assert table.loc[0, "client_bytes_raw_out"] == 2_000


def test_without_a_measured_clock_there_is_no_transfer(tmp_path):
    def silent(lines):
        return {host: [each for each in records if each["kind"] != "clock"] for host, records in lines.items()}

    table = frames_table(*write_placed(tmp_path / "trial", "sliced", 4, change=silent))
    assert table["client_transfer_ms"].isna().all()


def test_early_answers_are_counted_and_not_held_against_the_whole_model(tmp_path):
    run_dir, manifest = write_placed(tmp_path / "trial", "sliced", 10, early=4)
    table = pd.read_parquet(run_dir / "samples.parquet")
    assert table["early"].notna().sum() == 4
    assert table["answered_by"].eq("edge").all()
    assert table.loc[0, "edge_slice2_compute_ms"] != table.loc[0, "edge_slice2_compute_ms"]
    early = manifest["summary"]["early"]
    assert (early["frames"], early["share"], early["accuracy"]) == (4, 0.4, 1.0)
    assert early["labels_equal_share"] == 0.0
    assert early["by_exit"] == [{"host": "edge", "exit": "exit", "frames": 4}]
    assert manifest["summary"]["answers"]["frames_checked"] == 3


def test_what_was_not_checked_cannot_differ_and_what_was_must_not(tmp_path):
    def other_output(lines, frame_id):
        for record in lines["client"]:
            if record["kind"] == "end" and record["frame_id"] == frame_id:
                record["max_rel_error"] = 0.5
        return lines

    write_placed(tmp_path / "unchecked", "sliced", 4, change=lambda lines: other_output(lines, 1))
    with pytest.raises(RunError, match="1 of 2 answers are not the whole model's: frame 2 has 1 of 1 labels equal"):
        write_placed(tmp_path / "checked", "sliced", 4, change=lambda lines: other_output(lines, 2))
    _, manifest = write_placed(
        tmp_path / "lossy", "sliced", 4, codec="fp16", change=lambda lines: other_output(lines, 2)
    )
    assert manifest["summary"]["answers"]["lossy"]
    assert manifest["summary"]["answers"]["max_rel_error"] == 0.5


def _given_up(lines, left):
    """Frame 1 failed on its way to the edge, as the client tells it; the edge held it already."""
    for record in lines["client"]:
        if record["kind"] == "end" and record["frame_id"] == 1:
            record.update(end="failed", end_host="edge", end_stage="link", end_reason="broken", answered_by=None)
        if record["kind"] == "footer":
            record.update(completed=3, failed=1)
    for record in lines["edge"]:
        if record["kind"] == "frame" and record["frame_id"] == 1:
            record.update(left=left, stage="slice" if left == "dropped" else None)
    return lines


@pytest.mark.parametrize("left", ["answered", "dropped", "failed"])
def test_what_a_later_host_did_with_a_frame_that_a_link_gave_up_is_no_contradiction(tmp_path, left):
    run_dir, _ = write_placed(tmp_path / "trial", "sliced", 4, change=lambda lines: _given_up(lines, left))
    assert (pd.read_parquet(run_dir / "samples.parquet")["end"] == "failed").sum() == 1


def test_an_early_answer_must_be_of_the_host_that_is_named(tmp_path):
    def elsewhere(lines):
        for record in lines["client"]:
            if record["kind"] == "end" and record["frame_id"] == 0:
                record["answered_by"] = "client"
        return lines

    with pytest.raises(RunError, match="completed, but not answered by client: frame 0"):
        write_placed(tmp_path / "trial", "sliced", 4, early=1, change=elsewhere)


def test_usage_and_events_stand_beside_the_samples(tmp_path):
    run_dir, manifest = write_placed(tmp_path / "trial", "sliced", 4)
    usage = pd.read_csv(run_dir / "usage.csv")
    assert list(usage["host"]) == ["client", "edge"]
    assert manifest["summary"]["usage"]["edge"]["cpu_s"] == 2.0
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert {event["kind"] for event in events} == {"clock", "codec"}
    assert {event["host"] for event in events} == {"client"}
    (clock,) = manifest["summary"]["clocks"]
    assert (clock["host"], clock["next_host"], clock["readings"]) == ("client", "edge", 4)
    assert clock["offset_range_ms"] == pytest.approx(6.0)
