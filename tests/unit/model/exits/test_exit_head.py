"""An early-exit head knows its digits, is right where it is sure, and is what its card says."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import digits
from slicebed_agent.model.exit_card import HeadCard, card_of, find_head
from slicebed_agent.model.exit_head import confident, train
from slicebed_agent.model.files import hash_file

# Keras, where it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

CHANCE = 0.1
MODEL_SHAPE = (6, 6, 2)
CLASSES = 3


@pytest.fixture(scope="module")
def tf():
    import warnings

    from slicebed_agent.model import runtime

    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        runtime.tensorflow().keras.layers  # noqa: B018 - Keras is imported on first use
    return runtime.tensorflow()


@pytest.fixture(scope="module")
def trained(tf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return folder, train("cnn14", "1", folder / "head.pb", 7, 4, cache=folder / "cache")


@pytest.fixture(scope="module")
def small(tf, tmp_path_factory):
    """A model of the user's, with pictures whose class is where they are bright."""
    folder = tmp_path_factory.mktemp("small")
    tf.keras.utils.set_random_seed(3)
    layers = tf.keras.layers
    tf.keras.Sequential(
        [
            tf.keras.Input(MODEL_SHAPE),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(CLASSES, activation="softmax", name="answer"),
        ]
    ).save(folder / "small.keras")
    labels = np.arange(300) % CLASSES
    pictures = np.random.default_rng(1).random((300, *MODEL_SHAPE), np.float32)
    for row, label in enumerate(labels):
        pictures[row, 2 * label : 2 * label + 2] += 2
    np.savez(folder / "pictures.npz", pictures=pictures, labels=labels)
    return folder


def run(path, card, arrays):
    from slicebed_agent.model.execute.executor import Executor

    with Executor(path) as executor:
        part = executor.prepare(card.feeds, [card.fetch], warm=False)
        try:
            return part.run(arrays)[0]
        finally:
            part.release()


def at_boundary(card, arrays, model, cache):
    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.load import open_model
    from slicebed_agent.model.source import ModelSource

    frozen = open_model(ModelSource(model), cache=cache)
    with Executor(frozen.path) as executor:
        part = executor.prepare([frozen.card.inputs[0].name], [each.name for each in card.boundary], warm=False)
        try:
            return part.run([arrays])
        finally:
            part.release()


def test_it_is_far_better_than_chance_and_right_where_it_is_sure(trained):
    _, card = trained
    assert card.held_out_accuracy > 8 * CHANCE
    sure = next(each for each in card.confident if each.threshold == 0.9)
    assert sure.share > 0.3
    assert sure.accuracy > max(sure.other_accuracy, card.held_out_accuracy - 1e-9)


def test_fewer_are_surer_at_higher_thresholds(trained):
    shares = [each.share for each in trained[1].confident]
    assert shares == sorted(shares, reverse=True)


def test_the_file_is_what_the_card_says(trained):
    folder, card = trained
    assert hash_file(folder / "head.pb") == card.head_sha256
    assert (folder / "head.pb").stat().st_size == card.head_bytes
    assert HeadCard.from_json(card_of(folder / "head.pb").read_text(), where="card") == card
    assert find_head("head.pb", folder) == (folder / "head.pb", card)
    assert not list(folder.glob("*.partial"))


def test_the_graph_gives_the_accuracy_of_the_card(trained):
    folder, card = trained
    images, labels = digits.load().part(held_out=True)
    assert len(images) == card.held_out_images
    probabilities = run(folder / "head.pb", card, at_boundary(card, images, "cnn14", folder / "cache"))
    assert probabilities.shape == (len(images), card.classes)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == labels) == pytest.approx(card.held_out_accuracy, abs=0.003)


def test_the_same_seed_gives_the_same_head(trained, tmp_path):
    folder, card = trained
    assert train("cnn14", "1", tmp_path / "again.pb", 7, 4, cache=folder / "cache") == card


def test_the_packages_head_is_whole_and_of_the_packages_weights():
    import json

    path, card = find_head("cnn14_layer3.pb")
    assert hash_file(path) == card.head_sha256
    assert (card.model, card.after, card.classes) == ("cnn14", "3", 10)
    assert card.held_out_accuracy > 0.95
    assert card.weights.kind == "trained"
    record = json.loads((digits.DATA / "cnn14.json").read_text())
    assert card.held_out_images == record["held_out_images"]


def test_a_users_model_with_pictures_of_its_own(small, tmp_path):
    out = tmp_path / "deep" / "exit.pb"
    card = train(str(small / "small.keras"), "conv", out, 5, 20, data=small / "pictures.npz", cache=tmp_path / "cache")
    assert (card.classes, card.train_images, card.held_out_images) == (CLASSES, 240, 60)
    assert card.held_out_accuracy > 0.8
    assert out.is_file()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pictures": np.zeros((9, 5, 6, 2), np.float32), "labels": np.arange(9) % 3}, "the model takes float32"),
        ({"pictures": np.zeros((9, *MODEL_SHAPE), np.uint8), "labels": np.arange(9) % 3}, "pictures are uint8"),
        ({"pictures": np.zeros((9, *MODEL_SHAPE), np.float32), "labels": np.arange(8)}, "labels are int64 (8,)"),
        ({"pictures": np.zeros((9, *MODEL_SHAPE), np.float32), "labels": np.ones(9)}, "labels are float64"),
        ({"pictures": np.zeros((9, *MODEL_SHAPE), np.float32), "labels": np.full(9, 3)}, "answers with 3 classes"),
        ({"pictures": np.zeros((1, *MODEL_SHAPE), np.float32), "labels": np.zeros(1, int)}, "1 pictures"),
        ({"images": np.zeros(3)}, "cannot read the pictures"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(small, tmp_path, arrays, said):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(AgentConfigError) as refused:
        train(str(small / "small.keras"), "conv", tmp_path / "h.pb", 1, 1, data=tmp_path / "bad.npz", cache=tmp_path)
    assert said in str(refused.value)
    assert "bad.npz" in str(refused.value)
    assert not (tmp_path / "h.pb").exists()


@pytest.mark.parametrize(
    ("after", "out", "epochs", "said"),
    [
        ("max_pooling2", "h.pb", 1, "the nearest are"),
        ("14", "h.pb", 1, "no split point after layer 14"),
        ("3", "h.json", 1, "a name that ends in .pb"),
        ("3", "h.pb", 0, "0 epochs"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(trained, after, out, epochs, said):
    folder, _ = trained
    with pytest.raises(AgentConfigError) as refused:
        train("cnn14", after, folder / out, 1, epochs, cache=folder / "cache")
    assert said in str(refused.value)
    assert not (folder / out).exists()


def test_a_users_model_needs_pictures(small, tmp_path):
    with pytest.raises(AgentConfigError, match="--data FILE"):
        train(str(small / "small.keras"), "conv", tmp_path / "h.pb", 1, 1, cache=tmp_path)


def test_a_head_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(AgentConfigError, match=r"nothing\.pb: no such early-exit head.*cnn14_layer3\.pb"):
        find_head("nothing.pb", tmp_path)
    (tmp_path / "lone.pb").write_bytes(b"")
    with pytest.raises(AgentConfigError, match=r"lone\.json: the head's card cannot be read"):
        find_head("lone.pb", tmp_path)
    (tmp_path / "lone.json").write_text('{"format": 1}')
    with pytest.raises(AgentConfigError, match="not a card of an early-exit head"):
        find_head("lone.pb", tmp_path)


def test_shares_and_accuracies_at_a_threshold():
    probabilities = np.array([[0.95, 0.05], [0.4, 0.6], [0.1, 0.9], [0.7, 0.3]], np.float32)
    (both,) = confident(probabilities, np.array([0, 0, 1, 0]), [0.9])
    assert (both.share, both.accuracy, both.other_accuracy) == (0.5, 1.0, 0.5)
    (none,) = confident(probabilities, np.array([0, 0, 1, 0]), [0.99])
    assert (none.share, none.accuracy) == (0.0, None)
