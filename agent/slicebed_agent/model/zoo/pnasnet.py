"""PNASNet-5, the model of "Progressive Neural Architecture Search" (Liu et al., 2018), in Keras.

One cell, found by the search, is used everywhere; where the image shrinks its operations on the cell's own inputs have
stride 2. What the paper leaves to NASNet (the stem of two cells, how an older cell's output is fitted to a newer one's,
normalisation) is as in "Learning Transferable Architectures for Scalable Image Recognition" (Zoph et al., 2018).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

SIDE: Final = 331
CELLS: Final = 12  # N = 4 between reductions, three times
FILTERS: Final = 216
STEM_FILTERS: Final = 96
_MOMENTUM: Final = 0.9997
_EPSILON: Final = 1e-3

# The five blocks of the cell, figure 1 of the paper: two operations, each with its input: 0 is the last cell's output,
# 1 that of the one before, 2 the first block, and so on.
_BLOCKS: Final = (
    (("separable", 5, 1), ("max_pool", 3, 1)),
    (("separable", 7, 0), ("max_pool", 3, 0)),
    (("separable", 5, 0), ("separable", 3, 0)),
    (("separable", 3, 4), ("max_pool", 3, 0)),
    (("separable", 3, 1), ("identity", 1, 0)),
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a PNASNet-5 is: cells after the stem, filters of the first of them and of the stem's convolution."""

    cells: int = CELLS
    filters: int = FILTERS
    stem_filters: int = STEM_FILTERS


def build(tf: Any, input_shape: tuple[int, ...], size: Size = Size(), classes: int = 1000) -> Any:
    """Build the model with fresh weights.

    Args:
        tf: the TensorFlow module.
        input_shape: height, width, channels; published with 331 x 331 x 3.
        size: by default the published PNASNet-5-Large.
        classes: width of the answer.

    Returns:
        A functional `keras.Model` of float32, input (B, *input_shape), output (B, classes) of probabilities.
    """
    layers = tf.keras.layers
    maker = _Maker(layers)
    image = tf.keras.Input(input_shape, name="image")
    net = layers.Conv2D(size.stem_filters, 3, strides=2, use_bias=False, name="stem_conv")(image)
    net = maker.normalised(net, "stem_bn")
    before = net
    filters = size.filters // 4
    for number in range(2):
        before, net = net, maker.cell(net, before, filters, 2, f"stem_{number}")
        filters *= 2
    for number in range(size.cells):
        shrinks = number in {size.cells // 3, 2 * size.cells // 3}
        filters *= 2 if shrinks else 1
        before, net = net, maker.cell(net, before, filters, 2 if shrinks else 1, f"cell_{number}")
    net = layers.ReLU(name="last_relu")(net)
    net = layers.GlobalAveragePooling2D(name="pool")(net)
    net = layers.Dropout(0.5, name="dropout")(net)
    net = layers.Dense(classes, activation="softmax", name="predictions")(net)
    return tf.keras.Model(image, net, name="pnasnet5_large")


class _Maker:
    """Makes cells of Keras layers."""

    def __init__(self, layers: Any) -> None:
        self._layers = layers

    def normalised(self, net: Any, name: str) -> Any:
        return self._layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=name)(net)

    def cell(self, net: Any, before: Any, filters: int, stride: int, name: str) -> Any:
        """One cell: `net` is the last cell's output, `before` that of the one before."""
        states = [self._squeezed(net, filters, f"{name}_in"), self._fitted(before, net, filters, f"{name}_before")]
        for number, pair in enumerate(_BLOCKS):
            sides = []
            for side, (kind, kernel, state) in zip(("left", "right"), pair, strict=True):
                # A block's output has shrunk already.
                step = stride if state < 2 else 1
                label = f"{name}_{number}_{side}"
                sides.append(self._operation(states[state], kind, kernel, filters=filters, stride=step, name=label))
            states.append(self._layers.Add(name=f"{name}_{number}_add")(sides))
        return self._layers.Concatenate(name=f"{name}_out")(states[2:])

    def _operation(self, net: Any, kind: str, kernel: int, *, filters: int, stride: int, name: str) -> Any:  # noqa: PLR0913 - a row of the cell's table
        if kind == "separable":
            for turn in (1, 2):
                net = self._layers.ReLU(name=f"{name}_relu_{turn}")(net)
                net = self._layers.SeparableConv2D(
                    filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_sep_{turn}"
                )(net)
                net = self.normalised(net, f"{name}_bn_{turn}")
                stride = 1
            return net
        if kind == "max_pool":
            net = self._layers.MaxPooling2D(kernel, stride, padding="same", name=f"{name}_pool")(net)
            if net.shape[-1] == filters:
                return net
            net = self._layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(net)
            return self.normalised(net, f"{name}_bn")
        return self._squeezed(net, filters, name, stride) if stride > 1 or net.shape[-1] != filters else net

    def _squeezed(self, net: Any, filters: int, name: str, stride: int = 1) -> Any:
        net = self._layers.ReLU(name=f"{name}_relu")(net)
        net = self._layers.Conv2D(filters, 1, stride, use_bias=False, name=f"{name}_conv")(net)
        return self.normalised(net, f"{name}_bn")

    def _fitted(self, before: Any, net: Any, filters: int, name: str) -> Any:
        """An older cell's output with the size of the newer one's and this cell's filters."""
        if before.shape[2] != net.shape[2]:
            return self._halved(before, filters, name)
        return before if before.shape[-1] == filters or before is net else self._squeezed(before, filters, name)

    def _halved(self, net: Any, filters: int, name: str) -> Any:
        """Half of the filters see every second pixel, half those between (factorised reduction)."""
        layers = self._layers
        net = layers.ReLU(name=f"{name}_relu")(net)
        even = layers.AveragePooling2D(1, 2, name=f"{name}_even")(net)
        even = layers.Conv2D(filters // 2, 1, use_bias=False, name=f"{name}_even_conv")(even)
        odd = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(net)
        odd = layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_shift")(odd)
        odd = layers.AveragePooling2D(1, 2, name=f"{name}_odd")(odd)
        odd = layers.Conv2D(filters // 2, 1, use_bias=False, name=f"{name}_odd_conv")(odd)
        net = layers.Concatenate(name=f"{name}_join")([even, odd])
        return self.normalised(net, f"{name}_bn")
