"""Train the model of the zoo on real digits, and keep what an agent needs: images, weights, and how they came about."""

from __future__ import annotations

import dataclasses
import importlib
import json
import platform
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import cnn14, digits, weights
from slicebed_agent.model.runtime import tensorflow

if TYPE_CHECKING:
    from pathlib import Path

_BATCH: Final = 32
_STEP: Final = 1e-3


@dataclasses.dataclass(frozen=True)
class Training:
    """How the kept weights came about; `cnn14.json` beside them."""

    model: str
    seed: int
    epochs: int
    train_images: int
    held_out_images: int
    held_out_accuracy: float
    weights_sha256: str
    versions: dict[str, str]


def train(*, seed: int, epochs: int, folder: Path = digits.DATA) -> Training:
    """Train cnn14 and write `digits.npz`, `cnn14.npz` and `cnn14.json` into `folder`.

    The same seed, versions and machine give the same weights: TensorFlow's deterministic kernels are on.

    Args:
        seed: draws the split, the first weights and the order of images.
        epochs: passes over the training images; the step shrinks along half a cosine.
        folder: where the three files go.

    Returns:
        The record, with the accuracy on held-out images measured after the weights were rounded to float16.

    Raises:
        AgentConfigError: epochs is not positive, or scikit-learn is missing.
    """
    if epochs < 1:
        raise AgentConfigError(f"{epochs} epochs", where="--epochs", mend="give 1 or more")
    data, sklearn_version = _digits(seed)
    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    images, labels = data.part(held_out=False)
    model = cnn14.build(tf)
    steps = epochs * -(-len(images) // _BATCH)
    schedule = tf.keras.optimizers.schedules.CosineDecay(_STEP, steps)
    model.compile(tf.keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=_BATCH, epochs=epochs, verbose=2)

    kept = weights.rounded(model.get_weights())
    model.set_weights([array.astype(np.float32) for array in kept])
    held_images, held_labels = data.part(held_out=True)
    guessed = np.argmax(model.predict(held_images, batch_size=64, verbose=0), axis=1)
    record = Training(
        model=cnn14.NAME,
        seed=seed,
        epochs=epochs,
        train_images=len(images),
        held_out_images=len(held_images),
        held_out_accuracy=round(float(np.mean(guessed == held_labels)), 6),
        weights_sha256=weights.sha256(kept),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn_version,
            "tensorflow": tf.__version__,
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    data.save(folder / "digits.npz")
    weights.save(weights.path_of(cnn14.NAME, folder), kept)
    (folder / f"{cnn14.NAME}.json").write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n")
    return record


def _digits(seed: int) -> tuple[digits.Digits, str]:
    try:
        sklearn: Any = importlib.import_module("sklearn")
        datasets: Any = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise AgentConfigError(
            "training needs scikit-learn's digits and it is not installed",
            where="train",
            mend="install slicebed[train]",
        ) from error
    bunch = datasets.load_digits()
    return digits.split(bunch.images, bunch.target, seed), str(sklearn.__version__)
