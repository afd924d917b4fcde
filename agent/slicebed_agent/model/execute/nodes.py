"""The nodes of a frozen GraphDef, each with what it takes to write it again; weights are left in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.execute import tensors
from slicebed_agent.model.graphdef import dtypes, wire
from slicebed_agent.model.graphdef.protobuf import BYTES, fields

if TYPE_CHECKING:
    from slicebed_agent.model.graphdef.protobuf import Buffer
    from slicebed_agent.model.graphdef.wire import NodeFile

# A larger constant stays in the file until a slice needs it; a smaller one travels within the graph.
INLINE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant's values, left in the file: little-endian, row by row, `length` bytes from `offset` on."""

    code: int
    dims: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        name: unique in its graph.
        op: ``Conv2D``, ``Const``, ...
        inputs: tensors it takes, always as ``node:k``.
        controls: nodes that must run before it.
        attributes: serialised AttrValues; of a weight without its ``value``.
        weight: where its values are, if it is a large constant.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    controls: tuple[str, ...] = ()
    attributes: dict[str, bytes] = field(default_factory=dict)
    weight: Weight | None = None


def node_of(tensor: str) -> str:
    """The node that makes a tensor."""
    return tensor.rpartition(":")[0]


def nodes_of(file: NodeFile, data: Buffer) -> dict[str, Node]:
    """The nodes by name, in the file's order.

    Args:
        file: what was read from it.
        data: its contents, still mapped.
    """
    return {name: _node(node, data) for name, node in file.nodes.items()}


def _node(node: wire.Node, data: Buffer) -> Node:
    weight = _weight(node, data)
    attributes = {}
    for key, stored in node.attributes.items():
        # Devices and colocation were the exporter's; here everything runs on this host's processor.
        if key != "_class" and (key != "value" or weight is None):
            place = node.large.get(key)
            attributes[key] = stored.raw if place is None else bytes(data[slice(*place)])
    inputs = tuple([f"{source}:{number}" for source, number in node.inputs])
    return Node(node.name, node.op, inputs, node.controls, attributes, weight)


def _weight(node: wire.Node, data: Buffer) -> Weight | None:
    """Where a tensor's values lie, if they lie there as memory has them; None where they are encoded otherwise."""
    start, end = node.large.get("value", (0, 0))
    tensor = node.tensor("value") if end - start > INLINE_BYTES else None
    if tensor is None or tensor.dtype not in tensors.NUMPY_NAMES:
        return None
    *_, first, last = next(fields(data, start, end))
    length = tensor.elements * (dtypes.size(tensor.dtype) or 0)
    for number, kind, _, begin, stop in fields(data, first, last):
        # tensor_content; or float_val, double_val packed, which are the same bytes
        as_in_memory = number == 4 or (number, tensor.dtype) in {(5, 1), (6, 2)}
        if as_in_memory and kind == BYTES and stop - begin == length:
            return Weight(tensor.dtype, tensor.dims, begin, length)
    return None
