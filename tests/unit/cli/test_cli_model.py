"""`slicebed model` as a user meets it, on TensorFlow-Slim's frozen graphs and on the zoo's smallest model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from graphdef_writer import FLOAT, dtype, node, placeholder

REPOSITORY = Path(__file__).parents[3]
GRAPHS = REPOSITORY / "tests/unit/model/graphdef/data"
VGG, INCEPTION = GRAPHS / "vgg_16.pb", GRAPHS / "inception_v3.pb"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def slicebed(*arguments, code=0):
        command = [sys.executable, "-c", "from slicebed.cli import main; main()", "model", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=REPOSITORY, check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(cache), "XDG_CACHE_HOME": str(cache)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done

    return slicebed


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two ways from the input to the output: no place where one tensor crosses."""
    path = tmp_path_factory.mktemp("graph") / "wide.pb"
    number = dtype(FLOAT)
    left, right = node("left", "Relu", ["input"], T=number), node("right", "Tanh", ["input"], T=number)
    path.write_bytes(placeholder("input", [None, 4]) + left + right + node("sum", "AddV2", ["left", "right"], T=number))
    return path


@pytest.mark.parametrize(("graph", "published"), [(VGG, 52), (INCEPTION, 34)])
def test_couper_counts_what_it_published_and_the_exact_count_stands_beside(run, graph, published):
    answer = json.loads(run("cuts", graph, "--algorithm", "couper", "--json").stdout)
    assert (answer["model"], answer["algorithm"], len(answer["cuts"])) == (graph.stem, "couper", published)
    assert (
        f"{published} split points of {graph.stem} by couper; exact counts {answer['exact_count']}"
        in run("cuts", graph, "--algorithm", "couper").stdout
    )


def test_a_cut_says_what_crosses_and_what_lies_on_each_side(run):
    answer = json.loads(run("cuts", VGG, "--json").stdout)
    (pool,) = [row for row in answer["cuts"] if row["name"] == "vgg_16/pool5/MaxPool"]
    assert pool["bytes_per_frame"] == 7 * 7 * 512 * 4
    assert pool["tensors"] == [
        {"name": "vgg_16/pool5/MaxPool:0", "dtype": "float32", "shape": [1, 7, 7, 512], "bytes_per_frame": 100_352}
    ]
    # VGG16's thirteen convolutions, published.
    assert pool["parameters_before"] == 14_714_688
    assert pool["parameters_before"] + pool["parameters_after"] == answer["parameters"]
    assert pool["flops_before"] + pool["flops_after"] == answer["flops"]


def test_layers_are_cut_between_and_listed(run):
    cuts = json.loads(run("cuts", VGG, "--level", "layer", "--json").stdout)["cuts"]
    assert "vgg_16/pool3" in [row["name"] for row in cuts]
    assert len(cuts) < 52
    rows = {row["name"]: row for row in json.loads(run("inspect", VGG, "--json").stdout)["rows"]}
    assert rows["vgg_16/conv1/conv1_2"]["parameters"] == 3 * 3 * 64 * 64 + 64


def test_slices_hold_their_own_weights_and_are_all_there_or_none(run, tmp_path):
    out = tmp_path / "slices"
    answer = json.loads(run("slice", "cnn14", "--cut", "max_pooling2d,max_pooling2d_1", "--out", out, "--json").stdout)
    assert answer["weights"] == "trained"
    assert sorted(path.name for path in out.iterdir()) == ["slice1", "slice2", "slice3"]
    assert [each["inputs"][0]["name"] for each in answer["slices"][1:]] == [
        each["outputs"][0]["name"] for each in answer["slices"][:-1]
    ]
    # Parameters of four bytes, and nothing of the neighbours'.
    assert sum(each["weights_bytes"] for each in answer["slices"]) == 4 * answer["parameters"]
    said = run("slice", "cnn14", "--cut", "max_pooling2d", "--out", out, code=4).stderr
    assert said.startswith(f"slicebed: {out}: is not empty;")


def test_slices_of_the_zoo_are_the_whole_model(run):
    done = run("check", "cnn14", "--all")
    assert "to the last bit" in done.stdout
    assert "DIFFERS" not in done.stdout
    assert "refused" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cuts", "vgg17"], "no model 'vgg17' in the zoo"),
        (["check", str(VGG)], "give one of --cut, --all and --sample N"),
        (["slice", str(VGG), "--cut", "vgg_16/pool3/MaxPol", "--out", "x"], "the nearest are vgg_16/pool3/MaxPool, "),
        (["slice", str(VGG), "--cut", "vgg_16/pool5,vgg_16/pool3", "--out", "x"], "lies before"),
        (["slice", str(VGG), "--cut", "vgg_16/pool5,", "--out", "x"], "no cut in"),
        (["cuts", str(VGG), "--algorithm", "best"], "use exact, couper"),
        (["cuts", str(VGG), "--max-tensors", "0"], "give 1 or more"),
        (["cuts", str(VGG), "--input-shape", "big"], "as in 224,224,3"),
        (["cuts", str(GRAPHS / "README.md")], "README.md"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(run, arguments, said):
    stderr = run(*arguments, code=2).stderr
    assert len(stderr.splitlines()) == 1
    assert said in stderr
    assert not (REPOSITORY / "x").exists()


def test_what_a_killed_slice_left_goes_with_the_next_one_and_a_file_is_no_folder(run, tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, other = tmp_path / f".slices.{gone.pid}-0.partial", tmp_path / f".others.{gone.pid}-0.partial"
    for folder in (left, other):
        (folder / "slice1").mkdir(parents=True)
    run("slice", "cnn14", "--cut", "max_pooling2d", "--out", tmp_path / "slices")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "slices"]
    said = run("slice", "cnn14", "--cut", "max_pooling2d", "--out", tmp_path / "slices/slice1/graph.pb", code=4).stderr
    assert "graph.pb: is no folder; name one that does not exist yet" in said


def test_checking_nothing_is_no_success(run, wide):
    said = run("check", wide, "--all", code=2).stderr
    assert "exact finds no split point where at most 1 tensor(s) cross: nothing to check" in said
    assert "0 split points of wide by exact; more are found with a higher --max-tensors" in run("cuts", wide).stdout
    run("check", "cnn14", "--sample", "0", code=2)


def test_several_tensors_are_named_in_any_order_and_by_any_algorithm(run, wide, tmp_path):
    (point, *_) = json.loads(run("cuts", wide, "--max-tensors", "2", "--json").stdout)["cuts"]
    turned = "+".join(reversed(point["name"].split("+")))
    assert turned != point["name"]
    answer = run("slice", wide, "--max-tensors", "2", "--cut", turned, "--out", tmp_path / "s", "--json")
    assert json.loads(answer.stdout)["cut"] == [point["name"]]
    said = run("check", VGG, "--algorithm", "nonsense", "--all", code=2).stderr
    assert "nonsense" in said


def test_operators_have_their_parameters(run):
    rows = json.loads(run("inspect", VGG, "--level", "op", "--json").stdout)["rows"]
    assert {row["name"]: row["parameters"] for row in rows}["vgg_16/conv1/conv1_1/Conv2D"] == 3 * 3 * 3 * 64
