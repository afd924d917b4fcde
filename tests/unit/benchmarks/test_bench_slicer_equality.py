"""A model whose cuts were checked is not checked again, unless something changed."""

import json

from benchmarks.slicer import report
from benchmarks.slicer.equality import Checked, kept, run
from small_graphs import GraphBuilder

from slicebed.split.model import open_source
from slicebed_agent.model.execute.check import CutCheck
from slicebed_agent.model.source import ModelSource


def model(folder):
    builder = GraphBuilder()
    tensor = builder.input(None, 3)
    for number in range(5):
        tensor = builder.apply("Relu" if number % 2 else "Neg", tensor, name=f"op{number}")
    return open_source(ModelSource(str(builder.write(folder / "model.pb"))))


def test_a_finished_model_is_not_run_again(tmp_path):
    opened = model(tmp_path)
    steps = list(run(opened, 0, 7, tmp_path / "kept"))
    assert steps == [(place, len(steps)) for place in range(1, len(steps) + 1)]
    assert list(run(opened, 0, 7, tmp_path / "kept")) == []
    found = kept(tmp_path / "kept", "model")
    assert len(found.rows) == found.single == len(steps) > 1
    assert all(row.bit_exact for row in found.rows)
    assert [each.said for each in report.equality_verdicts([found])] == ["met", "met"]


def test_another_seed_is_another_run(tmp_path):
    opened = model(tmp_path)
    first = list(run(opened, 0, 7, tmp_path / "kept"))
    assert list(run(opened, 0, 8, tmp_path / "kept")) == first


def test_what_an_earlier_version_kept_counts_for_nothing(tmp_path):
    opened = model(tmp_path)
    list(run(opened, 0, 7, tmp_path / "kept"))
    path = tmp_path / "kept" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 0}))
    assert kept(tmp_path / "kept", "model") is None


def test_a_difference_and_a_refusal_miss_their_bars_and_stand_in_the_table():
    rows = (
        CutCheck(("a",), (("a:0",),), 0.0, 0.0, bit_exact=True, same_label=True),
        CutCheck(("b",), (("b:0",),), 1e-6, 2e-6, bit_exact=False, same_label=True),
        CutCheck(("c",), (("c:0",),), 1e-2, 3e-2, bit_exact=False, same_label=False),
        CutCheck(("d+e",), (("d:0", "e:0"),), refused="no"),
    )
    found = [Checked("net", "key", 5, 9, rows, 1.0, "2026-01-01")]
    assert [(each.found, each.said) for each in report.equality_verdicts(found)] == [
        ("1 of 4", "NOT met"),
        ("1 of 4", "NOT met"),
    ]
    one, several = report.equality_table(found).splitlines()[2:]
    assert one.split() == ["net", "1", "3", "of", "5", "1", "1", "0", "1", "3.0e-02"]
    assert several.split() == ["net", "2", "or", "3", "1", "of", "9", "0", "0", "1", "0", "0"]
