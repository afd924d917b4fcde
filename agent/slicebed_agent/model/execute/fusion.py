"""Batch normalisation folded into the convolution before it: fewer passes over the activations, same values to 1e-6.

Keras traces an inference-time batch normalisation into ``convolution * factors + offsets`` with constant factors and
offsets. TensorFlow itself folds the factors into the filters only where those are constants of the graph, which costs
a copy of every filter per signature; here a filter is folded once for all slices. Offsets become BiasAdd, which
TensorFlow then fuses with the convolution and the activation (grappler/optimizers/remapper.cc).
What is fetched is never folded away: a cut between a convolution and its normalisation runs as it is written.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.execute.constants import Flat, Scaled
from slicebed_agent.model.execute.nodes import node_of
from slicebed_agent.model.graphdef import dtypes
from slicebed_agent.model.graphdef.attributes import decode, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slicebed_agent.model.execute.constants import Key
    from slicebed_agent.model.execute.nodes import Node

    Dims = tuple[int, ...]

_CONVOLUTIONS: Final = {"Conv2D", "DepthwiseConv2dNative"}
_ADDITIONS: Final = {"AddV2", "Add"}
_FILTER_RANK: Final = 4


@dataclasses.dataclass(frozen=True)
class Fused:
    """What is to run.

    Attributes:
        nodes: by name.
        constants: the constant behind each input that no node makes.
    """

    nodes: dict[str, Node]
    constants: dict[str, Key]


def fuse(
    nodes: Iterable[Node], constants: Mapping[str, Key], fetches: Iterable[str], dims_of: Callable[[Key], Dims]
) -> Fused:
    """Fold what can be folded.

    Args:
        nodes: of a slice, in topological order.
        constants: by the input's name.
        fetches: tensors that must remain.
        dims_of: a constant's shape.
    """
    return _Fusion(nodes, constants, fetches, dims_of).run()


class _Fusion:
    def __init__(
        self,
        nodes: Iterable[Node],
        constants: Mapping[str, Key],
        fetches: Iterable[str],
        dims_of: Callable[[Key], Dims],
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._constants = dict(constants)
        self._dims_of = dims_of
        uses = collections.Counter(each for node in self._nodes.values() for each in node.inputs)
        uses.update(fetches)
        uses.update(f"{name}:0" for node in self._nodes.values() for name in node.controls)
        self._uses = uses

    def run(self) -> Fused:
        for name in list(self._nodes):
            if self._nodes[name].op == "Mul":
                self._fold_factors(self._nodes[name])
        for name in list(self._nodes):
            if self._nodes[name].op in _ADDITIONS:
                self._fold_offsets(self._nodes[name])
        return Fused(self._nodes, self._constants)

    def _fold_factors(self, multiply: Node) -> None:
        found = self._convolution_and_constant(multiply)
        if found is None:
            return
        convolution, factors = found
        filters = self._constants[convolution.inputs[1]]
        if not isinstance(filters, str) or not isinstance(factors, str):
            return
        if not _is_per_channel(self._dims_of(factors), self._channels(convolution)):
            return
        tensor = f"{multiply.name}/folded:0"
        self._constants[tensor] = Scaled(filters, factors)
        del self._nodes[convolution.name]
        # Under the product's name, so that whoever takes the product needs no change.
        self._nodes[multiply.name] = dataclasses.replace(
            convolution, name=multiply.name, inputs=(convolution.inputs[0], tensor)
        )

    def _fold_offsets(self, add: Node) -> None:
        found = self._convolution_and_constant(add)
        if found is None:
            return
        convolution, offsets = found
        dims, channels = self._dims_of(offsets), self._channels(convolution)
        if not isinstance(offsets, str) or dims[-1:] != (channels,) or not _is_per_channel(dims, channels):
            return
        tensor = f"{add.name}/offsets:0"
        self._constants[tensor] = Flat(offsets)
        self._nodes[add.name] = dataclasses.replace(
            add, op="BiasAdd", inputs=(f"{convolution.name}:0", tensor), attributes={"T": add.attributes["T"]}
        )

    def _convolution_and_constant(self, node: Node) -> tuple[Node, Key] | None:
        """The operands, if they are a foldable convolution that nobody else takes, and a constant."""
        if len(node.inputs) != 2 or not _is_float32(node):
            return None
        for tensor, other in (node.inputs, node.inputs[::-1]):
            source = self._nodes.get(node_of(tensor))
            if source is None or source.op not in _CONVOLUTIONS or other not in self._constants:
                continue
            alone = self._uses[f"{source.name}:0"] == 1
            filters = self._constants.get(source.inputs[1])
            if alone and filters is not None and _is_channels_last(source) and self._is_filter(filters):
                return source, self._constants[other]
        return None

    def _is_filter(self, key: Key) -> bool:
        return len(self._dims_of(key)) == _FILTER_RANK

    def _channels(self, convolution: Node) -> int:
        _height, _width, third, fourth = self._dims_of(self._constants[convolution.inputs[1]])
        return fourth if convolution.op == "Conv2D" else third * fourth


def _is_per_channel(dims: Dims, channels: int) -> bool:
    """Whether a tensor of these dimensions broadcasts over channels, the last of four dimensions, and nothing else."""
    return len(dims) <= _FILTER_RANK and all(size == 1 for size in dims[:-1]) and dims[-1:] in {(), (1,), (channels,)}


def _is_float32(node: Node) -> bool:
    return decode(node.attributes.get("T", b"")).number == dtypes.FLOAT32


def _is_channels_last(node: Node) -> bool:
    layout = decode(node.attributes.get("data_format", b"")).words
    return layout is None or words(layout) == "NHWC"
