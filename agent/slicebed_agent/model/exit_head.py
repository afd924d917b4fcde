"""Trains an early-exit head: a small model on what crosses at a split point of a frozen model.

The idea is that of DDNN (Teerapittayanon, McDanel, Kung: ICDCS 2017, section III). The model stays as it is: only
the head learns, from the tensors that the model gives at that place.
"""

from __future__ import annotations

import contextlib
import platform
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import cnn14
from slicebed_agent.model.card import TensorCard
from slicebed_agent.model.cuts import algorithms
from slicebed_agent.model.cuts.choose import choose
from slicebed_agent.model.cuts.layers import layer_points
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.exit_card import Confident, HeadCard, card_of
from slicebed_agent.model.exit_pictures import Labels, Pictures, read_pictures
from slicebed_agent.model.files import Incoming
from slicebed_agent.model.freeze import freeze
from slicebed_agent.model.keras_source import trace_keras
from slicebed_agent.model.load import open_model
from slicebed_agent.model.runtime import tensorflow
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from slicebed_agent.model.execute.slice import Boundary
    from slicebed_agent.model.load import FrozenModel

THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_AT_ONCE: Final = 32
_STEP: Final = 1e-2
_DECAY: Final = 1e-3
# A picture's area is averaged down to a grid of so many fields a side: one average would forget where things are.
_GRID: Final = 4
# Above so many features the grid shrinks to one field: the head must stay small beside a boundary.
_MOST_FEATURES: Final = 8192
_EPSILON: Final = 1e-3

Features = npt.NDArray[np.float32]


def train(  # noqa: PLR0913 - which model, where, from what
    model: str | ModelSource,
    after: str,
    out: Path,
    seed: int,
    epochs: int,
    *,
    data: Path | None = None,
    cache: Path | None = None,
) -> HeadCard:
    """Train a head behind a split point, and write its frozen graph and its card.

    Args:
        model: what `load.open_model` takes; a name or path, or with its options.
        after: name of a split point, of operators or layers; of cnn14 also a layer's number. Several tensors: ``a+b``.
        out: the graph file, ``.pb``; the card gets the same name with ``.json``.
        seed: draws which pictures are kept from training (the digits have a split of their own), the first weights and
            the order; the same seed and versions give the same head.
        epochs: passes over the training pictures.
        data: an ``.npz`` with ``pictures`` (N, ...) as the model takes them and ``labels`` (N,) of whole numbers;
            without it the digits of the package, for a model that takes those.
        cache: of frozen models; by default `load.cache_folder()`.

    Returns:
        The card: accuracy on pictures that were kept from training, for all and at thresholds.

    Raises:
        AgentConfigError: the model, the split point or the pictures are not there or do not fit together, the file's
            name does not end in ``.pb``, or epochs is not positive.
    """
    if out.suffix != ".pb":
        raise AgentConfigError("a head is a frozen graph", where=str(out), mend="give a name that ends in .pb")
    if epochs < 1:
        raise AgentConfigError(f"{epochs} epochs", where="--epochs", mend="give 1 or more")
    frozen = open_model(ModelSource(model) if isinstance(model, str) else model, cache=cache)
    names = _tensors_after(frozen, after)
    with Executor(frozen.path) as executor:
        fed, boundary = _ends(executor, frozen, names, after)
        pictures = read_pictures(fed, data, seed)
        classes = _classes(frozen, pictures, data)
        tf = tensorflow()
        tf.keras.backend.clear_session(free_memory=False)  # names that Keras makes up depend on what it made before
        tf.keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        inputs = _inputs(tf, boundary)
        pool = tf.keras.Model(inputs, _pooled(tf, inputs))
        features = _features(executor, (fed.name, names), pictures.arrays, pool)
    head, probabilities = _fitted(tf, inputs, pool, features, (pictures, classes, epochs))
    frozen_head, sha256, size_bytes = _write(head, out)
    held = pictures.labels[pictures.held_out]
    card = HeadCard(
        model=frozen.card.name,
        model_sha256=frozen.graph_sha256(),
        weights=frozen.card.weights,
        after=after,
        boundary=tuple(TensorCard(each.name, each.dtype.name, each.shape) for each in boundary),
        feeds=tuple(each.name for each in frozen_head.inputs),
        fetch=frozen_head.outputs[0].name,
        classes=classes,
        head_sha256=sha256,
        head_bytes=size_bytes,
        seed=seed,
        epochs=epochs,
        train_images=len(pictures.labels) - len(held),
        held_out_images=len(held),
        held_out_accuracy=round(float(np.mean(probabilities.argmax(axis=1) == held)), 6),
        confident=confident(probabilities, held),
        versions={"python": platform.python_version(), "numpy": np.__version__, "tensorflow": tf.__version__},
    )
    card_of(out).write_text(card.to_json(), encoding="utf-8")
    return card


def confident(
    probabilities: Features, labels: Labels, thresholds: Sequence[float] = THRESHOLDS
) -> tuple[Confident, ...]:
    """How many answers are at least so sure, and how right they and the others are.

    Args:
        probabilities: (N, classes).
        labels: (N,) true ones.
        thresholds: of the largest probability.
    """
    right = probabilities.argmax(axis=1) == labels
    surest = probabilities.max(axis=1)
    return tuple(
        Confident(
            threshold,
            share=round(float(np.mean(surest >= threshold)), 6),
            accuracy=_mean(right[surest >= threshold]),
            other_accuracy=_mean(right[surest < threshold]),
        )
        for threshold in thresholds
    )


def _mean(right: npt.NDArray[np.bool_]) -> float | None:
    return round(float(np.mean(right)), 6) if len(right) else None


def _tensors_after(frozen: FrozenModel, after: str) -> tuple[str, ...]:
    """The tensors that cross at a split point.

    Raises:
        AgentConfigError: there is no such one; with the nearest names.
    """
    if after.isdecimal() and frozen.card.name == cnn14.NAME:
        layers = [layer for layer in frozen.card.layers if layer.kind != "InputLayer"]
        if not 1 <= int(after) < len(layers):
            raise AgentConfigError(f"no split point after layer {after}", where="--after", mend=f"1..{len(layers) - 1}")
        return layers[int(after) - 1].outputs
    graph = frozen.read_graph()
    points = algorithms.split_points(graph, "exact", after.count("+") + 1)
    (point,) = choose([*points, *layer_points(graph, points)], [after])
    return tuple(tensor.name for tensor in point.tensors)


def _ends(
    executor: Executor, frozen: FrozenModel, names: Sequence[str], after: str
) -> tuple[Boundary, tuple[Boundary, ...]]:
    """What the model is fed, and the boundary."""
    card = frozen.card
    if len(card.inputs) != 1 or len(card.outputs) != 1:
        what = f"{len(card.inputs)} inputs and {len(card.outputs)} outputs"
        raise AgentConfigError(what, where=card.name, mend="a head is trained for a model with one of each")
    fed, *boundary = executor.describe([card.inputs[0].name, *names])
    for each in boundary:
        if each.shape is None or len(each.shape) < 2 or None in each.shape[1:] or each.dtype.kind != "f":
            raise AgentConfigError(
                f"{each.name} is {each}",
                where=after,
                mend="choose a split point whose tensors are numbers of known shape",
            )
    return fed, tuple(boundary)


def _classes(frozen: FrozenModel, pictures: Pictures, data: Path | None) -> int:
    """As many as the model answers with, so that either answer stands for the other."""
    shape = frozen.card.outputs[0].shape
    classes = shape[-1] if shape else None
    if classes is None:
        return int(pictures.labels.max()) + 1
    if pictures.labels.max() >= classes:
        what = f"label {int(pictures.labels.max())}, and the model answers with {classes} classes"
        raise AgentConfigError(what, where=str(data or "digits"), mend="number the classes as the model does")
    return int(classes)


def _inputs(tf: Any, boundary: Sequence[Boundary]) -> list[Any]:
    return [
        tf.keras.Input((each.shape or ())[1:], dtype=each.dtype.name, name=f"boundary{number}")
        for number, each in enumerate(boundary)
    ]


def _pooled(tf: Any, inputs: Sequence[Any]) -> Any:
    """One row of features for each picture: averages over the fields of a grid, or what has no area as it is."""
    layers = tf.keras.layers
    flat = [layers.Flatten()(_on_grid(layers, each)) for each in inputs]
    return flat[0] if len(flat) == 1 else layers.Concatenate()(flat)


def _on_grid(layers: Any, tensor: Any) -> Any:
    *sides, channels = tensor.shape[1:]
    if len(sides) == 1:
        return layers.GlobalAveragePooling1D()(tensor)
    if len(sides) != 2:
        return tensor
    if _GRID * _GRID * channels > _MOST_FEATURES:
        return layers.GlobalAveragePooling2D()(tensor)
    size = tuple(-(-side // _GRID) for side in sides)
    return layers.AveragePooling2D(size, padding="same")(tensor)


def _features(executor: Executor, ends: tuple[str, Sequence[str]], arrays: npt.NDArray[Any], pool: Any) -> Features:
    """What the head's last layer is fed, for every picture; boundaries themselves may be too large to keep."""
    fed, names = ends
    part = executor.prepare([fed], names, batch=_AT_ONCE)
    try:
        rows = [
            np.asarray(pool(list(part.run([np.ascontiguousarray(arrays[begin : begin + _AT_ONCE])])), training=False))
            for begin in range(0, len(arrays), _AT_ONCE)
        ]
    finally:
        part.release()
    return np.concatenate(rows).astype(np.float32)


def _fitted(
    tf: Any, inputs: Sequence[Any], pool: Any, features: Features, asked: tuple[Pictures, int, int]
) -> tuple[Any, Features]:
    """The head, and its probabilities for the pictures that it never saw."""
    pictures, classes, epochs = asked
    seen, labels = features[~pictures.held_out], pictures.labels[~pictures.held_out]
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + _EPSILON
    dense = tf.keras.layers.Dense(classes, activation="softmax", kernel_regularizer=tf.keras.regularizers.L2(_DECAY))
    learner = tf.keras.Sequential([tf.keras.Input(features.shape[1:]), dense])
    steps = epochs * -(-len(seen) // _AT_ONCE)
    schedule = tf.keras.optimizers.schedules.CosineDecay(_STEP, steps)
    learner.compile(tf.keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    learner.fit((seen - mean) / spread, labels, batch_size=_AT_ONCE, epochs=epochs, verbose=0)
    # The features' scale goes into the weights: the head is an average and one product.
    kernel, bias = (each.value.numpy() for each in dense.weights)
    kernel = kernel / spread[:, None]
    answer = tf.keras.layers.Dense(classes, activation="softmax", name="exit")
    head = tf.keras.Model(inputs, answer(pool(inputs)), name="exit_head")
    answer.set_weights([kernel, bias - mean @ kernel])
    last = tf.keras.Model(pool.outputs, answer(pool.outputs[0]))
    probabilities = last.predict(features[pictures.held_out], batch_size=_AT_ONCE, verbose=0)
    return head, np.asarray(probabilities, np.float32)


def _write(head: Any, out: Path) -> tuple[Any, str, int]:
    """The head's frozen graph, whole under its name or not at all."""
    with _partial(out) as (path, sink):
        frozen = freeze(trace_keras(head), sink)
        sink.settle()
        path.replace(out)
    return frozen, sink.sha256, sink.size_bytes


@contextlib.contextmanager
def _partial(out: Path) -> Iterator[tuple[Path, Incoming]]:
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(out.name + ".partial")
    try:
        with path.open("wb") as stream:
            yield path, Incoming(stream, path)
    finally:
        path.unlink(missing_ok=True)
