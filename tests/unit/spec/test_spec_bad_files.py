from __future__ import annotations

import pytest
from bad_files import BAD_EXPERIMENTS, BAD_TESTBEDS, EXPERIMENT, TESTBED, Bad

from slicebed.spec.experiment import load_experiment
from slicebed.spec.problems import SpecErrors
from slicebed.spec.testbed import load_testbed


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "testbed.yml").write_text(TESTBED, encoding="utf-8")
    (tmp_path / "experiment.yml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path


def _edited(text: str, bad: Bad) -> str:
    assert text.count(bad.old) == 1, f"{bad.old!r} must stand once in the good file"
    return text.replace(bad.old, bad.new)


def _check(path, bad: Bad, error: SpecErrors) -> None:
    assert str(error).splitlines() == [str(error)], "one mistake, one line"
    assert str(error).startswith(f"{path}:{bad.at}: ")
    assert "; allowed: " in str(error)
    for fragment in bad.says:
        assert fragment in str(error)
    assert error.exit_code == 2


@pytest.mark.parametrize("bad", BAD_EXPERIMENTS, ids=lambda bad: bad.label)
def test_bad_experiment_is_one_line_with_its_place(folder, bad):
    path = folder / "experiment.yml"
    path.write_text(_edited(EXPERIMENT, bad), encoding="utf-8")
    with pytest.raises(SpecErrors) as caught:
        load_experiment(path)
    _check(path, bad, caught.value)


@pytest.mark.parametrize("bad", BAD_TESTBEDS, ids=lambda bad: bad.label)
def test_bad_testbed_is_one_line_with_its_place(folder, bad):
    path = folder / "testbed.yml"
    path.write_text(_edited(TESTBED, bad), encoding="utf-8")
    with pytest.raises(SpecErrors) as caught:
        load_testbed(path)
    _check(path, bad, caught.value)


def test_all_mistakes_of_both_files_are_told_at_once(folder):
    experiment = folder / "experiment.yml"
    text = EXPERIMENT.replace("frames: 50", "frames: none").replace('"3-11"', '"3-15"').replace("250 ms", "250")
    experiment.write_text(text, encoding="utf-8")
    testbed = folder / "testbed.yml"
    testbed.write_text(TESTBED.replace("2 GiB", "2"), encoding="utf-8")
    with pytest.raises(SpecErrors) as caught:
        load_experiment(experiment)
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [f"{experiment}:5:9", f"{experiment}:10:15", f"{experiment}:16:43", f"{testbed}:3:46"]


def test_chain_host_unknown_to_the_testbed(folder):
    path = folder / "experiment.yml"
    path.write_text(EXPERIMENT.replace("cloud", "fog"), encoding="utf-8")
    with pytest.raises(SpecErrors, match=r'experiment\.yml:4:23: unknown host "fog"; allowed: client, edge, cloud'):
        load_experiment(path)


def test_chain_hosts_without_a_link(folder):
    lines = TESTBED.splitlines(keepends=True)
    (folder / "testbed.yml").write_text("".join(lines[:9] + lines[10:]), encoding="utf-8")
    with pytest.raises(
        SpecErrors, match=r"experiment\.yml:4:23: edge and cloud are not linked; allowed: .*client-edge"
    ):
        load_experiment(folder / "experiment.yml")


def test_host_outside_the_chain_is_told_apart_from_an_unknown_one(folder):
    path = folder / "experiment.yml"
    text = EXPERIMENT.replace("[client, edge, cloud]", "[client, edge]").replace('"1-8", "3-11"', '"3"')
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecErrors, match=r'16:7: host "cloud" is not in the chain; allowed: .*client, edge$'):
        load_experiment(path)


def test_mistake_behind_aliases_is_told_once(folder):
    path = folder / "experiment.yml"
    text = EXPERIMENT.replace(
        "edge: {overhead_ratio: 5, latency: 2.5 ms, max_throughput: 500000 B}", "edge: *c"
    ).replace("client: {overhead_ratio: 10, latency: 2.5 ms", "client: &c {overhead_ratio: 10, latency: 2.5")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecErrors) as caught:
        load_experiment(path)
    assert len(caught.value.lines) == 1


@pytest.mark.parametrize(
    ("content", "place", "says"),
    [
        (b"", "1:1", "empty"),
        (b"# only a comment\n", "1:1", "empty"),
        (b"- a\n- b\n", "1:1", "not a mapping"),
        (b"name: lab\nhosts: \xff\n", "2:8", "byte 0xff is not UTF-8"),
        (b"name: \x01\n", "1:7", "not YAML"),
        (b"name: " + b"[" * 40 + b"]" * 40, "1:23", "nested too deep"),
        (b"name: " + b"[" * 5000, "1:1", "nested too deep"),
        (b"name: &a [*a]\n", "1:7", "nested too deep"),
        (b"a: *b\n", "1:4", "undefined alias"),
        (b"a: 1\n" + b"#" * (1 << 20), "1:1", "too large"),
    ],
)
def test_file_that_is_no_mapping_at_all(tmp_path, content, place, says):
    path = tmp_path / "testbed.yml"
    path.write_bytes(content)
    with pytest.raises(SpecErrors) as caught:
        load_testbed(path)
    assert str(caught.value).startswith(f"{path}:{place}: ")
    assert says in str(caught.value)


def test_alias_bomb_is_refused_before_it_unfolds(tmp_path):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    path = tmp_path / "testbed.yml"
    path.write_text("\n".join(levels), encoding="utf-8")
    with pytest.raises(SpecErrors, match="too many values, counting those repeated by aliases"):
        load_testbed(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(SpecErrors, match=r"none\.yml:1:1: no such file"):
        load_testbed(tmp_path / "none.yml")
    with pytest.raises(SpecErrors, match="cannot be read: Is a directory"):
        load_experiment(tmp_path)
