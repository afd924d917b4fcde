"""The model is the paper's, its weights are good, and the digits it is shown were kept from its training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from slicebed.spec.experiment_model import EQUALITY_BAR
from slicebed_agent.model import codec, digits, weights
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.load import open_model
from slicebed_agent.model.reference import Images, References
from slicebed_agent.model.source import ModelSource

TABLE1 = Path(__file__).parents[3] / "results" / "reference" / "dnn_slicing" / "table1_model.csv"


@pytest.fixture(scope="module")
def executor(cnn14):
    with Executor(cnn14.path) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(cnn14, executor):
    return References().of(cnn14.sha256, executor, cnn14.ends[:1], (Images.DIGITS, cnn14.ends[-1], 4))


def test_every_layer_is_the_papers(cnn14, executor):
    rows = list(csv.DictReader(TABLE1.read_text().splitlines()))
    published = [(int(row["layer"]), row["type"], row["output_shape"], int(row["params"])) for row in rows]
    card = open_model(ModelSource("cnn14"), cache=cnn14.path.parents[1]).card
    shapes = [boundary.shape for boundary in executor.describe(cnn14.ends[1:])]
    layers = enumerate(zip(card.layers, shapes, strict=True), 1)
    assert [(n, layer.kind, str(shape), layer.parameters) for n, (layer, shape) in layers] == published


def test_the_kept_weights_recognise_held_out_digits(whole):
    accuracy = float(np.mean(np.argmax(whole.outputs, axis=1) == whole.pool.labels))
    record = json.loads((digits.DATA / "cnn14.json").read_text())
    assert accuracy == pytest.approx(record["held_out_accuracy"], abs=1e-6)
    assert accuracy > 0.97
    assert record["weights_sha256"] == weights.sha256(weights.load(weights.path_of("cnn14")))


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
def test_two_slices_give_the_whole_models_output(cnn14, executor, whole, middle):
    drawn = whole.pool.draw(1, 2, 4)
    arrays = whole.draw(1, 2, 4)
    ends = cnn14.ends
    for feed, fetch in ((ends[0], ends[middle]), (ends[middle], ends[-1])):
        part = executor.prepare([feed], [fetch], warm=False)
        arrays = part.run(arrays)
        part.release()
    agreement = whole.compare(drawn, codec.encode(arrays))
    assert agreement.labels_equal == agreement.images == 4
    assert agreement.max_rel_error <= EQUALITY_BAR


def test_rounded_weights_are_recognised_by_content(tmp_path):
    kept = weights.rounded([np.linspace(0, 1, 12).reshape(3, 4), np.ones(2)])
    weights.save(tmp_path / "w.npz", kept)
    again = weights.load(tmp_path / "w.npz")
    assert weights.sha256(again) == weights.sha256(kept)
    again[1][0] = 0.5
    assert weights.sha256(again) != weights.sha256(kept)
