"""What the control machine knows of a model, without TensorFlow, against what the agent really has."""

from __future__ import annotations

import warnings

from slicebed.spec.models import HELD_OUT_IMAGES, LAYER_KINDS
from slicebed_agent.model import cnn14, digits, runtime


def test_the_layer_table_is_the_model():
    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        built = cnn14.build(runtime.tensorflow())
    assert [type(layer).__name__ for layer in built.layers] == list(LAYER_KINDS["cnn14"])


def test_the_number_of_images_is_the_data_files():
    images, labels = digits.load().part(held_out=True)
    assert len(images) == len(labels) == HELD_OUT_IMAGES
