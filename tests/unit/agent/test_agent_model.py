"""The model is the paper's, its weights are good, and its slices are the whole model cut."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from slicebed.run.samples import EQUALITY_BAR
from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.model import codec, digits, reference, slices, weights

TABLE1 = Path(__file__).parents[3] / "results" / "reference" / "dnn_slicing" / "table1_model.csv"


def test_every_layer_is_the_papers(model):
    rows = list(csv.DictReader(TABLE1.read_text().splitlines()))
    published = [(int(row["layer"]), row["type"], row["output_shape"], int(row["params"])) for row in rows]
    ours = [(x.number, x.kind, str((None, *x.output_shape)), x.parameters) for x in model.layers]
    assert ours == published


def test_the_kept_weights_recognise_held_out_digits(model):
    whole = reference.load("cnn14")
    accuracy = float(np.mean(np.argmax(whole.outputs, axis=1) == whole.labels))
    record = json.loads((digits.DATA / "cnn14.json").read_text())
    assert accuracy == pytest.approx(record["held_out_accuracy"], abs=1e-6)
    assert accuracy > 0.97
    assert record["weights_sha256"] == model.weights_sha256 == slices.recorded_sha256("cnn14")


def test_held_out_images_were_kept_from_training():
    data = digits.load()
    record = json.loads((digits.DATA / "cnn14.json").read_text())
    again = digits.split(data.images, data.labels, record["seed"])
    assert np.array_equal(again.held_out, data.held_out)
    assert data.held_out.sum() == record["held_out_images"]


def test_enlarging_keeps_flat_images_flat_and_ramps_straight():
    flat = np.full((1, 8, 8), 8, np.uint8)
    assert np.array_equal(digits.enlarge(flat), np.full((1, 28, 28, 1), 0.5, np.float32))
    ramp = np.broadcast_to(np.arange(0, 16, 2, dtype=np.uint8), (1, 8, 8))
    row = digits.enlarge(ramp)[0, 14, :, 0]
    assert row[0] == 0
    assert row[-1] == np.float32(14 / 16)
    inner = np.diff(row[2:-2])
    assert np.allclose(inner, 2 / 16 * 8 / 28, atol=1e-6)


@pytest.mark.parametrize("middle", range(15))
def test_two_slices_give_the_whole_models_output(model, middle):
    whole = reference.load("cnn14")
    drawn = whole.draw(1, 2, 4)
    after = model.slice(1, middle).run(whole.images[drawn])
    agreement = whole.compare(drawn, model.slice(middle + 1, 14).run(after))
    assert agreement.labels_equal == agreement.images == 4
    assert agreement.max_abs_error <= EQUALITY_BAR


def test_slices_share_the_weights_and_are_kept(model):
    assert model.slice(1, 3) is model.slice(1, 3)
    halves = model.slice(1, 9).parameters + model.slice(10, 14).parameters
    assert halves == model.slice(1, 14).parameters == 673_930


@pytest.mark.parametrize(("first", "last"), [(0, 3), (1, 15), (5, 3), (16, 15)])
def test_layers_that_do_not_exist_are_refused(model, first, last):
    with pytest.raises(AgentConfigError, match=r"layers are 1\.\.14"):
        model.slice(first, last)


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((2, 28, 28, 3), np.float32),
        np.zeros((28, 28, 1), np.float32),
        np.zeros((2, 28, 28, 1), np.float64),
        np.zeros((0, 28, 28, 1), np.float32),
        np.float32(1.0).reshape(()),
    ],
)
def test_a_slice_refuses_what_does_not_fit(model, tensor):
    with pytest.raises(PayloadError, match="the entrance of layer 1 takes float32"):
        model.slice(1, 3).run(tensor)


def test_an_unknown_model_is_refused():
    with pytest.raises(AgentConfigError, match="the zoo holds cnn14"):
        slices.load("resnet")


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 4, 4, 128), (0, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool"])
def test_a_tensor_survives_the_codec(model, shape, dtype):
    tensor = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    again = codec.decode(codec.encode(tensor))
    assert again.dtype == tensor.dtype
    assert again.shape == tensor.shape
    assert np.array_equal(again, tensor)


def test_the_codec_writes_what_tensorflow_reads(model):
    from slicebed_agent.model.runtime import tensorflow

    tensor = np.arange(6, dtype=np.float32).reshape(2, 3)
    parsed = tensorflow().io.parse_tensor(codec.encode(tensor), tensorflow().float32)
    assert np.array_equal(parsed.numpy(), tensor)


def _proto(**fields):
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in fields.pop("shape")]
    )
    return tensor_pb2.TensorProto(tensor_shape=shape, **fields).SerializeToString()


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"\xff\xff\xff",
        lambda: _proto(dtype=1, shape=[10**6, 10**6], float_val=[1.0]),
        lambda: _proto(dtype=1, shape=[4], tensor_content=b"123"),
        lambda: _proto(dtype=1, shape=[-1], tensor_content=b"1234"),
        lambda: _proto(dtype=7, shape=[1], string_val=[b"text"]),
        lambda: _proto(dtype=0, shape=[1]),
        lambda: _proto(dtype=99, shape=[1]),
    ],
    ids=["garbage", "bomb", "short", "open shape", "strings", "no dtype", "unknown dtype"],
)
def test_the_codec_refuses_what_contradicts_itself(model, make):
    with pytest.raises(PayloadError, match="TensorProto"):
        codec.decode(make())


def test_frames_are_drawn_by_seed(model):
    whole = reference.load("cnn14")
    assert np.array_equal(whole.draw(7, 3, 16), whole.draw(7, 3, 16))
    assert not np.array_equal(whole.draw(7, 3, 16), whole.draw(7, 4, 16))
    assert not np.array_equal(whole.draw(7, 3, 16), whole.draw(8, 3, 16))
    with pytest.raises(AgentConfigError, match=r"1\.\.359"):
        whole.draw(7, 0, 360)


def test_a_wrong_answer_is_seen(model):
    whole = reference.load("cnn14")
    drawn = whole.draw(7, 0, 8)
    answer = whole.outputs[drawn].copy()
    answer[0] = np.roll(answer[0], 1)
    agreement = whole.compare(drawn, answer)
    assert agreement.labels_equal == 7
    assert agreement.max_abs_error > 0.1
    answer[1, 0] = np.nan
    with pytest.raises(PayloadError, match="no numbers"):
        whole.compare(drawn, answer)


def test_rounded_weights_are_recognised_by_content(tmp_path):
    kept = weights.rounded([np.linspace(0, 1, 12).reshape(3, 4), np.ones(2)])
    weights.save(tmp_path / "w.npz", kept)
    again = weights.load(tmp_path / "w.npz")
    assert weights.sha256(again) == weights.sha256(kept)
    again[1][0] = 0.5
    assert weights.sha256(again) != weights.sha256(kept)
