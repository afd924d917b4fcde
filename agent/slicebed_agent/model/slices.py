"""A model of the zoo, whole, and the slices cut from it, which share its weights."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError, AgentError, PayloadError
from slicebed_agent.model import cnn14, weights
from slicebed_agent.model.runtime import tensorflow

Tensor = npt.NDArray[Any]
_WARM_RUNS: Final = 2  # the first run builds kernels, the second sizes their buffers


@dataclasses.dataclass(frozen=True)
class LayerInfo:
    """A layer, counted from 1 in the paper's Table 1: type, output shape without the batch dimension, parameters."""

    number: int
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


class Slice:
    """Layers first..last of a model (both counted from 1 and included), or nothing when last = first - 1.

    Attributes:
        parameters: number of weights it uses.
        input_shape: shape of one image's tensor at the entrance, without the batch dimension.
        output_shape: the same at the exit.
        dtype: dtype of both, as numpy names it.
    """

    def __init__(self, model: Model, first: int, last: int) -> None:
        """Trace the layers once, with a free batch dimension."""
        self.first, self.last = first, last
        self.input_shape = model.shape_after(first - 1)
        self.output_shape = model.shape_after(last)
        self.dtype = np.dtype(np.float32)
        self.parameters = sum(layer.parameters for layer in model.layers[first - 1 : last])
        self._traced = model.trace(first, last) if last >= first else None
        self._warm: set[int] = set()

    def run(self, tensor: Tensor) -> Tensor:
        """Compute the slice.

        Args:
            tensor: (B, *input_shape) float32, B at least 1.

        Returns:
            (B, *output_shape) float32.

        Raises:
            PayloadError: the tensor has another shape or dtype.
        """
        if tensor.dtype != self.dtype or tensor.shape[1:] != self.input_shape or not tensor.ndim or not len(tensor):
            raise PayloadError(
                f"got {tensor.dtype} {tensor.shape}, the entrance of layer {self.first} takes "
                f"{self.dtype} (B, {', '.join(map(str, self.input_shape))})",
                where="slice",
                mend="check that the neighbours were prepared with the same cut",
            )
        if self._traced is None:
            return tensor
        return np.asarray(self._traced(tensorflow().constant(tensor)).numpy())

    def warm(self, batch: int) -> None:
        """Run on blank images until the cost of first use is paid; again for another batch size only."""
        if batch not in self._warm:
            for _ in range(_WARM_RUNS):
                self.run(np.zeros((batch, *self.input_shape), self.dtype))
            self._warm.add(batch)


class Model:
    """The whole model, loaded once in a process; every slice uses its variables."""

    def __init__(self, name: str) -> None:
        """Build the model and load its weights.

        Raises:
            AgentConfigError: the zoo has no model of this name.
            AgentError: its weights are missing or do not fit.
        """
        if name != cnn14.NAME:
            raise AgentConfigError(f"unknown model {name!r}", where="model", mend=f"the zoo holds {cnn14.NAME}")
        self.name = name
        self._tf = tensorflow()
        self._keras: Any = cnn14.build(self._tf)
        kept = weights.load(weights.path_of(name))
        self.weights_sha256 = weights.sha256(kept)
        try:
            self._keras.set_weights([array.astype(np.float32) for array in kept])
        except ValueError as error:
            raise AgentError(
                f"the weights do not fit the model: {error}", where=name, mend="run `slicebed-agent train`"
            ) from error
        self.input_shape: tuple[int, ...] = cnn14.INPUT_SHAPE
        self.layers = tuple(
            LayerInfo(number, type(layer).__name__, tuple(layer.output.shape[1:]), int(layer.count_params()))
            for number, layer in enumerate(self._keras.layers, 1)
        )
        self._slices: dict[tuple[int, int], Slice] = {}
        self._lock = threading.Lock()

    def shape_after(self, layer: int) -> tuple[int, ...]:
        """Shape, without the batch dimension, of the tensor that leaves a layer; 0 is the model's input."""
        return self.layers[layer - 1].output_shape if layer else self.input_shape

    def slice(self, first: int, last: int) -> Slice:
        """The slice of layers first..last; made on first use, kept for the life of the process.

        Raises:
            AgentConfigError: the model has no such layers.
        """
        if not 1 <= first <= last + 1 <= len(self.layers) + 1:
            raise AgentConfigError(
                f"no slice {first}..{last}",
                where=self.name,
                mend=f"layers are 1..{len(self.layers)}, first <= last + 1",
            )
        with self._lock:
            if (first, last) not in self._slices:
                self._slices[first, last] = Slice(self, first, last)
            return self._slices[first, last]

    def trace(self, first: int, last: int) -> Any:
        """A TensorFlow function over the layers' own variables; nothing is copied."""
        layers = self._keras.layers[first - 1 : last]

        def forward(tensor: Any) -> Any:
            for layer in layers:
                tensor = layer(tensor, training=False)
            return tensor

        spec = self._tf.TensorSpec((None, *self.shape_after(first - 1)), self._tf.float32)
        return self._tf.function(forward, input_signature=[spec], autograph=False).get_concrete_function()


_LOADED: Final[dict[str, Model]] = {}
_LOADING: Final = threading.Lock()


def load(name: str) -> Model:
    """The model of this name, loaded on first use; who comes meanwhile waits.

    Raises:
        AgentConfigError: see `Model`.
        AgentError: see `Model`.
    """
    with _LOADING:
        if name not in _LOADED:
            _LOADED[name] = Model(name)
        return _LOADED[name]


def recorded_sha256(name: str) -> str:
    """Hash of a model's weights, without TensorFlow.

    Raises:
        AgentError: there are no weights, or the record beside them says otherwise: one of the two was replaced.
    """
    path = weights.path_of(name)
    found = weights.sha256(weights.load(path))
    record = path.with_suffix(".json")
    try:
        expected = json.loads(record.read_text())["weights_sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise AgentError(
            f"cannot read the record: {error}", where=str(record), mend="run `slicebed-agent train`"
        ) from error
    if found != expected:
        raise AgentError(
            f"the weights hash to {found[:12]}, their record says {str(expected)[:12]}",
            where=str(path),
            mend="restore both files or run `slicebed-agent train`",
        )
    return found
