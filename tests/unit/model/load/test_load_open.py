"""What a user calls a model becomes a file and a card; what is damaged or foreign becomes one line and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.card import ModelCard, Source, WeightsKind
from slicebed_agent.model.load import is_frozen, open_model
from slicebed_agent.model.source import ModelSource

# Keras' own code and this numpy disagree; not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
OPENING = """
import pathlib, sys
from slicebed_agent.model.load import open_model
from slicebed_agent.model.source import ModelSource
"""


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def keras_file(make, tmp_path):
    path = tmp_path / "branches.keras"
    make("branches").save(path)
    return path


def _nothing_kept(cache):
    return not cache.exists() or not [
        path for path in cache.rglob("*") if path.is_file() and path.parent.name != "locks"
    ]


def _elsewhere(code, *args):
    command = [sys.executable, "-c", OPENING + textwrap.dedent(code), *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_keras_file_becomes_a_frozen_file_and_a_card(keras_file, cache, make, run_file):
    model = make("branches")
    assert not is_frozen(ModelSource(str(keras_file)), cache=cache)
    opened = open_model(ModelSource(str(keras_file)), cache=cache)
    assert is_frozen(ModelSource(str(keras_file)), cache=cache)
    assert not is_frozen(ModelSource(str(keras_file), outputs=("other",)), cache=cache)
    card = opened.card
    assert (card.name, card.source, card.weights.kind) == ("branches", Source.KERAS, WeightsKind.FILE)
    assert card.parameters == model.count_params()
    assert card.graph_sha256 == opened.path.name == opened.graph_sha256()
    assert card.graph_bytes == opened.path.stat().st_size
    frames = np.random.default_rng(1).uniform(0, 1, (2, 12, 12, 3)).astype(np.float32)
    (got,) = run_file(opened.path, [card.outputs[0].name], {card.inputs[0].name: frames})
    assert np.array_equal(got, model(frames, training=False).numpy())
    assert card.layer_of()["first/Relu"] == "first"
    assert ModelCard.from_json(card.to_json(), where="here") == card


def test_the_second_time_takes_no_tensorflow(keras_file, cache):
    first = open_model(ModelSource(str(keras_file)), cache=cache)
    told = _elsewhere(
        """
        opened = open_model(ModelSource(sys.argv[1]), cache=pathlib.Path(sys.argv[2]))
        print(opened.path, "tensorflow" in sys.modules, "keras" in sys.modules)
        """,
        keras_file,
        cache,
    )
    assert told == f"{first.path} False False"


def test_other_options_or_content_are_another_model(keras_file, cache, make):
    whole = open_model(ModelSource(str(keras_file)), cache=cache)
    part = open_model(ModelSource(str(keras_file), outputs=("pool",)), cache=cache)
    assert part.card.outputs[0].name != whole.card.outputs[0].name
    make("sequential").save(keras_file)
    assert open_model(ModelSource(str(keras_file)), cache=cache).card.inputs[0].shape == (None, 6, 6, 1)


@pytest.mark.parametrize("harm", ["graph", "card", "both gone"])
def test_a_damaged_cache_is_frozen_again(keras_file, cache, harm):
    first = open_model(ModelSource(str(keras_file)), cache=cache)
    (card,) = (cache / "cards").iterdir()
    if harm == "graph":
        os.truncate(first.path, 100)
    elif harm == "card":
        card.write_text("{")
    else:
        first.path.unlink()
        card.unlink()
    assert open_model(ModelSource(str(keras_file)), cache=cache) == first


def test_a_saved_model_is_frozen_with_its_functions_inlined(make, tmp_path, cache, run_file):
    model = make("branches")
    model.export(tmp_path / "exported", verbose=False)
    opened = open_model(ModelSource(str(tmp_path / "exported")), cache=cache)
    card = opened.card
    assert (card.source, card.name, card.layers) == (Source.SAVED_MODEL, "exported", ())
    assert card.parameters == model.count_params()
    frames = np.random.default_rng(1).uniform(0, 1, (2, 12, 12, 3)).astype(np.float32)
    (got,) = run_file(opened.path, [card.outputs[0].name], {card.inputs[0].name: frames})
    assert np.allclose(got, model(frames, training=False).numpy(), rtol=1e-6, atol=1e-7)
    assert b"PartitionedCall" not in _operators(opened.path)


def _operators(path):
    from slicebed_agent.model.graphdef.read import read_graph

    return " ".join(operator.kind for operator in read_graph(path).operators).encode()


def test_a_saved_model_with_open_sizes_takes_an_input_shape(tf, tmp_path, cache):
    module = tf.Module()
    spec = tf.TensorSpec((None, None, None, 1), tf.float32, name="image")
    module.serve = tf.function(lambda image: {"edges": image[:, 1:] - image[:, :-1]}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "edges"), signatures={"serving_default": module.serve})
    with pytest.raises(AgentConfigError, match="give --input-shape"):
        open_model(ModelSource(str(tmp_path / "edges")), cache=cache)
    assert _nothing_kept(cache)
    opened = open_model(ModelSource(str(tmp_path / "edges"), input_shape=(8, 6, 1)), cache=cache)
    assert opened.card.outputs[0].shape == (None, 7, 6, 1)


def test_a_frozen_file_is_used_as_it_is(keras_file, cache, tmp_path):
    frozen = open_model(ModelSource(str(keras_file)), cache=cache)
    path = tmp_path / "mine.pb"
    path.write_bytes(frozen.path.read_bytes())
    told = _elsewhere(
        """
        opened = open_model(ModelSource(sys.argv[1]), cache=pathlib.Path(sys.argv[2]))
        card = opened.card
        print(opened.path, opened.graph_sha256(), card.inputs[0].name, card.outputs[0].name, card.parameters)
        print(len(opened.graph.operators) > 5, "tensorflow" in sys.modules, pathlib.Path(sys.argv[2]).exists())
        """,
        path,
        tmp_path / "no cache",
    )
    inputs, outputs = frozen.card.inputs[0].name, frozen.card.outputs[0].name
    said = f"{path} {frozen.card.graph_sha256} {inputs} {outputs} {frozen.card.parameters}"
    assert told.splitlines() == [said, "True False False"]


def test_an_unknown_name_tells_the_nearest(cache):
    with pytest.raises(AgentConfigError, match="no model 'mobilnet2' in the zoo; nearest: mobilenet_v2"):
        open_model(ModelSource("mobilnet2"), cache=cache)
    with pytest.raises(AgentConfigError, match="there are cnn14"):
        open_model(ModelSource("zzz"), cache=cache)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("gone.keras", "no such file"),
        ("some/where", "no such file"),
        ("text.txt", "unknown kind of model"),
        ("folder", "saved_model.pb is missing"),
        ("empty.keras", "the file is empty"),
        ("empty.h5", "the file is empty"),
        ("text.keras", "truncated, or no Keras model"),
        ("text.h5", "truncated, or no Keras model"),
        ("other.keras", "truncated, or no Keras model"),
    ],
)
def test_foreign_files_are_refused(argument, told, tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("empty.keras", "empty.h5"):
        (tmp_path / name).touch()
    for name in ("text.txt", "text.keras", "text.h5"):
        (tmp_path / name).write_text("not a model")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("something", "else")
    with pytest.raises(AgentConfigError, match=told):
        open_model(ModelSource(argument), cache=cache)
    assert _nothing_kept(cache)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_keras_file_is_refused(keras_file, cache, part):
    os.truncate(keras_file, int(keras_file.stat().st_size * part))
    with pytest.raises(AgentConfigError, match="truncated"):
        open_model(ModelSource(str(keras_file)), cache=cache)
    assert _nothing_kept(cache)


def test_a_keras_file_with_damaged_weights_is_refused(keras_file, cache):
    with zipfile.ZipFile(keras_file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] = members["model.weights.h5"][:600]
    with zipfile.ZipFile(keras_file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(AgentConfigError, match="Keras cannot read it"):
        open_model(ModelSource(str(keras_file)), cache=cache)
    assert _nothing_kept(cache)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_never_run(tf, tmp_path, cache, suffix):
    witness = tmp_path / "ran"
    inside = tf.keras.layers.Lambda(eval(f"lambda x: open({str(witness)!r}, 'w') and x"), output_shape=(2,))  # noqa: S307
    path = tmp_path / f"lambda{suffix}"
    tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.Sequential([inside])]).save(path)
    witness.unlink(missing_ok=True)
    with pytest.raises(AgentConfigError, match="Lambda layer, whose code would run"):
        open_model(ModelSource(str(path)), cache=cache)
    assert not witness.exists()


def test_a_layer_of_somebodys_own_is_told_by_name(tf, tmp_path, cache):
    class Strange(tf.keras.layers.Layer):
        def call(self, image):
            return image

    path = tmp_path / "custom.keras"
    tf.keras.Sequential([tf.keras.Input((2,)), Strange()]).save(path)
    with pytest.raises(AgentConfigError, match="custom object Strange; export it as a SavedModel"):
        open_model(ModelSource(str(path)), cache=cache)


def test_an_old_h5_file_is_read(make, tmp_path, cache):
    model = make("branches")
    model.save(tmp_path / "old.h5")
    assert open_model(ModelSource(str(tmp_path / "old.h5")), cache=cache).card.parameters == model.count_params()


def test_a_model_that_was_never_built_is_told_or_built(tf, tmp_path, cache):
    layers = tf.keras.layers
    with pytest.warns(UserWarning, match="has not yet been built"):
        tf.keras.Sequential([layers.Dense(3), layers.Dense(2)]).save(tmp_path / "bare.keras")
    with pytest.raises(AgentConfigError, match="saved before it was built, and does not say what it takes"):
        open_model(ModelSource(str(tmp_path / "bare.keras")), cache=cache)
    with pytest.raises(AgentConfigError, match="saved before it was built: 4 arrays of weights are missing"):
        open_model(ModelSource(str(tmp_path / "bare.keras"), input_shape=(7,)), cache=cache)
    assert _nothing_kept(cache)
    with pytest.warns(UserWarning, match="has not yet been built"):
        tf.keras.Sequential([layers.ReLU(name="cut"), layers.Softmax(name="scores")]).save(tmp_path / "plain.keras")
    card = open_model(ModelSource(str(tmp_path / "plain.keras"), input_shape=(7,)), cache=cache).card
    assert [layer.name for layer in card.layers] == ["cut", "scores"]
    assert card.inputs[0].shape == (None, 7)


def test_weights_of_another_model_are_one_line_without_warnings(keras_file, cache, recwarn):
    with pytest.raises(AgentConfigError, match="the weights do not fit"):
        open_model(ModelSource("mobilenet_v2", weights=keras_file, input_shape=(32, 32, 3)), cache=cache)
    assert not [each for each in recwarn if "nested container" in str(each.message)]


def test_options_that_make_no_sense_are_told(keras_file, cache, tmp_path):
    with pytest.raises(AgentConfigError, match="for a model of the zoo only"):
        open_model(ModelSource(str(keras_file), seed=1), cache=cache)
    with pytest.raises(AgentConfigError, match="give one of the two"):
        open_model(ModelSource("cnn14", seed=1, weights=tmp_path / "w.npz"), cache=cache)
    with pytest.raises(AgentConfigError, match="no such file of weights"):
        open_model(ModelSource("cnn14", weights=tmp_path / "w.npz"), cache=cache)
    with pytest.raises(AgentConfigError, match="give sizes, without the batch"):
        open_model(ModelSource("cnn14", input_shape=(0, 28, 1)), cache=cache)
    assert _nothing_kept(cache)


def test_a_cache_that_cannot_be_written_is_told(keras_file, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(AgentConfigError, match="cannot read the model or keep it frozen: Not a directory"):
        open_model(ModelSource(str(keras_file)), cache=tmp_path / "cache")


def test_a_card_of_another_kind_is_refused(keras_file, cache):
    card = open_model(ModelSource(str(keras_file)), cache=cache).card
    for text in ("", "[]", "{}", card.to_json().replace('"format": 1', '"format": 2'), card.to_json()[:-40]):
        with pytest.raises(AgentConfigError, match="not a model card"):
            ModelCard.from_json(text, where="here")
    extra = json.dumps({**json.loads(card.to_json()), "colour": "red"})
    with pytest.raises(AgentConfigError, match="not a model card"):
        ModelCard.from_json(extra, where="here")
