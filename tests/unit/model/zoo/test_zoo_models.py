"""Architectures have the published size; weights are the same everywhere and keep the signal alive."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import zoo
from slicebed_agent.model.card import WeightsKind
from slicebed_agent.model.zoo import pnasnet, seeded

# Keras' own code and this numpy disagree; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

# Hash of seeded values, written down once; it must never change, or old results name other weights.
GOLDEN = "8c7ea10868d18f0487b915cf9c94a7e5bfce02e18ace1c50ceef7a0abafcd03c"


@pytest.fixture
def cnn14(tf):
    return zoo.build("cnn14")


def _digest(model):
    return [hashlib.sha256(each.tobytes()).hexdigest() for each in model.get_weights()]


def test_pnasnet5_large_has_the_published_number_of_parameters(tf):
    model = zoo.build("pnasnet5_large")
    trainable = sum(math.prod(each.shape) for each in model.trainable_variables)
    assert trainable == 86_057_668
    assert round(trainable / 1e6, 1) == zoo.entry("pnasnet5_large").published_parameters_millions
    assert model.get_layer("cell_11_out").output.shape == (None, 11, 11, 4320)


def test_pnasnets_cells_shrink_where_the_paper_says(tf):
    model = pnasnet.build(tf, (97, 97, 3), pnasnet.Size(cells=6, filters=24, stem_filters=8), classes=10)
    sides = [model.get_layer(f"cell_{number}_out").output.shape[1] for number in range(6)]
    widths = [model.get_layer(f"cell_{number}_out").output.shape[3] for number in range(6)]
    assert sides == [12, 12, 6, 6, 3, 3]
    assert widths == [5 * 24, 5 * 24, 5 * 48, 5 * 48, 5 * 96, 5 * 96]


@pytest.mark.parametrize(("name", "millions"), [("mobilenet_v2", 6.156712), ("resnet50_v2", 25.6138)])
def test_models_have_the_documented_number_of_parameters(tf, name, millions):
    assert zoo.build(name).count_params() == pytest.approx(millions * 1e6, abs=0.5)
    assert round(millions, 1) == zoo.entry(name).published_parameters_millions


def test_layers_are_called_the_same_however_often_they_are_built(tf):
    names = [[layer.name for layer in zoo.build("cnn14").layers] for _ in range(2)]
    assert names[0] == names[1]


def test_cnn14_comes_trained_unless_a_seed_is_asked_for(cnn14):
    known = zoo.entry("cnn14")
    assert zoo.preset(cnn14, known, None).kind is WeightsKind.TRAINED
    trained = _digest(cnn14)
    weights = zoo.preset(cnn14, known, 5)
    assert (weights.kind, weights.seed, str(weights)) == (WeightsKind.SEED, 5, "seed 5")
    seeded_five = _digest(cnn14)
    assert seeded_five != trained
    zoo.preset(cnn14, known, 6)
    assert _digest(cnn14) != seeded_five
    zoo.preset(cnn14, known, 5)
    assert _digest(cnn14) == seeded_five


def test_seeded_values_are_these_on_every_machine():
    values = seeded.uniform((3, 3, 2, 5), 20201123, "some/kernel", balanced=True)
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest() == GOLDEN
    assert np.all(np.abs(values.sum(axis=(0, 1, 2), dtype=np.float64)) < 18 * 2.0**-22)
    plain = seeded.uniform((100_000,), 1, "x")
    assert -1 <= plain.min() < -0.999
    assert 0.999 < plain.max() < 1
    assert abs(plain.mean()) < 0.01
    assert plain.std() == pytest.approx(1 / math.sqrt(3), rel=0.01)


@pytest.mark.parametrize("name", ["cnn14", "mobilenet_v2", "resnet50_v2"])
def test_seeded_models_tell_frames_apart_and_are_certain_of_none(tf, name):
    known = zoo.entry(name)
    model = zoo.build(name)
    zoo.preset(model, known, zoo.DEFAULT_SEED)
    frames = seeded.image(known, 1, frames=4)
    answers = model.predict_on_batch(frames)
    assert np.all(np.isfinite(answers))
    assert np.all(answers.max(axis=1) < 0.9)
    assert np.all(answers.max(axis=1) > 2 / known.classes if known.classes > 10 else answers.max(axis=1) > 0.1)
    apart = np.abs(answers[0] - answers[1:]).max(axis=1)
    assert np.all(apart > 0.02 * answers.max())
    nudged = frames * (1 + 1e-5 * seeded.uniform(frames.shape, 2, "nudge"))
    grown = np.abs(model.predict_on_batch(nudged) - answers).max() / answers.max()
    assert grown < 1e-4  # else rounding alone would make equal computations differ


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".npz", "ordered.npz"])
def test_weights_come_from_a_file(cnn14, tmp_path, suffix):
    zoo.preset(cnn14, zoo.entry("cnn14"), 5)
    wanted = _digest(cnn14)
    path = tmp_path / f"kept{suffix}"
    if suffix == ".npz":
        np.savez(path, **{each.path: each.numpy() for each in cnn14.variables})
    elif suffix == "ordered.npz":
        np.savez(path, **{f"w{number:02d}": each for number, each in enumerate(cnn14.get_weights())})
    else:
        cnn14.save_weights(path) if suffix == ".weights.h5" else cnn14.save(path)
    zoo.preset(cnn14, zoo.entry("cnn14"), 6)
    weights = zoo.load_weights(cnn14, path)
    assert _digest(cnn14) == wanted
    assert weights.kind is WeightsKind.FILE
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_that_do_not_fit_change_nothing(cnn14, tmp_path):
    before = _digest(cnn14)
    arrays = {each.path: each.numpy() for each in cnn14.variables}
    first = next(iter(arrays))
    cases = {
        "fewer.npz": {name: each for name, each in arrays.items() if name != first},
        "wrong.npz": {**arrays, first: np.zeros((1, 2))},
    }
    for name, held in cases.items():
        np.savez(tmp_path / name, **held)
    (tmp_path / "text.npz").write_text("no weights")
    (tmp_path / "text.weights.h5").write_text("no weights")
    (tmp_path / "weights.txt").write_text("no weights")
    told = {
        "fewer.npz": f"{first} missing",
        "wrong.npz": rf"{first} is \(1, 2\), the model's is",
        "text.npz": "the weights do not fit cnn14",
        "text.weights.h5": "the weights do not fit cnn14",
        "weights.txt": "unknown kind of weights",
        "gone.npz": "no such file",
    }
    for name, message in told.items():
        with pytest.raises(AgentConfigError, match=message):
            zoo.load_weights(cnn14, tmp_path / name)
    assert _digest(cnn14) == before


def test_a_size_that_a_model_cannot_have_is_told(tf):
    with pytest.raises(
        AgentConfigError, match=r"cannot be built for input \(5, 5, 3\).*published with \(224, 224, 3\)"
    ):
        zoo.build("mobilenet_v2", (5, 5, 3))
    with pytest.raises(AgentConfigError, match="its dense layers fit no other"):
        zoo.build("cnn14", (32, 32, 1))
