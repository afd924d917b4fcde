"""A SavedModel has the split points of the model that it was saved from, and every one of them runs."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.execute.check import check_cuts
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.graphdef.read import read_graph
from slicebed_agent.model.load import open_model
from slicebed_agent.model.source import ModelSource

# Keras' own code and this numpy disagree; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
WIDTH = 6


@pytest.fixture
def opened(tmp_path):
    return lambda path, **options: open_model(ModelSource(str(path), **options), cache=tmp_path / "cache")


@pytest.fixture
def nested(tf, tmp_path):
    """Save a module whose functions call functions; `between` is what happens in the middle."""

    def save(between=lambda tensor: tensor):
        module = tf.Module()
        module.first = tf.Variable(np.random.default_rng(1).uniform(-1, 1, (WIDTH, WIDTH)).astype(np.float32))
        module.second = tf.Variable(np.random.default_rng(2).uniform(-1, 1, (WIDTH, WIDTH)).astype(np.float32))
        inner = tf.function(lambda tensor: tf.nn.relu(tensor @ module.first))
        outer = tf.function(lambda tensor: tf.nn.relu(inner(tensor) @ module.second))
        middle = tf.function(between)
        given = [tf.TensorSpec((None, WIDTH), tf.float32, name="image")]
        serve = tf.function(lambda image: {"scores": tf.nn.softmax(outer(middle(outer(image))))}, input_signature=given)
        tf.saved_model.save(module, str(tmp_path / "nested"), signatures={"serving_default": serve})
        return tmp_path / "nested"

    return save


def _points(model, most=1):
    return split_points(read_graph(model.path), "exact", most)


def _told(points):
    sizes = ("position", "bytes_per_frame", "flops_before", "flops_after", "parameters_before", "parameters_after")
    return [[len(point.tensors), *(getattr(point, size) for size in sizes)] for point in points]


def _all_equal(model, points):
    ends = [each.name for each in model.card.inputs], [each.name for each in model.card.outputs]
    with Executor(model.path) as executor:
        rows = list(check_cuts(executor, ends, [(point,) for point in points], batch=2))
    return len(rows) == len(points) and all(row.passed and row.refused is None for row in rows)


@pytest.fixture
def twins(tf, make, tmp_path):
    """Save a model as a SavedModel, in one of two ways, and as a .keras file."""

    def save(kind, way):
        model = make(kind)
        model.save(tmp_path / "twin.keras")
        if way == "export":
            model.export(tmp_path / "saved", verbose=False)
        else:
            tf.saved_model.save(model, str(tmp_path / "saved"))
        return tmp_path / "saved", tmp_path / "twin.keras"

    return save


@pytest.mark.parametrize("kind", ["branches", "shared", "nested", "sequential"])
@pytest.mark.parametrize("way", ["export", "save"])
def test_a_saved_keras_model_has_the_cuts_of_its_twin(twins, opened, kind, way):
    saved, twin = map(opened, twins(kind, way))
    for most in (1, 2):
        points = _points(saved, most)
        assert points
        assert _told(points) == _told(_points(twin, most))
        assert _all_equal(saved, points)


def test_nested_functions_are_cut_between_all_their_operators(nested, opened, run_file, tf):
    path = nested()
    model = opened(path)
    points = _points(model)
    assert [point.name.rpartition("/")[2] for point in points] == ["matmul", "Relu", "matmul", "Relu"] * 2
    assert _all_equal(model, points)
    frames = np.random.default_rng(3).uniform(-1, 1, (2, WIDTH)).astype(np.float32)
    (got,) = run_file(model.path, [model.card.outputs[0].name], {model.card.inputs[0].name: frames})
    expected = tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant(frames))["scores"]
    assert np.allclose(got, expected.numpy(), rtol=1e-6, atol=1e-7)


def test_an_assertion_in_the_middle_is_kept_and_not_cut_across(tf, nested, opened, run_file):
    def checked(tensor):
        with tf.control_dependencies([tf.raw_ops.Assert(condition=tf.reduce_all(tensor < 1e3), data=[tensor])]):
            return tf.identity(tensor)

    model = opened(nested(checked))
    assert [point.name.rpartition("/")[2] for point in _points(model)] == ["matmul", "Relu", "matmul", "Relu"]
    assert _all_equal(model, _points(model))
    ends = [model.card.outputs[0].name], model.card.inputs[0].name
    run_file(model.path, ends[0], {ends[1]: np.ones((1, WIDTH), np.float32)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="assertion failed"):
        run_file(model.path, ends[0], {ends[1]: np.full((1, WIDTH), 1e9, np.float32)})


def test_an_output_that_is_given_twice_or_is_the_input_keeps_its_own_operator(tf, opened, run_file, tmp_path):
    module, inner = tf.Module(), tf.function(tf.nn.relu)

    def serve(image):
        positive = inner(image)
        return {"one": positive, "same": image, "two": positive}

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec((None, 2), tf.float32, name="image")])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.serve})
    model = opened(tmp_path / "saved", outputs=("one", "same", "two"))
    frames = np.array([[-1.0, 2.0]], np.float32)
    got = run_file(model.path, [each.name for each in model.card.outputs], {model.card.inputs[0].name: frames})
    assert [each.tolist() for each in got] == [[[0.0, 2.0]], [[-1.0, 2.0]], [[0.0, 2.0]]]


def test_a_condition_is_not_called_a_loop(tf, nested, opened):
    path = nested(lambda tensor: tf.cond(tf.reduce_sum(tensor) > 0, lambda: tensor, lambda: -tensor))
    with pytest.raises(AgentConfigError, match=r"If; a condition hides its branches: export one of them") as caught:
        opened(path)
    assert "loop" not in str(caught.value)


def test_a_loop_is_told_to_be_unrolled(tf, nested, opened):
    def turning(tensor):
        return tf.while_loop(lambda each: tf.reduce_sum(each) < 1e3, lambda each: (each * 2 + 1,), (tensor,))[0]

    with pytest.raises(AgentConfigError, match="While; a loop has no split points; unroll it"):
        opened(nested(turning))


@pytest.mark.parametrize("side", ["input", "output"])
def test_strings_are_told_in_one_line(tf, opened, tmp_path, side):
    module = tf.Module()
    if side == "input":
        given = tf.TensorSpec((None,), tf.string, name="text")
        module.serve = tf.function(lambda text: {"size": tf.strings.length(text)}, input_signature=[given])
    else:
        given = tf.TensorSpec((None,), tf.int32, name="number")
        module.serve = tf.function(lambda number: {"text": tf.strings.as_string(number)}, input_signature=[given])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.serve})
    with pytest.raises(AgentConfigError, match="holds values of type string, not numbers"):
        opened(tmp_path / "saved")
