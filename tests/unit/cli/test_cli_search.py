"""`slicebed search`: what it asks of the engine, and what it prints of decisions."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from search_folder import SearchWritten
from search_problems import cut
from searches import write_experiment
from typer.testing import CliRunner

from slicebed.cli import app
from slicebed.cli._search_lines import SessionDecision, decision_lines, read_decisions
from slicebed.run.search import engine
from slicebed.run.search.record import CANDIDATES, DECISIONS
from slicebed.spec.objective import Objective
from slicebed.split.search.contracts import Figure, Measure, Problem

ROOT = Path(__file__).parents[3]
RUN = (sys.executable, "-c", "from slicebed.cli import main; main()")
SESSION = {
    "problem": "p", "model": "inception_v3", "condition": "low", "method": "predict", "objective": "latency",
    "chosen": "sliced/mixed0", "cut": "mixed0/concat", "why": "the best of 4 measured", "runs": 5,
    "candidates_measured": 4, "testbed_s": 96.4, "decision_s": 0.2, "value": 0.3124, "best_known_value": 0.31,
    "regret_measured": 0.0077, "regret_predicted": 0.021, "prediction_error": 0.034,
}  # fmt: skip


@pytest.fixture
def searched(tmp_path):
    """The tables of a search with some decisions."""

    def write(*decisions):
        tables = tmp_path / "tables"
        tables.mkdir(exist_ok=True)
        keys = ["sliced/mixed0", "sliced/mixed1", "cloud"]
        candidates = [{"problem": "p", "key": key, "placement": key.partition("/")[0]} for key in keys]
        for name, columns, rows in (("decisions", DECISIONS, decisions), ("candidates", CANDIDATES, candidates)):
            with (tables / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        return tmp_path

    return write


def lines_of(folder):
    return [decision_lines(decision) for decision in read_decisions(folder)]


def test_a_decision_says_what_why_and_what_it_took(searched):
    regret = "regret 0.8 % against the best measured, 310.0 ms; by its own prediction at most 2.1 %"
    assert lines_of(searched(SESSION)) == [
        [
            "inception_v3, low, predict: placement sliced, cut mixed0/concat (sliced/mixed0)",
            "  latency 312.4 ms; 5 runs, of 4 of 3 candidates; 96 s of the testbed",
            f"  {regret}; of what it measured, its predictions were off by 3.4 % (median)",
            "  why: the best of 4 measured",
        ]
    ]


def test_what_a_method_does_not_say_is_left_out(searched):
    silent = {"regret_predicted": "", "prediction_error": "", "regret_measured": "inf", "testbed_s": ""}
    whole = {"chosen": "cloud", "cut": "", "objective": "drop_rate;latency<=0.5", "value": 0.25}
    (lines,) = lines_of(searched(SESSION | silent | whole))
    assert lines == [
        "inception_v3, low, predict: placement cloud, the model left whole (cloud)",
        "  drop_rate;latency<=0.5 25.0 %; 5 runs, of 4 of 3 candidates; unknown time of the testbed",
        "  why: the best of 4 measured",
    ]


def test_a_candidate_that_is_called_as_its_cut_is_named_once(searched):
    ((first, *_),) = lines_of(searched(SESSION | {"chosen": "mixed0/concat"}))
    assert first == "inception_v3, low, predict: cut mixed0/concat"


def test_it_is_said_that_the_budget_stopped_a_method(searched):
    (lines,) = lines_of(searched(SESSION | {"stopped_by_budget": 1}))
    assert "5 runs, of 4 of 3 candidates, when the budget stopped it; 96 s" in lines[1]


@pytest.mark.parametrize(
    ("objective", "value", "shown"),
    [
        ("throughput", 0.9876, "0.9876 frame/s"),
        ("bytes", 2841728.0, "2.842e+06 B"),
        ("latency_p95", 0.01, "10.0 ms"),
        ("latency=1/0.1,drop_rate=2/0.1", 3.5, "3.5"),
    ],
)
def test_values_come_in_the_unit_of_their_metric(searched, objective, value, shown):
    (lines,) = lines_of(searched(SESSION | {"objective": objective, "value": value}))
    assert lines[1].startswith(f"  {objective} {shown}; ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole search as the engine leaves it."""
    return SearchWritten(tmp_path_factory.mktemp("results") / "a_search", frames=6).write()


def run(monkeypatch, folder, *arguments):
    """Run the verb with an engine that keeps what it is asked and has searched already."""
    asked = {}

    def run_search(checkout, wanted, progress, **flags):
        asked.update(vars(wanted) | flags)
        return SimpleNamespace(folder=folder, name=folder.name)

    monkeypatch.setattr(engine, "run_search", run_search)
    done = CliRunner().invoke(app, ["search", str(ROOT / "experiments" / "couper_search.yml"), *arguments])
    assert done.exit_code == 0, done.output
    return asked, done.stdout


def test_without_options_the_file_is_asked_for(monkeypatch, folder):
    asked, printed = run(monkeypatch, folder)
    assert asked["methods"] == ("strongman", "comm-slim", "early-stop", "hybrid", "predict")
    assert (asked["objective"].metric, asked["budget"], asked["seed"]) == ("latency", None, 2021)
    assert [asked[each] for each in ("models", "conditions", "frames", "profiles")] == [None] * 4
    assert (asked["resume"], asked["deploy"]) == (False, True)
    *decisions, report = printed.splitlines()
    assert [line.partition(":")[0] for line in decisions if line[0] != " "] == [
        "InceptionV3, mid, strongman",
        "InceptionV3, mid, hybrid",
    ]
    assert report == f"Report: {folder / 'report.html'}"
    assert (folder / "report.html").is_file()


def test_options_stand_before_the_file(monkeypatch, folder, tmp_path):
    asked, _ = run(
        monkeypatch, folder, "--method", "predict", "--method", "hybrid", "--objective",
        "drop_rate=1;latency<=1 s", "--budget", "7", "--model", "InceptionV3", "--condition", "low", "--frames", "5",
        "--profiles", str(tmp_path), "--resume", "--no-deploy", "-i", "my.yml", "--results", str(tmp_path),
    )  # fmt: skip
    assert asked["methods"] == ("predict", "hybrid")
    assert asked["objective"] == Objective({"drop_rate": 1.0}, {}, {"latency": 1.0})
    assert (asked["budget"], asked["models"], asked["conditions"]) == (7, ("inception_v3",), ("low",))
    assert (asked["frames"], asked["profiles"], asked["results"]) == (5, tmp_path, tmp_path)
    assert (asked["resume"], asked["deploy"], asked["inventory"]) == (True, False, Path("my.yml"))


def test_an_inventory_beside_sites_of_the_file_is_refused(tmp_path):
    path = write_experiment(tmp_path, f"search: {{sites: [{tmp_path / 'a.ini'}, {tmp_path / 'b.ini'}]}}")
    done = subprocess.run([*RUN, "search", path, "-i", "my.yml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "--inventory: the file names sites of its own" in done.stderr) == (2, True)


def test_json_is_alone_on_standard_output(monkeypatch, folder):
    _, printed = run(monkeypatch, folder, "--json")
    told = json.loads(printed)
    assert (told["campaign"], told["report"]) == (folder.name, str(folder / "report.html"))
    decisions = [SessionDecision(**each) for each in told["decisions"]]
    assert [(each.method, each.candidates, each.runs) for each in decisions] == [("strongman", 6, 6), ("hybrid", 6, 2)]
    assert decisions[0].regret_measured == 0
    assert decisions[1].regret_predicted is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-file.yml"], "no such file"),
        (["experiments/couper_search.yml", "--method", "guess"], "guess"),
        (["experiments/couper_search.yml", "--objective", "latncy"], "latncy"),
        (["experiments/couper_search.yml", "--condition", "super"], "super"),
        (["experiments/couper_search.yml", "--budget", "0"], "--budget"),
    ],
)
def test_a_mistake_ends_with_exit_code_2(tmp_path, arguments, says):
    done = subprocess.run(
        [*RUN, "search", *arguments, "--results", str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def choice_of(session, answer):
    """What a method decides, and the keys that it asked for."""
    asked = []
    try:
        ask = next(session)
        while True:
            asked += ask.keys
            ask = session.send(answer(ask))
    except StopIteration as end:
        return end.value, asked


def test_the_method_in_the_docs_finds_the_best_of_a_valley():
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 30
    names: dict = {}
    exec(code, names)  # noqa: S102 - the documented example is to run as it stands
    problem = Problem(tuple(cut(place) for place in range(1, 37)), Objective({"latency": 1.0}))
    for lowest in (1, 8, 19, 36):
        times = {f"cut{place}": 1 + abs(place - lowest) / 100 for place in range(1, 37)}
        choice, asked = choice_of(
            names["halves"](problem),
            lambda ask, times=times: [Measure(key, {"latency": Figure(*[times[key]] * 3)}) for key in ask.keys],
        )
        assert choice.key == f"cut{lowest}"
        assert len(asked) == len(set(asked)) <= 14
