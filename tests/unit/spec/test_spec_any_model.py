"""Experiments with models of the zoo and of files, cut at named split points."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bad_files import EXPERIMENT, TESTBED
from hypothesis import example, given
from hypothesis import strategies as st

from slicebed.spec.cuts import Cut
from slicebed.spec.experiment import load_experiment
from slicebed.spec.models import Images, ModelChoice, cut_title
from slicebed.spec.order import plan_runs
from slicebed.spec.problems import SpecErrors

ROOT = Path(__file__).parents[3]


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "testbed.yml").write_text(TESTBED, encoding="utf-8")

    def load(model, cuts, source="batch_size: 16"):
        text = EXPERIMENT.replace("cnn14", model).replace('["1-8", "3-11"]', cuts).replace("batch_size: 16", source)
        (tmp_path / "experiment.yml").write_text(text, encoding="utf-8")
        return load_experiment(tmp_path / "experiment.yml")

    return load


def test_a_model_of_the_zoo_is_called_by_its_own_name(experiment):
    found = experiment("MobileNetV2", "[[block_3_add, block_13_project]]")
    assert found.model == ModelChoice("mobilenet_v2")
    assert found.source.images is Images.RANDOM
    (cut,) = found.cuts
    assert cut.points == ("block_3_add", "block_13_project")
    assert cut.place == f"{found.path}:10:8"
    assert [run.run_id for run in plan_runs(found, cut_labels=["block_3_add-block_13_project"])] == [
        "c1_block_3_add-block_13_project_r1",
        "c1_block_3_add-block_13_project_r2",
    ]


def test_settings_of_a_model_are_those_of_the_command_line(experiment):
    found = experiment("{name: vgg16, seed: 7, input_shape: [64, 64, 3], output: predictions}", "[[a, b]]")
    assert found.model == ModelChoice("vgg16", seed=7, input_shape=(64, 64, 3), output="predictions")
    plain = json.loads(json.dumps(found.to_plain()))
    assert plain["model"] == "vgg16"
    assert plain["model_settings"] == {"seed": 7, "input_shape": [64, 64, 3], "output": "predictions"}


def test_several_inputs_are_a_list_and_one_may_stand_alone(experiment):
    several = experiment("{name: vgg16, input: [left, right]}", "[[a, b]]")
    assert several.model == ModelChoice("vgg16", inputs=("left", "right"))
    assert several.to_plain()["model_settings"] == {"input": ["left", "right"]}
    alone = experiment("{name: vgg16, input: left}", "[[a, b]]")
    assert alone.model == experiment("{name: vgg16, input: [left]}", "[[a, b]]").model
    assert alone.model == ModelChoice("vgg16", inputs=("left",))


def test_the_models_place_is_that_of_its_key(experiment):
    found = experiment("{name: vgg16, seed: 7}", "[[a, b]]")
    assert found.model.where("vgg16") == f"{found.path}:3:1: model: vgg16"


def test_files_are_found_beside_the_experiment(experiment, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.pb").write_bytes(b"")
    (tmp_path / "w.npz").write_bytes(b"")
    assert experiment("models/net.pb", "[[a, b]]").model == ModelChoice(str(tmp_path / "models" / "net.pb"))
    assert experiment("{name: vgg16, weights: w.npz}", "[[a, b]]").model.weights == tmp_path / "w.npz"


def test_the_digits_belong_to_one_model(experiment):
    assert experiment("cnn14", '["1-8"]').source.images is Images.DIGITS
    assert experiment("cnn14", '["1-8"]', "batch_size: 400, images: random").source.images is Images.RANDOM
    with pytest.raises(SpecErrors, match=r'6:52: images: "digits" are no pictures for vgg16; allowed: random'):
        experiment("vgg16", "[[a, b]]", "batch_size: 16, images: digits")


def test_numbers_and_names_may_both_be_given_where_layers_have_numbers(experiment):
    cuts = experiment("cnn14", '["1-8", [conv2d, dense]]').cuts
    assert [cut.layers for cut in cuts] == [(1, 8), None]
    assert [cut_title("cnn14", cut.points) for cut in cuts] == ["Conv2D - BatchNormalization", "conv2d - dense"]


def test_layer_numbers_of_a_model_without_them_are_told_once(experiment):
    with pytest.raises(SpecErrors) as caught:
        experiment("MobileNetV2", '["8-3"]')
    (line,) = caught.value.lines
    assert '10:8: cut "8-3": MobileNetV2 is not cut by layer numbers; allowed: a list of names' in line
    assert "slicebed model cuts MobileNetV2" in line


NAMES = st.lists(st.text("abB/_:-+.019é ", min_size=1, max_size=60), min_size=1, max_size=5).map(tuple)


@given(NAMES)
@example(("0000000",))
def test_a_label_is_a_file_name_that_is_not_of_numbers(names):
    label = Cut(names).label
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,72}", label)
    assert not re.fullmatch(r"[0-9]+(-[0-9]+)*", label)
    assert label == Cut(names).label


@given(NAMES, NAMES)
def test_other_cuts_have_other_labels(one, other):
    assert (Cut(one).label == Cut(other).label) == (one == other)


def test_the_label_of_a_long_cut_keeps_what_tells_its_points_apart():
    label = Cut(("InceptionV3/InceptionV3/Mixed_5d/concat", "InceptionV3/InceptionV3/Mixed_7a/concat")).label
    assert re.fullmatch(r"\w*Mixed_5d_concat-\w*Mixed_7a_concat-[0-9a-f]{8}", label)


def test_the_shipped_example_cuts_a_model_of_the_zoo_at_names():
    found = load_experiment(ROOT / "experiments" / "mobilenet_cuts.yml")
    assert found.model == ModelChoice("mobilenet_v2", seed=7)
    assert [cut.label for cut in found.cuts] == [
        "block_2_add-block_12_add",
        "block_5_add-block_12_add",
        "block_9_add-block_15_add",
    ]
