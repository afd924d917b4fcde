"""A model's graph, whatever framework it came from: operators and the tensors between them. Plain data.

Only what depends on an input and reaches an output is an operator here. What does not depend on an input (weights,
and arithmetic on weights) is a constant of the operators that use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value on its way from one operator to others.

    Attributes:
        name: ``operator:k``, the operator's k-th output.
        dtype: as numpy names it.
        shape: of one frame's tensor; None in it is a dimension that is not known, the batch among them. None where
            not even the number of dimensions is known.
        elements: values for one frame (the batch taken as 1); None where that is not known.
        bytes_per_frame: its size when it travels raw; None where that is not known.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    elements: int | None
    bytes_per_frame: int | None

    @property
    def operator(self) -> str:
        """The name of the operator that makes it."""
        return self.name.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Constant:
    """A weight, or another value that no input changes.

    Attributes:
        elements: how many values.
        bytes: their size.
        is_parameter: a weight: floating point with at least one dimension; not an axis, a shape or an epsilon.
    """

    elements: int
    bytes: int
    is_parameter: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the computation.

    Attributes:
        name: unique in its graph.
        kind: ``Conv2D``, ``Relu``, ...; of a Keras layer its class.
        inputs: names of the tensors that it takes and that depend on a model's input.
        outputs: the tensors that it makes.
        constants: names of the constants that it uses, directly or through arithmetic on constants.
        control_inputs: operators that must have run before, without a tensor from them.
        layer: the layer that it belongs to; its own name where there are no layers.
        flops: floating point operations for one frame (a multiply-add is two); 0 for what only moves data.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    constants: tuple[str, ...] = ()
    control_inputs: tuple[str, ...] = ()
    layer: str = ""
    flops: int = 0


@dataclass(frozen=True)
class Graph:
    """A model: operators in an order in which each comes after all that it needs.

    Attributes:
        name: of the model.
        operators: between inputs and outputs, in topological order; the placeholders of the inputs come first.
        inputs: names of the input tensors.
        outputs: names of the output tensors.
        constants: by name.
    """

    name: str
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Constant] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name."""
        return {tensor.name: tensor for operator in self.operators for tensor in operator.outputs}

    def parameters_of(self, operator: Operator) -> int:
        """Number of weights that an operator uses; one that several use counts for each."""
        used = (self.constants[name] for name in operator.constants)
        return sum(each.elements for each in used if each.is_parameter)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(each.elements for each in self.constants.values() if each.is_parameter)

    @property
    def flops(self) -> int:
        """Floating point operations for one frame."""
        return sum(operator.flops for operator in self.operators)


@dataclass(frozen=True, slots=True)
class SplitPoint:
    """A place where the model may be cut in two.

    Attributes:
        name: as the command line takes it: the operator (or layer) whose output crosses, ``:k`` behind it when that is
            not the first; of several, their names joined by ``+``.
        position: operators before it, in the graph's order.
        tensors: what crosses, in the graph's order.
        layer: the layer of the last operator before it.
        flops_before, flops_after: on each side.
        parameters_before, parameters_after: weights on each side; one that both use counts on both.
    """

    name: str
    position: int
    tensors: tuple[Tensor, ...]
    layer: str
    flops_before: int
    flops_after: int
    parameters_before: int
    parameters_after: int

    @property
    def bytes_per_frame(self) -> int | None:
        """Bytes that cross for one frame, raw; None where some tensor's size is not known."""
        sizes = [tensor.bytes_per_frame for tensor in self.tensors]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None


def elements_of(shape: tuple[int | None, ...] | None) -> int | None:
    """Values in one frame's tensor: the first dimension, the batch, counts as 1 where it is open."""
    if shape is None:
        return None
    rest = shape[1:] if shape and shape[0] is None else shape
    known = [size for size in rest if size is not None]
    return math.prod(known) if len(known) == len(rest) else None
