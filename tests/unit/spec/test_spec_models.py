"""What the control machine knows of a model, without TensorFlow, against what the agent really has."""

from __future__ import annotations

import tensorflow as tf

from slicebed.spec.models import HELD_OUT_IMAGES, LAYER_KINDS
from slicebed_agent.model import cnn14, digits


def test_the_layer_table_is_the_model():
    assert [type(layer).__name__ for layer in cnn14.build(tf).layers] == list(LAYER_KINDS["cnn14"])


def test_the_number_of_images_is_the_data_files():
    images, labels = digits.load().part(held_out=True)
    assert len(images) == len(labels) == HELD_OUT_IMAGES
