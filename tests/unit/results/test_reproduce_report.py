"""A reproduction's folder, whole or not, as page, files and text on the terminal."""

from __future__ import annotations

import json
import re
import shutil
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from search_folder import SearchWritten

from slicebed.errors import SpecError
from slicebed.results.reproduce.material import read_material
from slicebed.results.reproduce.render import render_report
from slicebed.results.reproduce.report import COLUMNS, to_json, write_report
from slicebed.results.reproduce.statement import Verdict
from slicebed.run.reproduce_parts import TARGETS
from slicebed.run.reproduction import Reproduction

KEPT = Path(__file__).parents[3] / "results" / "reproduction" / "dnn_slicing-20261121T204744Z"
SESSIONS = {"strongman": None, "comm-slim": (2, 3, 4), "early-stop": (0, 1), "hybrid": (2, 3)}


def _state(folder, parts, targets=TARGETS):
    state = {name: {"status": status, "error": error, "seconds": 1.0} for name, status, error in parts}
    folder.mkdir(exist_ok=True)
    plan = {"kind": "reproduce", "targets": list(targets), "quick": True, "parts": state}
    (folder / "reproduce.json").write_text(json.dumps(plan))
    return Reproduction(folder)


def _search(folder, part, **more):
    home = folder / "parts" / part
    home.mkdir(parents=True)
    SearchWritten(home / f"{part}-1", **{"sessions": SESSIONS, "cloud": False, **more}).write()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("reproduced") / "reproduce-20261122T120000Z"
    parts = [(name, "whole", None) for name in ("dnn_slicing", "fig10", "whole")]
    _state(root, [*parts, ("fig4", "failed", "an agent <died>"), ("table5", "open", None)])
    _search(root, "fig10", conditions=("mid", "high"))
    _search(root, "whole", cloud=True, cuts=(), sessions={"strongman": None})
    shutil.copytree(KEPT, root / "parts" / "dnn_slicing" / KEPT.name)
    return root


@pytest.fixture(scope="module")
def report(folder):
    return write_report(Reproduction(folder))


def test_what_was_measured_is_read_and_what_not_is_said(folder):
    material = read_material(Reproduction(folder))
    assert sorted(material.campaigns) == ["dnn_slicing", "fig10", "whole"]
    assert material.notes == ("fig4: an agent <died>", "table5: not run")
    problems = material.searches.problems()
    assert list(problems) == [("Inception V3", "mid"), ("Inception V3", "high")]
    cuts = problems["Inception V3", "mid"]
    assert [each.cut for each in cuts] == ["conv_1", "pool_3", "mixed_5", "mixed_7", "logits"]
    assert all(each.into_cloud_bytes > 0 and each.compute_ms["edge"] > 0 and each.transfer_ms > 0 for each in cuts)
    assert ("Inception V3", "mid") in material.searches.whole("cloud")
    # Of whole models strongman has nothing to evaluate: no row of Table 5 is made from it.
    assert len(material.searches.decisions) == 2 * len(SESSIONS)
    assert len(material.splits) == 24


def test_every_section_is_there_with_a_verdict_for_each_statement(report):
    assert [section.target for section in report.sections] == list(TARGETS)
    assert all(section.statements for section in report.sections)
    assert sum(report.verdicts.values()) == sum(len(section.statements) for section in report.sections)
    assert report.verdicts[Verdict.HOLDS] > 0


def test_files(folder, report):
    names = {path.name for path in (folder / "tables").iterdir()}
    assert names == {"verdicts.csv", *(f"{section.name}.csv" for section in report.sections)}
    verdicts = pd.read_csv(folder / "tables" / "verdicts.csv")
    assert list(verdicts.columns) == list(COLUMNS)
    assert set(verdicts["verdict"]) == {"holds", "does not hold", "not decidable"}
    assert (folder / "plots" / "couper_fig9.svg").is_file()
    assert (folder / "parts" / "fig10" / "fig10-1" / "report.html").is_file()


def test_json(folder, report):
    told = json.loads(json.dumps(to_json(Reproduction(folder), report), allow_nan=False))
    assert [section["name"] for section in told["sections"]] == [section.name for section in report.sections]
    assert [len(section["rows"]) for section in told["sections"]] == [len(each.table) for each in report.sections]
    statements = [each for section in told["sections"] for each in section["statements"]]
    assert {each["verdict"] for each in statements} == {"holds", "does not hold", "not decidable"}
    assert told["sections"][0]["rows"][3]["candidates"] == 5


def test_the_page_needs_nothing_but_itself(folder, report):
    page = (folder / "index.html").read_text()
    for section in report.sections:
        assert f'id="{section.name}"' in page
    assert "an agent &lt;died&gt;" in page
    assert "<died>" not in page
    assert page.count("data:image/svg+xml;base64,") >= 5
    assert not re.search(r'(?:src|href)="https?:', page)
    assert all((folder / link).is_dir() for link in re.findall(r'href="([^"]+)"', page))


def test_the_terminal_is_120_columns_wide(report):
    out = StringIO()
    render_report(Console(file=out, width=120), report)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    text = "\n".join(lines)
    assert "Couper, Table 5" in text
    assert "Not measured: fig4: an agent <died>" in text
    assert re.search(r"Statements  \d+ holds, \d+ does not hold, \d+ not decidable", text)


def test_one_target_alone(tmp_path):
    found = write_report(_state(tmp_path / "reproduce-x", [("fig4", "open", None)], targets=("couper-fig4",)))
    assert [section.target for section in found.sections] == ["couper-fig4"]
    assert found.notes == ("fig4: not run",)
    assert found.verdicts[Verdict.OPEN] == len(found.sections[0].statements)


def test_a_campaign_that_cannot_be_read_leaves_the_others(tmp_path):
    root = tmp_path / "reproduce-x"
    reproduction = _state(root, [("fig10", "whole", None), ("fig4", "whole", None)])
    _search(root, "fig10")
    _search(root, "fig4", models=("resnet50_v2",), conditions=("table3",))
    (root / "parts" / "fig4" / "fig4-1" / "tables" / "cells.csv").write_text("nonsense\n1\n")
    report = write_report(reproduction)
    assert len(report.notes) == 1
    assert report.notes[0].startswith("fig4: ")
    assert len(next(each for each in report.sections if each.name == "couper_fig10_12").table) == 4


def test_another_folder_is_none(tmp_path):
    with pytest.raises(SpecError, match="no reproduction"):
        write_report(Reproduction(tmp_path))
