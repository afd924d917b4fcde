"""Builds the zoo's models in Keras and gives them weights."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import cnn14
from slicebed_agent.model import weights as kept_weights
from slicebed_agent.model.card import Weights, WeightsKind
from slicebed_agent.model.files import hash_file
from slicebed_agent.model.runtime import tensorflow
from slicebed_agent.model.zoo import pnasnet, seeded
from slicebed_agent.model.zoo.entries import DEFAULT_SEED, Entry, entry

if TYPE_CHECKING:
    from pathlib import Path

_KERAS_FILES = (".weights.h5", ".h5", ".keras")


def build(name: str, input_shape: tuple[int, ...] | None = None) -> Any:
    """Build a model of the zoo; its weights are not to be relied on until they are set.

    Args:
        name: of the model.
        input_shape: height, width, channels, where others than the published ones are wanted.

    Returns:
        A Keras model whose layers are always called the same.

    Raises:
        AgentConfigError: the zoo has no such model, or it cannot be built for such an input.
    """
    known = entry(name)
    tf = tensorflow()
    # The names that Keras makes up for layers count on from what was built before.
    tf.keras.backend.clear_session(free_memory=False)
    shape = known.input_shape if input_shape is None else input_shape
    try:
        return _build(tf, known, tuple(shape))
    except ValueError as error:
        raise AgentConfigError(
            f"it cannot be built for input {shape}: {str(error)[:200]}",
            where=name,
            mend=f"published with {known.input_shape}",
        ) from error


def preset(model: Any, known: Entry, seed: int | None) -> Weights:
    """Give a model the zoo's own weights: the trained ones where there are any and no seed was asked for.

    Returns:
        Which they are.

    Raises:
        AgentError: the trained ones are missing or damaged.
    """
    if known.trained and seed is None:
        arrays = kept_weights.load(kept_weights.path_of(known.name))
        model.set_weights([array.astype(np.float32) for array in arrays])
        return Weights(WeightsKind.TRAINED, sha256=kept_weights.sha256(arrays))
    chosen = DEFAULT_SEED if seed is None else seed
    seeded.fill(model, known, chosen)
    return Weights(WeightsKind.SEED, seed=chosen)


def load_weights(model: Any, path: Path) -> Weights:
    """Give a model the weights of a file, all of them or none.

    Args:
        model: a Keras model.
        path: of ``.weights.h5``, ``.h5`` or ``.keras``, or an ``.npz`` that holds an array for every variable, by its
            path, or `w00`, `w01`, ... in the order of `keras.Model.get_weights`.

    Returns:
        Kind file, with the file's hash.

    Raises:
        AgentConfigError: the file is missing, damaged, or does not fit the model.
    """
    if not path.is_file():
        raise AgentConfigError("no such file of weights", where=str(path), mend="check --weights")
    if path.suffix != ".npz" and not path.name.endswith(_KERAS_FILES):
        raise AgentConfigError(
            "unknown kind of weights", where=str(path), mend=f"give {', '.join(_KERAS_FILES)} or .npz"
        )
    try:
        if path.suffix == ".npz":
            _assign(model, path)
        else:
            model.load_weights(path)
    except AgentConfigError:
        raise
    except Exception as error:  # numpy, h5py and Keras raise what they like
        raise AgentConfigError(
            f"the weights do not fit {model.name}: {' '.join(str(error).split())[:300]}",
            where=str(path),
            mend="check that the file is whole and belongs to this model",
        ) from error
    return Weights(WeightsKind.FILE, sha256=hash_file(path))


def _assign(model: Any, path: Path) -> None:
    variables = {variable.path: variable for variable in model.variables}
    in_order = dict(zip((f"w{number:02d}" for number in range(len(variables))), model.weights, strict=False))
    with contextlib.closing(np.load(path, allow_pickle=False)) as arrays:
        held = set(arrays.files)
        chosen = next((names for names in (variables, in_order) if set(names) == held), None)
        if chosen is None:
            missing = sorted(set(variables) - held)[:3]
            raise AgentConfigError(
                f"{len(held)} arrays for {len(variables)} variables, {', '.join(missing)} missing",
                where=str(path),
                mend="give one array for every variable, by its path",
            )
        wrong = [name for name, variable in chosen.items() if arrays[name].shape != tuple(variable.shape)]
        if wrong:
            raise AgentConfigError(
                f"{wrong[0]} is {arrays[wrong[0]].shape}, the model's is {tuple(chosen[wrong[0]].shape)}",
                where=str(path),
                mend="check that the file belongs to this model",
            )
        for name, variable in chosen.items():
            variable.assign(arrays[name])


def _build(tf: Any, known: Entry, shape: tuple[int, ...]) -> Any:
    applications = tf.keras.applications
    plain = {"weights": None, "input_shape": shape, "classes": known.classes}
    if known.name == cnn14.NAME:
        if shape != cnn14.INPUT_SHAPE:
            raise ValueError("its dense layers fit no other")
        return cnn14.build(tf)
    if known.name == "pnasnet5_large":
        return pnasnet.build(tf, shape, classes=known.classes)
    if known.name == "mobilenet_v2":
        return applications.MobileNetV2(alpha=1.4, **plain)
    makers = {
        "vgg16": applications.VGG16,
        "resnet50_v2": applications.ResNet50V2,
        "inception_v3": applications.InceptionV3,
        "inception_resnet_v2": applications.InceptionResNetV2,
        "nasnet_large": applications.NASNetLarge,
    }
    return makers[known.name](**plain)
