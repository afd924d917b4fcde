"""`slicebed reproduce` as a user meets it, short of a testbed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
RUN = (sys.executable, "-c", "from slicebed.cli import main; main()", "reproduce")


def reproduce(*arguments):
    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_the_plan_is_computed_and_fits_the_terminal():
    quick, part = reproduce("all", "--quick", "--plan"), reproduce("dnn-slicing", "--quick", "--plan")
    assert quick.returncode == part.returncode == 0
    lines = quick.stdout.splitlines()
    assert max(map(len, lines)) <= 120
    minutes = [float(found) for found in re.findall(r" (\d+\.\d)\s*$", quick.stdout, flags=re.MULTILINE)]
    assert minutes[-1] == pytest.approx(sum(minutes[:-1]), abs=0.5)
    assert minutes[-1] < 45
    assert "experiments/reproduce/couper_fig10.yml" in quick.stdout
    assert part.stdout.count("experiments/") == 1


def test_the_plan_names_the_models_that_are_to_be_frozen_first(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = reproduce("couper-table5", "--quick", "--plan")
    assert "inception_v3, inception_resnet_v2" in done.stdout
    # Of the full form alone.
    assert "vgg16" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    told = json.loads(reproduce("couper-table5", "--quick", "--plan", "--json").stdout)["freeze_first"]
    assert "pnasnet5_large" in told
    assert len(told) == len(set(told)) == 5


def test_the_plan_is_told_as_json():
    done = reproduce("dnn-slicing", "--quick", "--plan", "--json")
    (part,) = json.loads(done.stdout)["parts"]
    assert part["experiment"] == "experiments/dnn_slicing.yml"
    assert part["cells"] > 0
    assert part["seconds"] > 0


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"targets": ["couper-fig4"], "parts": {"fig4": {"status": "open", "error": None}}}, "quick missing"),
        ({"targets": ["couper-fig4"], "quick": True, "parts": {"fig4": {"status": "open"}}}, "parts.fig4 missing"),
    ],
)
def test_a_state_that_is_not_whole_is_one_line(tmp_path, state, says):
    (tmp_path / "reproduce.json").write_text(json.dumps({"kind": "reproduce", **state}))
    report = (*RUN[:-1], "report", str(tmp_path))
    done = subprocess.run(report, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["couper-fig7"], 2, "allowed: couper-table5"),
        (["all", "-i", "nowhere.yml"], 3, "nowhere.yml: no such inventory"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(tmp_path, arguments, code, says):
    done = reproduce(*arguments, "--results", str(tmp_path))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("slicebed: ")
    assert says in last
    assert list(tmp_path.iterdir()) == []


def test_a_reproductions_folder_gives_its_page_again(tmp_path):
    parts = {"fig4": {"status": "open", "error": None, "seconds": 0.0}}
    state = {"kind": "reproduce", "targets": ["couper-fig4"], "quick": True, "parts": parts}
    (tmp_path / "reproduce.json").write_text(json.dumps(state))
    report = (*RUN[:-1], "report", str(tmp_path))
    done = subprocess.run([*report, "--json"], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert json.loads(done.stdout)["notes"] == ["fig4: not run"]
    assert "Couper, Figure 4" in (tmp_path / "index.html").read_text()
