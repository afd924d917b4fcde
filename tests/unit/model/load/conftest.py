"""Small Keras models of every shape, and TensorFlow as the judge of what was frozen."""

from __future__ import annotations

import warnings

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tf():
    from slicebed_agent.model import runtime

    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        runtime.tensorflow().keras.layers  # noqa: B018 - Keras is imported on first use
    return runtime.tensorflow()


@pytest.fixture(scope="session")
def run_file(tf):
    """Run a frozen file: names of tensors to fetch, arrays by the names of those to feed."""

    def run(path, fetches, feeds):
        graph_def = tf.compat.v1.GraphDef()
        graph_def.ParseFromString(path.read_bytes())
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(list(fetches), feeds)

    return run


@pytest.fixture
def store(tmp_path):
    from slicebed_agent.model.files import Store

    return Store(tmp_path / "store")


@pytest.fixture
def frozen(tf, store):
    """Freeze a Keras model: the file and what was written."""
    from slicebed_agent.model import freeze, keras_source

    def freeze_it(model, **options):
        with store.writing() as sink:
            written = freeze.freeze(keras_source.trace_keras(model, **options), sink)
            return store.keep(sink), written

    return freeze_it


def _branches(keras):
    image = keras.Input((12, 12, 3), name="image")
    net = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(image)
    net = keras.layers.BatchNormalization(name="bn")(net)
    left = keras.layers.DepthwiseConv2D(3, padding="same", name="left")(net)
    net = keras.layers.Add(name="join")([keras.layers.ReLU(name="right")(net), left])
    net = keras.layers.Dropout(0.5, name="drop")(net)
    net = keras.layers.GlobalAveragePooling2D(name="pool")(net)
    return keras.Model(image, keras.layers.Dense(5, activation="softmax", name="answer")(net), name="branches")


def _shared(keras):
    image = keras.Input((8,), name="image")
    layer = keras.layers.Dense(8, activation="tanh", name="shared")
    return keras.Model(image, layer(layer(image)), name="shared_twice")


def _nested(keras):
    inside = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="deep")], name="inside")
    image = keras.Input((8,), name="image")
    return keras.Model(image, keras.layers.Dense(2, name="last")(inside(image)), name="nested")


def _sequential(keras):
    layers = [keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3, name="only"), keras.layers.Flatten(name="flat")]
    return keras.Sequential(layers, name="in_a_row")


def _two_ends(keras):
    one, two = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    both = keras.layers.Concatenate(name="both")([one, two])
    ends = [keras.layers.Dense(2, name="small")(both), keras.layers.Dense(3, name="wide")(both)]
    return keras.Model([one, two], ends, name="two_ends")


MAKERS = {
    "branches": _branches,
    "shared": _shared,
    "nested": _nested,
    "sequential": _sequential,
    "two_ends": _two_ends,
}


@pytest.fixture
def make(tf):
    """Make a small model by its kind, with weights and statistics that differ from their neutral start."""

    def make_it(kind):
        tf.keras.backend.clear_session(free_memory=False)
        model = MAKERS[kind](tf.keras)
        random = np.random.default_rng(7)
        model.set_weights([random.uniform(0.2, 1, each.shape).astype(each.dtype) for each in model.get_weights()])
        return model

    return make_it
