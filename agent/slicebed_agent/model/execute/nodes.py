"""The nodes of a frozen GraphDef, each with what it takes to write it again; weights are left in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent.model.execute import encode, tensors
from slicebed_agent.model.graphdef import dtypes
from slicebed_agent.model.graphdef.errors import WireError
from slicebed_agent.model.graphdef.protobuf import BYTES, VARINT, fields, signed, text

if TYPE_CHECKING:
    from slicebed_agent.model.graphdef.protobuf import Buffer, Field

# A larger constant stays in the file until a slice needs it; a smaller one travels within the graph.
INLINE_BYTES: Final = 4096
_NODE: Final = 1
_CARRIED: Final = {2, 4}  # library of functions, versions


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


def read_nodes(data: Buffer) -> tuple[dict[str, Node], bytes]:
    """The nodes by name, in the file's order; and what else of the GraphDef goes with them.

    Raises:
        WireError: malformed.
    """
    nodes: dict[str, Node] = {}
    carried = b""
    for part in fields(data, 0, len(data)):
        if part.number == _NODE and part.kind == BYTES:
            node = _node(data, part)
            nodes[node.name] = node
        elif part.number in _CARRIED and part.kind == BYTES:
            carried += encode.message(part.number, bytes(data[part.start : part.end]))
    return nodes, carried


def _node(data: Buffer, part: Field) -> Node:
    name = op = ""
    taken: list[str] = []
    attributes: dict[str, bytes] = {}
    weight: Weight | None = None
    if part.end - part.start <= INLINE_BYTES:
        data, start, end = data[part.start : part.end], 0, part.end - part.start
    else:
        start, end = part.start, part.end
    for each in fields(data, start, end):
        if each.number == 1:
            name = text(data, each.start, each.end)
        elif each.number == 2:
            op = text(data, each.start, each.end)
        elif each.number == 3:
            taken.append(text(data, each.start, each.end))
        elif each.number == 5:
            key, value = _attribute(data, each)
            large = value.end - value.start > INLINE_BYTES and key == "value"
            weight = _weight(data, value) if large else weight
            # Devices and colocation were the exporter's; here everything runs on this host's processor.
            if key != "_class" and not (large and weight is not None):
                attributes[key] = bytes(data[value.start : value.end])
    if not name or not op:
        raise WireError("a node has no name or no operator", part.start)
    inputs = tuple(each if ":" in each else f"{each}:0" for each in taken if each[:1] != "^")
    controls = tuple(each[1:] for each in taken if each[:1] == "^")
    return Node(name, op, inputs, controls, attributes, weight)


def _attribute(data: Buffer, entry: Field) -> tuple[str, Field]:
    key, value = "", None
    for each in fields(data, entry.start, entry.end):
        if each.number == 1:
            key = text(data, each.start, each.end)
        elif each.number == 2:
            value = each
    if value is None:
        raise WireError("an attribute has no value", entry.start)
    return key, value


def _weight(data: Buffer, value: Field) -> Weight | None:
    """Where a tensor's values lie, if they lie there as memory has them; None where they are encoded otherwise."""
    proto = next(fields(data, value.start, value.end))
    if proto.number != 8 or proto.kind != BYTES:
        return None
    code, content = 0, None
    dims: tuple[int, ...] = ()
    for each in fields(data, proto.start, proto.end):
        if each.number == 1 and each.kind == VARINT:
            code = each.value
        elif each.number == 2 and each.kind == BYTES:
            dims = _dims(data, each)
        # tensor_content; or float_val, double_val and the like packed, which are the same bytes
        elif each.kind == BYTES and (each.number == 4 or (each.number, code) in {(5, 1), (6, 2)}):
            content = each
    itemsize = dtypes.size(code)
    if content is None or itemsize is None or code not in tensors.NUMPY_NAMES:
        return None
    length = content.end - content.start
    if length != int(np.prod(dims, dtype=np.int64)) * itemsize:
        return None
    return Weight(code, dims, content.start, length)


def _dims(data: Buffer, proto: Field) -> tuple[int, ...]:
    return tuple(
        sum(signed(part.value) for part in fields(data, each.start, each.end) if part.number == 1)
        for each in fields(data, proto.start, proto.end)
        if each.number == 2
    )
