from __future__ import annotations

import json

import pandas as pd
import pytest
from campaign_folder import edit_lines, end_line, frame_line, write_run

from slicebed.errors import RunError
from slicebed.run.samples import frames_table, write_samples

FATES = "ccsiocF"


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "trial", "1", (1, 8), FATES)


def test_a_row_for_every_frame_with_its_end(run):
    run_dir, manifest = run
    table = frames_table(run_dir, manifest)
    assert list(table["frame_id"]) == list(range(7))
    assert list(table["end"]) == ["completed"] * 2 + ["dropped"] * 3 + ["completed", "failed"]
    assert table.loc[3, ["end_host", "end_stage", "end_reason"]].tolist() == ["edge", "inbound", "queue full"]
    assert table.loc[0, ["campaign", "run", "configuration", "cut", "repeat"]].tolist() == [
        "trial",
        "c1_1-8_r1",
        "1",
        "1-8",
        1,
    ]


def test_units_and_missing_values(run):
    run_dir, manifest = run
    table = frames_table(run_dir, manifest)
    assert table.loc[5, "captured_s"] == pytest.approx(0.5)
    assert table.loc[5, "latency_ms"] == pytest.approx(650.0)
    assert table.loc[5, "edge_compute_ms"] == pytest.approx(3.0)
    assert table.loc[5, "cloud_parts_in"] == 3
    assert pd.isna(table.loc[5, "client_parts_in"])
    assert pd.isna(table.loc[2, "edge_compute_ms"]), "dropped at the camera, never seen by the edge"
    assert pd.isna(table.loc[2, "labels_equal"])


def test_columns_are_those_of_the_contract(run):
    table = frames_table(*run)
    start = "campaign run configuration cut repeat frame_id end end_host end_stage end_reason latency_ms captured_s"
    start += " images labels_equal labels_correct max_abs_error max_rel_error"
    start += " checked early answered_by version placement"
    host = "receive_ms queue_wait_ms decode_ms compute_ms overhead_ms encode_ms send_queue_wait_ms send_ms"
    host += " transfer_ms transfer_bound_ms parts_in parts_out bytes_in bytes_raw_out bytes_out"
    expected = start.split() + [f"{name}_{column}" for name in ("client", "edge", "cloud") for column in host.split()]
    assert list(table.columns) == expected


def test_files_hold_the_same_table(run):
    run_dir, manifest = run
    table = frames_table(run_dir, manifest)
    pd.testing.assert_frame_equal(pd.read_parquet(run_dir / "samples.parquet"), table)
    text = pd.read_csv(run_dir / "samples.csv")
    assert list(text.columns) == list(table.columns)
    assert list(text["end"]) == list(table["end"])


def _set(kind, frame_id, **values):
    def change(records):
        for record in records:
            if record["kind"] == kind and record.get("frame_id") == frame_id:
                record.update(values)
        return records

    return change


def _without(kind, frame_id=None):
    return lambda records: [
        each for each in records if not (each["kind"] == kind and (frame_id is None or each["frame_id"] == frame_id))
    ]


def _with(line):
    return lambda records: [*records, line]


BROKEN = {
    "the last host never answered": ("cloud", _without("frame", 1), "completed, but not answered by cloud: frame 1"),
    "dropped elsewhere": (
        "edge",
        _set("frame", 3, stage="outbound"),
        "dropped at edge inbound .* not by that of edge: frame 3",
    ),
    "dropped by nobody": ("edge", _without("frame", 4), "dropped at edge outbound .* not by that of edge: frame 4"),
    "dropped at a stranger": (
        "client",
        _set("end", 3, end_host="fog"),
        "dropped at fog inbound .* not by that of fog: frame 3",
    ),
    "answered yet dropped": (
        "cloud",
        _with(frame_line("cloud", 3, "answered")),
        "answered by cloud, but dropped .*: frame 3",
    ),
    "dropped yet completed": (
        "edge",
        _set("frame", 0, left="dropped"),
        "dropped at edge by its account, but completed .*: frame 0",
    ),
    "never captured": (
        "edge",
        _with(frame_line("edge", 99, "sent")),
        "known to edge, but without an end at client: frame 99",
    ),
    "told twice": ("client", _with(end_line(5, "c", 1.0)), "told twice by client: frame 5"),
    "an end too few": ("client", _without("end", 5), "captured 6 against 7, completed 2 against 3"),
    "an answer that is another": (
        "client",
        _set("end", 0, max_rel_error=2e-5),
        r"1 of \d answers are not the whole model's: frame 0 .* differs by 2e-05 of its largest value",
    ),
    "a label that is another": ("client", _set("end", 0, labels_equal=0), "frame 0 has 0 of"),
    "no footer": ("client", _without("footer"), "the footer of client is missing"),
    "another footer": ("client", _set("footer", None, dropped=2), "the footer of client differ: dropped 3 against 2"),
}


@pytest.mark.parametrize(("host", "change", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_frames_that_do_not_add_up_are_an_error(run, host, change, says):
    run_dir, manifest = run
    edit_lines(run_dir, host, change)
    with pytest.raises(RunError, match=says) as caught:
        write_samples(run_dir, manifest)
    assert str(caught.value).startswith("run c1_1-8_r1: ")
    assert caught.value.exit_code == 7
    assert (run_dir / "samples.parquet").is_file(), "the samples that explain the error are kept"


def test_an_experiment_says_how_far_answers_may_be_off(run):
    run_dir, manifest = run
    edit_lines(run_dir, "client", _set("end", 0, max_rel_error=2e-5))
    manifest["spec"]["tolerance"] = 3e-5
    write_samples(run_dir, manifest)
    manifest["spec"]["tolerance"] = 1.5e-5
    with pytest.raises(RunError, match=r"differs by 2e-05 of its largest value \(1\.5e-05 is allowed\)"):
        write_samples(run_dir, manifest)


def test_answer_lost_on_its_way_back_is_a_failure_not_a_contradiction(run):
    run_dir, manifest = run
    edit_lines(run_dir, "cloud", _set("frame", 6, left="answered"))
    assert len(write_samples(run_dir, manifest)) == 7


def test_manifest_that_counts_otherwise_is_an_error(run):
    run_dir, manifest = run
    manifest["frames"]["dropped"] = 2
    with pytest.raises(RunError, match="its manifest differ: dropped 3 against 2"):
        write_samples(run_dir, manifest)


def test_only_a_few_of_many_frames_are_named(tmp_path):
    run_dir, manifest = write_run(tmp_path / "trial", "1", (1, 8), "c" * 30)
    edit_lines(run_dir, "cloud", _without("frame"))
    with pytest.raises(RunError, match="frames 0, 1, 2, 3, 4, 5, 6, 7 and 22 more"):
        write_samples(run_dir, manifest)


def test_missing_file_of_a_complete_run_is_an_error(run):
    run_dir, manifest = run
    (run_dir / "hosts" / "edge" / "samples.jsonl").unlink()
    with pytest.raises(RunError, match=r"edge/samples\.jsonl: samples of a complete run are missing"):
        frames_table(run_dir, manifest)


def test_files_of_swapped_hosts_are_an_error(run):
    run_dir, manifest = run
    edge = run_dir / "hosts" / "edge" / "samples.jsonl"
    edge.write_text((run_dir / "hosts" / "cloud" / "samples.jsonl").read_text())
    with pytest.raises(RunError, match=r"samples\.jsonl:1: samples of cloud, not of edge"):
        frames_table(run_dir, manifest)


def test_failed_run_keeps_what_there_is(run):
    """The edge died: no file of its own, the client's last line is cut short, one frame has no end."""
    run_dir, manifest = run
    manifest["status"] = "failed"
    (run_dir / "hosts" / "edge" / "samples.jsonl").unlink()
    edit_lines(run_dir, "client", lambda records: _without("footer")(_without("end", 5)(records)))
    client = run_dir / "hosts" / "client" / "samples.jsonl"
    client.write_text(client.read_text() + json.dumps(end_line(5, "c", 1.0))[:40])
    table = write_samples(run_dir, manifest)
    assert len(table) == 7
    assert pd.isna(table.loc[5, "end"])
    assert table["edge_compute_ms"].isna().all()
    assert table.loc[5, "cloud_compute_ms"] == pytest.approx(3.0)


def test_line_cut_short_in_the_middle_is_an_error_even_in_a_failed_run(run):
    run_dir, manifest = run
    manifest["status"] = "failed"
    edge = run_dir / "hosts" / "edge" / "samples.jsonl"
    lines = edge.read_text().splitlines()
    edge.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]))
    with pytest.raises(RunError, match=r"edge/samples\.jsonl:2: a sample cannot be read"):
        frames_table(run_dir, manifest)
