"""The referee's page, plots and terminal: everything is there, fits, and holds names as text alone."""

from __future__ import annotations

import base64
import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from campaign_folder import write_run
from rich.console import Console
from search_folder import SearchWritten

from slicebed.results.referee import write_report
from slicebed.results.referee.tables import referee_of
from slicebed.results.referee.terminal import show

HOSTILE = '<script>alert("1")</script>'
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "couper"
    attempts = {2: ("invalid", True), 4: ("failed", False)}
    written = SearchWritten(path, conditions=("low", "high"), attempts=attempts).write()
    assert write_report(written) == path / "report.html"
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "[bold]$x_1$"
    SearchWritten(
        path, models=(f"[red]m[/red]$\\frac{HOSTILE}",), conditions=(HOSTILE,), cuts=(HOSTILE, "$x^", "../c", "a" * 90),
        attempts={1: ("failed", False)}, sessions={"strongman": None, HOSTILE: (2, 3)},
    ).write()  # fmt: skip
    write_report(path)
    return path


class _Page(HTMLParser):
    """Collects tags, addresses and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data):
        self.text += data


def _page(folder) -> _Page:
    return _Page((folder / "report.html").read_text(encoding="utf-8"))


def _printed(folder) -> str:
    out = StringIO()
    show(Console(file=out, width=120), referee_of(folder), front=True)
    return out.getvalue()


def test_every_table_and_plot_is_written(folder):
    tables = {path.name for path in (folder / "tables").iterdir()}
    assert {"referee_cuts.csv", "referee_methods.csv", "normalised.csv", "pareto_latency_drop_rate.csv"} < tables
    stems = ("cuts__InceptionV3-low", "cuts__InceptionV3-high", "best__InceptionV3", "normalised", "predicted",
             "pareto_latency_drop_rate")  # fmt: skip
    wanted = {f"{stem}.{ending}" for stem in stems for ending in ("svg", "png")}
    assert wanted <= {path.name for path in (folder / "plots").iterdir()}


def test_the_page_is_one_file(folder):
    page = _page(folder)
    assert "script" not in page.tags
    assert len(page.addresses) == 6
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    for address in page.addresses:
        ET.fromstring(base64.b64decode(address.partition(",")[2]))  # noqa: S314 - our own


def test_the_page_has_figures_with_their_evidence(folder):
    text = " ".join(_page(folder).text.split())
    judged = referee_of(folder)
    row = judged.cuts[judged.cuts["name"] == "conv_1"].iloc[0]
    assert f"{row['latency_median_ms']:.1f}" in text
    assert f"{row['latency_median_low_ms']:.1f}–{row['latency_median_high_ms']:.1f}" in text  # noqa: RUF001
    assert f"{row['completed']} of {row['captured']}" in text
    assert "Candidates measured by method, as Couper's Table 5 counts split points" in text
    assert "Minutes to a decision, as Couper's Table 6 has them" in text
    assert "InceptionV3-low/sliced/mixed_7/raw/r1" in text
    assert "invalid, done since" in text
    assert "coverage InceptionV3, low5 of 6 5.0 %5 of 5 100.0 %" in text
    assert "of its own picks" in text


def test_the_plots_say_what_they_show(folder):
    text = (folder / "plots" / "best__InceptionV3.svg").read_text()
    for words in ("edge slice", "edge cloud transfer", "median latency, 95 % interval", "drop rate, 95 % interval",
                  "strongman", "hybrid", "best known", "2 of 6", "1 cell not done", "best for latency"):  # fmt: skip
        assert words in text
    assert "cloud alone" in (folder / "plots" / "normalised.svg").read_text()
    assert "of 5 inside" in (folder / "plots" / "predicted.svg").read_text()


def test_the_same_search_gives_the_same_page(folder):
    before = (folder / "report.html").read_bytes()
    assert write_report(str(folder)) == folder / "report.html"
    assert (folder / "report.html").read_bytes() == before


def test_names_stay_text_on_the_page(hostile):
    page = _page(hostile)
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_names_stay_text_in_plots(hostile):
    plots = sorted((hostile / "plots").glob("*.svg"))
    assert len(plots) == 5
    for path in plots:
        tree = ET.parse(path)  # noqa: S314 - our own
        assert not tree.findall(f".//{SVG}script")
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name)
    assert "$x^" in (hostile / "plots" / f"{plots[0].stem}.svg").read_text()


def test_names_stay_text_on_the_terminal(hostile):
    text = _printed(hostile)
    # Notes and errors are whole lines of text; the tables fit.
    assert max(len(line) for line in text.splitlines() if "not done" not in line and " failed" not in line) <= 120
    assert "[bold]$x_1$" in text
    assert "[red]m[/red]$" in text


def test_the_terminal_says_what_was_chosen_and_what_is_left_out(folder):
    text = _printed(folder)
    assert max(len(line) for line in text.splitlines() if "was not as asked" not in line) <= 120
    assert "What the methods chose, by latency" in text
    assert "Candidates measured (Couper, Table 5)" in text
    assert "1 cell(s) not done" in text
    assert "2 problems; their cuts" in text
    assert re.search(r"InceptionV3, low +5 of 6 +5\.0 % +5 of 5 \(100\.0 %\)", text)


def test_the_cuts_of_one_problem_are_printed(tmp_path):
    text = _printed(SearchWritten(tmp_path / "one").write())
    assert "Cuts, in the model's order" in text
    assert re.search(r"2 +conv_1 +1 +\d+/24", text)


def test_the_least_that_a_stopped_method_takes_is_told_as_such(tmp_path):
    written = SearchWritten(tmp_path / "short", conditions=("low",), stopped=("hybrid",)).write()
    write_report(written)
    for text in (_printed(written), _page(written).text):
        assert "hybrid: stopped by the budget after 2 candidates" in " ".join(text.split())
        # Of Table 5 and of Table 6; strongman was not stopped.
        assert text.count("≥") == 2
        assert "≥ 2" in text


def test_a_search_under_way_has_a_page_of_its_cuts(tmp_path):
    folder = SearchWritten(tmp_path / "young", sessions={"strongman": None}).write()
    (folder / "tables" / "decisions.csv").unlink()
    write_report(folder)
    assert "No session has ended yet." in _page(folder).text
    assert not list((folder / "plots").glob("best*"))
    assert "No session has ended yet" in _printed(folder)


def test_cells_in_which_nothing_came_through_have_a_page(tmp_path):
    folder = SearchWritten(tmp_path / "stuck", cuts=("a", "b"), frames=3, rate_per_s=10.0).write()
    for run in folder.glob("cell*"):
        manifest = json.loads((run / "manifest.json").read_text())
        frames = {"captured": 3, "completed": 0, "dropped": 3, "failed": 0}
        (run / "manifest.json").write_text(json.dumps(manifest | {"frames": frames}))
        _drop_all(run)
    write_report(folder)
    assert "3 candidate(s) completed no frame" in _page(folder).text


def _drop_all(run) -> None:
    import pandas as pd

    samples = pd.read_parquet(run / "samples.parquet")
    samples["end"], samples["end_host"], samples["end_stage"] = "dropped", "edge", "inbound"
    samples.to_parquet(run / "samples.parquet")


def _slicebed(*arguments):
    command = (sys.executable, "-c", "from slicebed.cli import main; main()", *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_report_knows_a_search(folder):
    done = _slicebed("report", folder, "--pareto", "throughput,bytes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "What the methods chose" in done.stdout
    printed = done.stdout.partition("Front of throughput and bytes")[2].splitlines()
    with (folder / "tables" / "pareto_throughput_bytes.csv").open(newline="") as file:
        on_front = [row for row in csv.DictReader(file) if row["on_front"] == "True"]
    assert len(on_front) >= 2
    for row in on_front:
        wanted = {row["number"], row["name"], f"{row['completed']}/24"}
        assert any(wanted <= set(line.split()) and len(line) <= 120 for line in printed)
    assert (folder / "plots" / "pareto_throughput_bytes.svg").is_file()


def test_report_prints_json(folder):
    told = json.loads(_slicebed("report", folder, "--json").stdout)
    assert told["kind"] == "search"
    assert told["pareto"]["metrics"] == ["latency", "drop_rate"]


def test_mistakes_have_their_exit_code(folder, tmp_path):
    wrong = _slicebed("report", folder, "--pareto", "latency,beauty")
    assert wrong.returncode == 2
    assert "no metric 'beauty'" in wrong.stderr
    write_run(tmp_path / "sweep", "1", (1, 8), "ccc")
    refused = _slicebed("report", tmp_path / "sweep", "--pareto", "latency,drop_rate")
    assert refused.returncode == 2
    assert "--pareto is of a search" in refused.stderr
