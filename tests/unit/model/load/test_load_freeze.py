"""A frozen model computes what the Keras model computes, and its layer table says which tensor is whose."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import freeze, keras_source


def _frames(tensor, batch):
    return np.random.default_rng(batch).uniform(-1, 1, (batch, *tensor.shape[1:])).astype(tensor.dtype)


def _same(got, expected):
    """On some processors a graph's operators are fused into kernels that round otherwise than the eager ones."""
    return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["branches", "shared", "nested", "sequential"])
def test_the_frozen_file_gives_the_models_output(make, frozen, run_file, kind, batch):
    model = make(kind)
    path, written = frozen(model)
    frames = _frames(written.inputs[0], batch)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: frames})
    assert _same(got, model(frames, training=False).numpy())
    assert written.inputs[0].shape[0] is None
    assert written.outputs[0].shape == (None, *got.shape[1:])


@pytest.mark.parametrize("kind", ["branches", "shared", "nested", "sequential"])
def test_every_layers_tensor_is_what_the_layer_gives(make, frozen, run_file, tf, kind):
    model = make(kind)
    path, written = frozen(model)
    frames = _frames(written.inputs[0], 2)
    rows = {row.name: row for row in written.layers}
    given = run_file(path, [row.outputs[0] for row in written.layers], {written.inputs[0].name: frames})
    found = dict(zip(rows, given, strict=True))
    for layer in model.layers:
        if layer.name in rows and len(layer._inbound_nodes) == 1:
            assert _same(found[layer.name], tf.keras.Model(model.inputs[0], layer.output)(frames).numpy())
    assert _same(given[-1], model(frames, training=False).numpy())


def test_the_layer_table_of_a_model_with_branches(make, frozen):
    _, written = frozen(make("branches"))
    rows = {row.name: row for row in written.layers}
    assert list(rows) == [
        "first",
        "bn",
        *sorted(("left", "right"), key=list(rows).index),
        "join",
        "drop",
        "pool",
        "answer",
    ]
    assert rows["first"].kind == "Conv2D"
    assert rows["first"].parameters == 4 * 28
    assert rows["first"].operators == ("first/convolution", "first/BiasAdd", "first/Relu")
    assert rows["first"].outputs == ("first/Relu:0",)
    assert rows["drop"].outputs == rows["join"].outputs  # at inference it passes on
    assert rows["drop"].operators == ()
    operators = [name for row in written.layers for name in row.operators]
    assert len(operators) == len(set(operators))


def test_a_layer_used_twice_has_a_row_for_each_call_and_its_weights_once(make, frozen):
    model = make("shared")
    path, written = frozen(model)
    assert [row.name for row in written.layers] == ["shared", "shared.2"]
    assert written.layers[0].outputs != written.layers[1].outputs
    assert path.read_bytes().count(model.get_weights()[0].tobytes()) == 1


def test_layers_of_a_model_in_a_model_are_named_by_their_path(make, frozen):
    _, written = frozen(make("nested"))
    assert [row.name for row in written.layers] == ["inside/deep", "last"]


def test_the_same_model_gives_the_same_file(make, frozen):
    assert frozen(make("branches"))[0] == frozen(make("branches"))[0]


def test_only_what_the_output_needs_is_in_the_file(make, frozen, run_file):
    model = make("branches")
    path, written = frozen(model, outputs=["first"])
    assert b"answer/kernel" not in path.read_bytes()
    assert [row.name for row in written.layers] == ["first"]
    frames = _frames(written.inputs[0], 1)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: frames})
    assert got.shape == (1, 12, 12, 4)


def test_several_inputs_and_outputs_have_to_be_chosen(make, frozen, run_file):
    model = make("two_ends")
    with pytest.raises(AgentConfigError, match=r"2 inputs: one, two; name all, each with --input"):
        frozen(model)
    with pytest.raises(AgentConfigError, match=r"2 outputs: small, wide"):
        frozen(model, inputs=["one", "two"])
    path, written = frozen(model, inputs=["two", "one"], outputs=["wide", "small"])
    two, one = (_frames(each, 2) for each in written.inputs)
    assert [each.shape for each in written.inputs] == [(None, 3), (None, 4)]
    got = run_file(path, [each.name for each in written.outputs], {"two:0": two, "one:0": one})
    small, wide = model([one, two])
    assert _same(got[0], wide.numpy())
    assert _same(got[1], small.numpy())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inputs": ["one"], "outputs": ["wide"]}, "name every input"),
        ({"inputs": ["one", "three"], "outputs": ["wide"]}, "no input 'three'"),
        ({"inputs": ["one", "two"], "outputs": ["wid"]}, "nearest: wide"),
        ({"inputs": ["one", "two"], "outputs": ["wide", "wide"]}, "name each once"),
        ({"inputs": ["one", "two"], "outputs": ["wide"], "input_shape": (3,)}, "one input shape for 2 inputs"),
    ],
)
def test_a_wrong_choice_is_told(make, frozen, options, told):
    with pytest.raises(AgentConfigError, match=told):
        frozen(make("two_ends"), **options)


def test_sizes_that_are_open_have_to_be_given(tf, frozen, run_file):
    image = tf.keras.Input((None, None, 1))
    model = tf.keras.Model(image, tf.keras.layers.Conv2D(2, 3)(image))
    with pytest.raises(AgentConfigError, match="--input-shape"):
        frozen(model)
    with pytest.raises(AgentConfigError, match="does not fit"):
        frozen(model, input_shape=(8, 8, 3))
    path, written = frozen(model, input_shape=(8, 8, 1))
    assert written.outputs[0].shape == (None, 6, 6, 2)
    frames = _frames(written.inputs[0], 2)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: frames})
    assert _same(got, model(frames).numpy())


def test_a_loop_is_refused_and_unrolled_accepted(tf, frozen, run_file):
    with pytest.raises(AgentConfigError, match="While; a loop has no split points; unroll it"):
        frozen(tf.keras.Sequential([tf.keras.Input((5, 3)), tf.keras.layers.SimpleRNN(2)]))
    model = tf.keras.Sequential([tf.keras.Input((5, 3)), tf.keras.layers.SimpleRNN(2, unroll=True)])
    path, written = frozen(model)
    frames = _frames(written.inputs[0], 2)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: frames})
    assert np.allclose(got, model(frames).numpy(), rtol=1e-6, atol=1e-7)


def test_variables_that_are_not_just_read_become_constants_too(tf, frozen, run_file):
    table = tf.keras.layers.Embedding(20, 4, name="table")
    model = tf.keras.Sequential([tf.keras.Input((6,), dtype="int32"), table, tf.keras.layers.Flatten(name="flat")])
    path, written = frozen(model)
    numbers = np.arange(12, dtype=np.int32).reshape(2, 6)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: numbers})
    assert _same(got, model(numbers).numpy())
    assert written.inputs[0].dtype == "int32"


def test_half_precision_stays_half_precision(tf, frozen, run_file):
    layers = [tf.keras.Input((4,), dtype="float16"), tf.keras.layers.Dense(3, dtype="float16")]
    model = tf.keras.Sequential(layers)
    path, written = frozen(model)
    assert written.outputs[0].dtype == "float16"
    frames = _frames(written.inputs[0], 2)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: frames})
    assert _same(got, model(frames).numpy())


def test_a_subclassed_model_has_operators_and_no_layers(tf, frozen, run_file):
    class Own(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = tf.keras.layers.Dense(3)

        def call(self, image):
            return tf.nn.relu(self.dense(image))

    model = Own()
    with pytest.raises(AgentConfigError, match="give --input-shape"):
        frozen(model)
    model(np.zeros((1, 4), np.float32))
    path, written = frozen(model, input_shape=(4,))
    assert written.layers == ()
    assert "operators only" in written.layers_note
    frames = _frames(written.inputs[0], 2)
    (got,) = run_file(path, [written.outputs[0].name], {written.inputs[0].name: frames})
    assert _same(got, model(frames).numpy())


def test_more_than_protobuf_holds_is_refused_before_anything_is_written(make, store, monkeypatch):
    monkeypatch.setattr("slicebed_agent.model.graph_writer.MAX_BYTES", 1000)
    trace = keras_source.trace_keras(make("branches"))
    with store.writing() as sink:
        with pytest.raises(AgentConfigError, match="a GraphDef holds less than 2 GB"):
            freeze.freeze(trace, sink)
        assert sink.size_bytes == 0
    assert list(store.folder.iterdir()) == []
