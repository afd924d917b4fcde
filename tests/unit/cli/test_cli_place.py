"""`slicebed model place` as a user meets it: real profiles of a small model, and the same with times that are known."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from small_graphs import classifier

from slicebed.cli import main

FUSED = ("first", "normal/product", "normal", "stem")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def model(folder):
    return classifier(folder / "classifier.pb")


@pytest.fixture
def run(model, capsys):
    """The command line within this process; a process of its own each time would take a second."""

    def place(*arguments, code=0):
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                main(["model", "place", str(model), *map(str, arguments)])
        finally:
            signal.signal(signal.SIGTERM, handler)
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        return said

    return place


@pytest.fixture(scope="module")
def measured(folder, model):
    out = folder / "measured.json"
    command = [sys.executable, "-m", "slicebed_agent", "profile", str(model), "--out", str(out), "--operators"]
    subprocess.run([*command, "--repeats", "3"], capture_output=True, check=True)
    return out


@pytest.fixture
def told(measured, tmp_path):
    """A profile with the times given, in seconds, and none of the other operators."""

    def write(name, times=None, **changes):
        row = json.loads(measured.read_text())
        for each in row["operators"]["rows"]:
            each["time_s"]["median"] = 0.0 if times is None else float(times.get(each["name"], 0))
        row["whole"]["time_s"]["median"] = float(sum((times or {}).values()))
        row.update(changes)
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(row))
        return path

    return write


def answer(run, *arguments):
    return json.loads(run(*arguments, "--json").out)


def test_measured_profiles_give_a_placement(run, measured):
    found = answer(run, "--near", measured, "--far", measured, "--rate", "100 Mbit/s", "--rtt", "20 ms")
    # The same host twice: sending cannot pay.
    assert found["best"]["tensors"] == []
    assert found["best"]["split_point"] is None
    assert found["best"]["time_s"] == pytest.approx(found["near"]["whole_s"])
    assert found["link"] == {"rate_bit_per_s": 100_000_000, "rtt_us": 20_000}
    assert found["best"]["near"][0] == "input"
    assert found["best"]["far"] == []
    text = run("--near", measured, "--far", measured, "--rate", "100 Mbit/s").out
    assert "sent: nothing" in text
    assert "best split point" in text


def test_the_best_is_the_split_point_that_pays(run, told):
    near = told("near", {"stem": 0.5, "joined": 0.25, "body": 1, "logits": 9})
    far = told("far", {"stem": 9, "joined": 0.5, "body": 0.125, "logits": 0.125})
    found = answer(run, "--near", near, "--far", far, "--rate", "32768 bit/s", "--rtt", "125 ms")
    best = found["best"]
    assert (best["split_point"], best["bytes_per_frame"]) == ("joined", 8 * 8 * 16 * 4)
    assert best["tensors"][0]["name"] == "joined:0"
    assert (best["near_s"], best["link_s"], best["far_s"]) == pytest.approx((0.75, 1.125, 0.25))
    assert best["time_s"] == pytest.approx(2.125)
    assert best["near"][-1] == "joined"
    assert best["far"][0] == "body"
    assert found["single"]["split_point"] == "joined"
    assert found["all_near"]["time_s"] == pytest.approx(10.75)
    assert found["all_far"]["time_s"] == pytest.approx(9.75 + 0.125 + 8 * 8 * 3 * 4 / 4096)
    assert (found["all_near"]["operators_far"], found["all_far"]["operators_near"]) == (0, 1)


def test_tensors_of_several_branches_are_a_split_point_where_the_order_has_one(run, told):
    free = ("--rate", "1 Gbit/s")
    right, left = told("right", {"right": 9, "body": 1}), told("left", {"left_out": 9, "body": 1})
    found = answer(run, "--near", right, "--far", left, *free)
    assert found["best"]["split_point"] == "stem+left_out"
    assert [tensor["name"] for tensor in found["best"]["tensors"]] == ["stem:0", "left_out:0"]
    assert found["best"]["time_s"] == pytest.approx(1 + 2 * 4096 * 8 / 1e9)
    assert found["single"]["time_s"] > 9

    found = answer(run, "--near", left, "--far", right, *free)
    assert found["best"]["split_point"] is None
    assert [tensor["name"] for tensor in found["best"]["tensors"]][1:] == ["right:0"]
    assert "no split point" in run("--near", left, "--far", right, *free).out


def test_what_one_kernel_does_is_not_parted(run, told):
    """`stem` bears the time of the convolution before it, which alone would look free at the near host."""
    near, far = told("near", {"stem": 9, "body": 1}), told("far", {"stem": 2, "body": 1})
    best = answer(run, "--near", near, "--far", far, "--rate", "1 Gbit/s")["best"]
    assert set(FUSED) <= set(best["far"])
    assert best["near"] == ["input"]


def test_times_are_stretched_to_the_whole_that_was_measured(run, told):
    near = told("near", {"stem": 1, "logits": 2})
    row = json.loads(near.read_text())
    row["whole"]["time_s"]["median"] = 6.0
    near.write_text(json.dumps(row))
    found = answer(run, "--near", near, "--far-scale", "0.25", "--rate", "1 Gbit/s")
    assert found["near"]["stretch"] == pytest.approx(2.0)
    assert found["all_near"]["time_s"] == pytest.approx(6.0)
    assert found["all_far"]["far_s"] == pytest.approx(1.5)
    assert found["far"] == {**found["near"], "scale": 0.25, "whole_s": 1.5}
    assert "times 0.25 as asked, not measured" in run("--near", near, "--far-scale", "0.25", "--rate", "1 Gbit/s").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--far", "{near}", "--rate", "50mbit"],
            '--rate: unit "mbit" is not a unit of rate; allowed: a number and one',
        ),
        (["--far", "{near}", "--rate", "50"], '--rate: "50" is not a rate'),
        (["--far", "{near}", "--rate", "0 Mbit/s"], "--rate: a rate of 0 bit/s; give one above 0"),
        (["--far", "{near}", "--rate", "-1 Mbit/s"], "--rate: a rate of -1000000 bit/s"),
        (["--far", "{near}", "--rate", "1 Mbit/s", "--rtt", "fast"], '--rtt: "fast" is not a duration'),
        (["--far", "{near}", "--rate", "1 Mbit/s", "--rtt", "-1 ms"], "--rtt: a round trip of -1000 us"),
        (["--rate", "1 Mbit/s"], "which far host?; give --far FAR.json, or --far-scale"),
        (["--far", "{near}", "--far-scale", "1", "--rate", "1 Mbit/s"], "which far host?"),
        (["--far-scale", "0", "--rate", "1 Mbit/s"], "--far-scale: scale 0.0"),
        (["--far-scale", "nan", "--rate", "1 Mbit/s"], "--far-scale: scale nan"),
        (["--far", "{folder}/none.json", "--rate", "1 Mbit/s"], "none.json: cannot read it"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(run, told, tmp_path, arguments, said):
    near = told("near", {"stem": 1})
    given = [each.format(near=near, folder=tmp_path) for each in arguments]
    said_by_it = run("--near", near, *given, code=2).err
    assert len(said_by_it.splitlines()) == 1
    assert said in said_by_it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"graph_sha256": "ab" * 32, "model": "other"},
            "a profile of other with weights file (graph abababababab), not",
        ),
        (
            {"operators": None},
            "the profile has no times of operators; profile again: slicebed-agent profile MODEL --op",
        ),
        ({"format": 2}, "not a profile"),
        ({"operators": {"rows": []}}, "not a profile"),
    ],
)
def test_a_profile_that_does_not_serve_is_refused(run, told, changes, said):
    near, far = told("near", {"stem": 1}), told("far", {"stem": 1}, **changes)
    said_by_it = run("--near", near, "--far", far, "--rate", "1 Mbit/s", code=2).err
    assert said_by_it.startswith(f"slicebed: {far}: {said}")
    assert len(said_by_it.splitlines()) == 1


def test_damaged_profiles_are_refused(run, told):
    link = ("--rate", "1 Mbit/s")
    near, far = told("near", {"stem": 1}), told("far", {"stem": 1})
    row = json.loads(far.read_text())
    kept = [each for each in row["operators"]["rows"] if each["name"] != "right"]
    for damage, said in (
        (far.read_text()[:-100], "not a profile"),
        (json.dumps({**row, "settings": {**row["settings"], "batch": 4}}), "a profile of 4 frames at a time"),
        (json.dumps({**row, "operators": {**row["operators"], "rows": kept}}), "operator right has no time at the sec"),
    ):
        far.write_text(damage)
        assert said in run("--near", near, "--far", far, *link, code=2).err
    assert "times are not above 0" in run("--near", told("far"), "--far", near, *link, code=2).err
