"""What is known of the zoo is the paper's, and is told without TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import zoo


def test_couper_s_seven_models_are_in_the_zoo_as_its_table_gives_them():
    table = {each.name: (each.published_top1_percent, each.published_operators) for each in zoo.list_models()}
    assert table == {
        "cnn14": (None, None),
        "vgg16": (71.5, 54),
        "mobilenet_v2": (74.9, 158),
        "resnet50_v2": (75.6, 205),
        "inception_v3": (78.0, 788),
        "inception_resnet_v2": (80.4, 871),
        "nasnet_large": (82.7, 1265),
        "pnasnet5_large": (82.9, 939),
    }


def test_listing_takes_no_tensorflow():
    code = (
        "from slicebed_agent.model import zoo; import sys; print(len(zoo.list_models()), 'tensorflow' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told == "8 False\n"


def test_an_unknown_model_tells_the_nearest():
    with pytest.raises(AgentConfigError, match="no model 'nasnet' in the zoo; nearest: nasnet_large"):
        zoo.entry("nasnet")


@pytest.mark.parametrize("name", ["MobileNetV2", "InceptionResNetV2", "NASNetLarge", "PNASNet5-Large", "VGG16"])
def test_a_model_is_found_as_keras_writes_its_name(name):
    assert zoo.entry(name) in zoo.list_models()
    with pytest.raises(AgentConfigError):
        zoo.entry(f"./{name}")
