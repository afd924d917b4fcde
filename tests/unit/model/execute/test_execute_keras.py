"""Random Keras models, from file to chain: what Keras computes, the whole computes, and so does every chain."""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from slicebed_agent.model import runtime
from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.execute.check import check_cuts, sample, seeded_frame
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.graphdef.read import read_graph
from slicebed_agent.model.load import open_model
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from pathlib import Path

# Keras's own, on its way to numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def keras() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TensorFlow's own modules do while they are imported
        return runtime.tensorflow().keras


def random_model(keras: Any, seed: int) -> Any:
    """Convolutions, normalisation, branches, skips, and operators of several outputs, as `seed` has it."""
    drawn = random.Random(seed)
    keras.utils.set_random_seed(seed)
    layers, ops = keras.layers, keras.ops
    tensor = given = keras.Input((12, 12, 6))
    for step in range(5):
        match (seed + step) % 5:
            case 0:
                branch = layers.Conv2D(6, 3, padding="same", activation="relu")(tensor)
                tensor = layers.Add()([tensor, layers.BatchNormalization()(branch)])
            case 1:
                one, two = ops.split(tensor, 2, axis=-1)
                tensor = layers.Concatenate()([layers.Conv2D(3, 1, use_bias=False)(two), one])
            case 2:
                parts = ops.unstack(tensor, 6, axis=-1)
                drawn.shuffle(parts)
                tensor = ops.stack(parts, axis=-1)
            case 3:
                left = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(tensor)
                left = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(left))
                right = layers.AveragePooling2D(3, strides=1, padding="same")(tensor)
                tensor = layers.Concatenate()([left, right])
                tensor = layers.Conv2D(6, 1, use_bias=drawn.random() < 0.5)(tensor)
            case _:
                squeezed = layers.Dense(6, activation="sigmoid")(layers.GlobalAveragePooling2D()(tensor))
                tensor = layers.Multiply()([tensor, layers.Reshape((1, 1, 6))(squeezed)])
    model = keras.Model(given, layers.Dense(5, activation="softmax")(layers.Flatten()(tensor)))
    # Fresh moving averages would make a normalisation the identity, and hide one that was folded wrongly.
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, each.shape) for each in layer.get_weights()])
    return model


@pytest.mark.parametrize("seed", [0, 3])
def test_chains_of_a_random_keras_model_are_the_whole(keras: Any, tmp_path: Path, seed: int) -> None:
    model = random_model(keras, seed)
    model.save(tmp_path / "model.keras")
    frozen = open_model(ModelSource(str(tmp_path / "model.keras")), cache=tmp_path / "cache")
    ends = ([each.name for each in frozen.card.inputs], [each.name for each in frozen.card.outputs])
    points = split_points(read_graph(frozen.path, inputs=ends[0], outputs=ends[1]), "exact", 2)
    with Executor(frozen.path) as executor:
        frame = seeded_frame(executor.describe(ends[0])[0], 1, 3)
        (found,) = executor.prepare(*ends).run([frame])
        np.testing.assert_allclose(found, model(frame, training=False).numpy(), rtol=1e-5, atol=1e-6)
        cuts = [(point,) for point in sample(points, 12, seed)]
        rows = list(check_cuts(executor, ends, [points[2::7], *cuts], seed=1, batch=3))
    assert len(points) > 10
    assert [row for row in rows if not row.passed] == []
