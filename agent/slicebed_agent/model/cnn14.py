"""The elementary CNN of the DNN-slicing paper, its Table 1: five convolutions, three poolings, 14 layers in all."""

from __future__ import annotations

from typing import Any, Final

NAME: Final = "cnn14"
INPUT_SHAPE: Final = (28, 28, 1)
CLASSES: Final = 10
# Only training sees it: with Keras' 0.99 the running statistics lag behind the few hundred steps this data set gives.
_MOMENTUM: Final = 0.9


def build(tf: Any) -> Any:
    """Build the model with fresh weights.

    Table 1 of the paper prints 128 channels after layer 4; its 256 parameters and the layer before it make that 64.

    Args:
        tf: the TensorFlow module.

    Returns:
        A built `keras.Sequential` of float32, input (B, 28, 28, 1), output (B, 10) of probabilities.
    """
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input(INPUT_SHAPE),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(momentum=_MOMENTUM),
            layers.Conv2D(128, 3, activation="relu"),
            layers.Conv2D(128, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(momentum=_MOMENTUM),
            layers.Conv2D(256, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.BatchNormalization(momentum=_MOMENTUM),
            layers.Dense(512, activation="relu"),
            layers.Dense(CLASSES, activation="softmax"),
        ],
        name=NAME,
    )
