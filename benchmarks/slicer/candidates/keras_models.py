"""Keras sub-models between the outputs of layers, as functions; without the frozen file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.slicer.candidates.interface import warmed

from slicebed_agent.model.runtime import tensorflow
from slicebed_agent.model.zoo.build import build, preset
from slicebed_agent.model.zoo.entries import entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.slicer.candidates.interface import Run
    from benchmarks.slicer.candidates.plan import Part, Plan

    from slicebed_agent.model.execute.tensors import Array


class KerasModels:
    """A model of the zoo as Keras builds it; its sub-models share its variables."""

    def __init__(self, plan: Plan) -> None:
        """Build it, with the weights that the frozen file has."""
        self._tf = tensorflow()
        self._model = build(plan.model)
        preset(self._model, entry(plan.model), None)
        ends = zip(plan.whole.feeds + plan.whole.fetches, self._model.inputs + self._model.outputs, strict=True)
        inner = {name: self._model.get_layer(layer).output for name, layer in plan.layers.items()}
        self._tensors = {**dict(ends), **inner}

    def prepare(self, part: Part, example: Sequence[Array]) -> Run:
        """See `Candidate.prepare`."""
        feeds, fetches = ([self._tensors[name] for name in names] for names in (part.needed, part.computed))
        model = self._tf.keras.Model(feeds, fetches)
        specs = [self._tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in feeds]

        def forward(*tensors: Any) -> list[Any]:
            made: list[Any] = self._tf.nest.flatten(model(_given(tensors), training=False))
            return made

        function = self._tf.function(forward, input_signature=specs, autograph=False).get_concrete_function()

        def compute(arrays: Sequence[Array]) -> tuple[Array, ...]:
            return tuple(made.numpy() for made in function(*map(self._tf.convert_to_tensor, arrays)))

        return warmed(part, compute, example)

    def answer(self, frame: Sequence[Array]) -> tuple[Array, ...]:
        """What Keras itself says of a frame: no function, no slice."""
        return tuple(made.numpy() for made in self._tf.nest.flatten(self._model(_given(frame), training=False)))


def _given(tensors: Sequence[Any]) -> Any:
    """As a Keras model takes them: one alone is no list."""
    return tensors[0] if len(tensors) == 1 else list(tensors)
