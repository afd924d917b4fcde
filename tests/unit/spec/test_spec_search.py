"""The `search:` section of an experiment, cuts by a rule, and knobs."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from bad_files import EXPERIMENT, TESTBED
from bad_searches import BAD_SEARCHES, SEARCH

from slicebed.errors import SpecError
from slicebed.spec import search_checks
from slicebed.spec.cuts import CutRule
from slicebed.spec.experiment import load_experiment
from slicebed.spec.knobs import KNOBS, read_knob, split_knob, with_knobs
from slicebed.spec.objective import Objective
from slicebed.spec.problems import SpecErrors
from slicebed.spec.search import OWN_TESTBED
from slicebed.spec.units import UnitError, parse_amount
from slicebed_agent.pipeline.codecs import Codec

ROOT = Path(__file__).parents[3]
METHODS = ("comm-slim", "genetic", "hybrid", "strongman")
FILES = {
    "testbed.yml": TESTBED,
    "low.yml": TESTBED.replace("one_way: 21 ms", "one_way: 32 ms"),
    "pair.yml": TESTBED.replace("  cloud: {role: cloud}\n", "").replace(
        "  - {between: [edge, cloud], one_way: 21 ms, rate: 100 Mbit/s}\n", ""
    ),
    "limited.yml": TESTBED.replace("{role: cloud}", "{role: cloud, cpu_quota: 0.5}"),
    "governed.yml": TESTBED.replace("{role: cloud}", "{role: cloud, governor: powersave}"),
    "elsewhere.yml": TESTBED.replace("10.199", "10.197"),
    "unlinked.yml": TESTBED.replace("  - {between: [edge, cloud], one_way: 21 ms, rate: 100 Mbit/s}\n", ""),
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    # What is installed is not what is asked here.
    points = [EntryPoint(name, "nowhere", search_checks.GROUP) for name in METHODS]
    monkeypatch.setattr(search_checks, "entry_points", lambda group: EntryPoints(points).select(group=group))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    def load(text):
        path = tmp_path / "experiment.yml"
        path.write_text(text, encoding="utf-8")
        return load_experiment(path)

    return load


@pytest.mark.parametrize("bad", BAD_SEARCHES, ids=lambda bad: bad.label)
def test_bad_search_is_one_line_with_its_place(load, tmp_path, bad):
    assert SEARCH.count(bad.old) == 1, f"{bad.old!r} must stand once in the good file"
    with pytest.raises(SpecErrors) as caught:
        load(SEARCH.replace(bad.old, bad.new))
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / 'experiment.yml'}:{bad.at}: ")
    assert "; allowed: " in line
    assert [said for said in bad.says if said not in line] == []


def test_quantities_are_read_in_the_units_of_the_metrics(load):
    search = load(SEARCH).search
    assert search.methods == ("strongman", "hybrid")
    assert search.objective == Objective(
        {"latency": 1, "drop_rate": 2},
        {"latency": 0.1, "drop_rate": 0.1},
        {"drop_rate": 0.2, "throughput": 0.5, "bytes": 4_000_000},
    )
    assert (search.budget, search.at_least, search.at_most, search.until) == (10, 3, 6, 0.05)
    assert search.codecs == (Codec.RAW, Codec.LOSSLESS)
    assert search.knobs == {"client.cores": (1,), "edge.frequency": (1_200_000, 2_400_000)}
    assert search.options == {
        "comm-slim": {"latency": 0.2},
        "genetic": {"population": 24, "elite": 0.1, "order": "fast"},
    }


def test_models_testbeds_and_sites_are_found_beside_the_file(load, tmp_path):
    search = load(SEARCH).search
    assert [model.argument for model in search.models] == ["inception_v3", "mobilenet_v2"]
    assert [model.place for model in search.models] == [f"{tmp_path / 'experiment.yml'}:18:{at}" for at in (12, 42)]
    assert list(search.testbeds) == ["low", "far"]
    assert search.testbeds["low"].link("edge", "cloud").forward.delay_us == 32_000
    assert search.sites == (tmp_path / "a.ini", tmp_path / "b.ini")


def test_what_a_search_does_not_say_is_the_experiments(load):
    experiment = load(SEARCH.partition("search:")[0] + "codec: fp16\nsearch: {}\n")
    search = experiment.search
    assert search.models == (experiment.model,)
    assert search.testbeds == {OWN_TESTBED: experiment.testbed}
    assert search.codecs == (Codec.FP16,)
    assert (search.methods, search.objective.metric) == (("hybrid",), "latency")
    assert (search.budget, search.at_least, search.at_most, search.until) == (None, 2, 2, None)
    assert load(SEARCH.partition("search:")[0]).search is None


@pytest.mark.parametrize(
    ("said", "methods", "metric"),
    [("method: genetic", ("genetic",), "latency"), ("objective: throughput", ("hybrid",), "throughput")],
)
def test_a_word_alone_stands_for_a_list_or_mapping(load, said, methods, metric):
    search = load(SEARCH.partition("search:")[0] + f"search: {{{said}}}\n").search
    assert (search.methods, search.objective.metric) == (methods, metric)


def test_manifests_hold_the_search(load):
    plain = json.loads(json.dumps(load(SEARCH).to_plain()))["search"]
    assert plain["objective"]["limits"] == {"drop_rate": 0.2, "throughput": 0.5, "bytes": 4_000_000}
    assert plain["models"][1] == {"name": "mobilenet_v2", "seed": 7}
    assert plain["testbeds"]["low"]["links"][1]["a"] == "edge"
    assert plain["repeats"] == {"at_least": 3, "at_most": 6, "until": 0.05}
    assert load(SEARCH.partition("search:")[0]).to_plain()["search"] is None


def test_which_parts_of_the_testbed_a_search_sets(load):
    head = SEARCH.partition("search:")[0]
    assert load(head + "search: {}\n").search.parts == {"network"}
    assert load(head + "search: {knobs: {edge.quota: [0.5]}}\n").search.parts == {"network", "workload"}
    assert load(head + "search: {knobs: {edge.governor: [performance]}}\n").search.parts == {"network", "cpu"}
    # Its testbeds give the client cores and the edge a frequency.
    assert load(head + "search: {testbeds: {low: low.yml}}\n").search.parts == {"network", "workload", "cpu"}


def test_digits_are_for_one_model_alone(load):
    text = EXPERIMENT.replace('["1-8", "3-11"]', "couper").replace("[client, edge, cloud]", "[client, edge]")
    text = text.replace(EXPERIMENT.splitlines(keepends=True)[15], "") + "search: {models: [cnn14, MobileNetV2]}\n"
    with pytest.raises(SpecErrors, match=r"digits are no pictures for mobilenet_v2; allowed: source\.images: random"):
        load(text)
    assert load(text.replace("queue: 2}", "queue: 2, images: random}")).search.models[0].argument == "cnn14"


def test_methods_that_nothing_registers_are_left_to_the_search(load, monkeypatch):
    monkeypatch.setattr(search_checks, "entry_points", lambda group: EntryPoints())
    assert load(SEARCH.replace("hybrid", "mine")).search.methods == ("strongman", "mine")


@pytest.mark.parametrize("said", ["couper", "{rule: couper}"])
def test_cuts_by_a_rule_are_none_until_the_model_is_opened(load, said):
    experiment = load(SEARCH.replace("cuts: couper", f"cuts: {said}"))
    assert experiment.placements[0].rule is CutRule.COUPER
    assert (experiment.every_cut, experiment.is_cut_by_rule) == ((), True)
    chain = EXPERIMENT.replace('["1-8", "3-11"]', said).replace("[client, edge, cloud]", "[client, edge]")
    whole = load(chain.replace(EXPERIMENT.splitlines(keepends=True)[15], ""))
    assert (whole.cut_rule, whole.cuts, whole.every_placement[0].rule) == (CutRule.COUPER, (), CutRule.COUPER)
    assert whole.to_plain()["cut_rule"] == "couper"


def test_an_exit_after_a_point_that_a_rule_may_find_is_looked_up_later(load):
    exits = "exits: [{after: mixed0, head: cnn14_layer3.pb}]\n"
    assert load(SEARCH + exits).pipeline.exits[0].after == "mixed0"


def test_couper_search_is_the_papers_table_4():
    found = load_experiment(ROOT / "experiments" / "couper_search.yml")
    search = found.search
    # What the report normalises by.
    assert [each.slices for each in found.every_placement] == [("edge", "cloud"), ("cloud",)]
    assert list(search.testbeds) == ["low", "mid", "high"]
    assert search.parts == {"network", "workload"}


def test_knobs_turn_a_testbed(load):
    testbed = load(SEARCH).testbed
    testbed = replace(testbed, hosts=(replace(testbed.host("client"), cores=(3, 5)), *testbed.hosts[1:]))
    values = {"client.cores": 1, "cloud.cores": 2, "edge.quota": 0.5, "edge.frequency": 2_000_000}
    turned = with_knobs(testbed, values | {"cloud.governor": "powersave"})
    assert turned.host("client").cores == (3,)
    assert (turned.host("cloud").cores, turned.host("cloud").governor) == ((0, 1), "powersave")
    assert (turned.host("edge").cpu_quota, turned.host("edge").cpu_frequency_khz) == (0.5, 2_000_000)
    assert with_knobs(testbed, {}) == testbed
    with pytest.raises(SpecError, match='unknown host "fog"'):
        with_knobs(testbed, {"fog.cores": 1})


@pytest.mark.parametrize(
    ("knob", "value", "read"),
    [("cores", 2, 2), ("quota", 1, 1.0), ("frequency", "1.5 GHz", 1_500_000), ("governor", "schedutil", "schedutil")],
)
def test_values_of_knobs(knob, value, read):
    assert knob in KNOBS
    assert read_knob(knob, value) == read
    with pytest.raises(SpecError, match="allowed: "):
        read_knob(knob, "fast as can be")


def test_a_knob_has_a_host_and_a_name():
    assert split_knob("edge.cores", ["client", "edge"]) == ("edge", "cores")
    with pytest.raises(SpecError, match='unknown knob ""'):
        split_knob("edge", ["edge"])


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        *[("200 ms", 0.2), ("1 s", 1.0), ("10 %", 0.1), ("5 kB", 5_000.0), ("1 Mbit/s", 1e6)],
        *[("2 GHz", 2e9), ("24 frame/s", 24.0), ("3 mJ", 0.003)],
    ],
)
def test_amounts_of_any_kind(text, amount):
    assert parse_amount(text) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "3", "3 m", "ms", "0.1 us"])
def test_amounts_that_are_none(text):
    with pytest.raises(UnitError):
        parse_amount(text)


def searched(said):
    return SEARCH.partition("search:")[0] + f"search: {{{said}}}\n"


def test_energy_is_read_in_joules(load):
    search = load(searched("objective: {weights: {latency: 1}, limits: {energy: 1500 mJ}}")).search
    assert search.objective == Objective({"latency": 1}, {}, {"energy": 1.5})


def test_with_until_runs_are_at_least_as_many_as_tell_what_they_differ_by(load):
    search = load(searched("repeats: {at_most: 5, until: 5 %}")).search
    assert (search.at_least, search.at_most) == (3, 5)
    search = load(searched("repeats: {at_most: 5}")).search
    assert (search.at_least, search.at_most) == (1, 5)


@pytest.mark.parametrize(
    ("objective", "most", "refused"),
    [
        ("latency_p95", 5, True),
        ("latency_p95", 6, False),
        ("{weights: {drop_rate: 1}, limits: {latency_p95: 1 s}}", 5, True),
    ],
)
def test_until_of_what_so_few_frames_cannot_tell_is_refused(load, objective, most, refused):
    text = searched(f"objective: {objective}, repeats: {{at_most: {most}, until: 5 %}}")
    if not refused:
        assert load(text).search.at_most == most
        return
    with pytest.raises(
        SpecErrors, match=r"until with latency_p95: 5 runs of 12 frames .* frames x at_most of 72 or more"
    ):
        load(text)
