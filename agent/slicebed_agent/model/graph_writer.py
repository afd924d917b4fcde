"""Writes a frozen GraphDef node by node, so that weights go from memory to the file without a protobuf between."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.execute.encode import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slicebed_agent.model.files import Incoming

# Protobuf's own limit: TensorFlow cannot parse a longer message.
MAX_BYTES: Final = 2**31 - 1
# Field numbers of graph.proto, node_def.proto, attr_value.proto and tensor.proto, as tags of length-delimited fields.
_GRAPH_NODE: Final = b"\x0a"
_NODE_NAME: Final = b"\x0a"
_NODE_OP: Final = b"\x12"
_NODE_ATTR: Final = b"\x2a"
_ENTRY_KEY: Final = b"\x0a"
_ENTRY_VALUE: Final = b"\x12"
_ATTR_TENSOR: Final = b"\x42"
_TENSOR_CONTENT: Final = b"\x22"


@dataclasses.dataclass(frozen=True, slots=True)
class Weight:
    """A constant to be written whose values are still elsewhere.

    Attributes:
        name: of its operator.
        dtype: TensorFlow's number of its dtype.
        shape: of its values.
        size_bytes: of its values, raw.
        values: gives them, when their turn has come.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    size_bytes: int
    values: Callable[[], npt.NDArray[Any]]


def write_graph(parts: Sequence[bytes | Weight], versions: bytes, sink: Incoming) -> None:
    """Write a GraphDef.

    Args:
        parts: its nodes in order: serialised NodeDefs and weights.
        versions: its serialised VersionDef.
        sink: what is written to; nothing is where an error is raised.

    Raises:
        AgentConfigError: it would be longer than protobuf allows.
    """
    heads = [b"" if isinstance(part, bytes) else _head(part) for part in parts]
    sizes = [
        len(part) if isinstance(part, bytes) else len(head) + part.size_bytes
        for part, head in zip(parts, heads, strict=True)
    ]
    total = sum(1 + len(varint(size)) + size for size in sizes)
    if total + len(versions) + 16 > MAX_BYTES:
        raise AgentConfigError(
            f"the frozen graph would take {total / 1e9:.2f} GB, and a GraphDef holds less than 2 GB",
            where="freeze",
            mend="use fewer weights or a smaller dtype",
        )
    for part, head, size in zip(parts, heads, sizes, strict=True):
        sink.write(_GRAPH_NODE + varint(size) + (part if isinstance(part, bytes) else head))
        if isinstance(part, Weight):
            sink.write(_raw(part))
    sink.write(b"\x22" + varint(len(versions)) + versions)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def _head(weight: Weight) -> bytes:
    """All of a Const's NodeDef that comes before its values; they end it."""
    attr_value: Any = importlib.import_module("tensorflow.core.framework.attr_value_pb2")
    tensor: Any = importlib.import_module("tensorflow.core.framework.tensor_pb2")
    shapes, dtype, header = attr_value.AttrValue(), attr_value.AttrValue(), tensor.TensorProto()
    dims = header.tensor_shape.dim
    for size in weight.shape:
        dims.add(size=size)
    shapes.list.shape.add().CopyFrom(header.tensor_shape)
    dtype.type = header.dtype = weight.dtype
    entries = [("_output_shapes", shapes), ("dtype", dtype)]
    plain = b"".join(
        _field(
            _NODE_ATTR,
            _field(_ENTRY_KEY, key.encode()) + _field(_ENTRY_VALUE, value.SerializeToString(deterministic=True)),
        )
        for key, value in entries
    )
    return _field(_NODE_NAME, weight.name.encode()) + _field(_NODE_OP, b"Const") + plain + _value_head(header, weight)


def _value_head(header: Any, weight: Weight) -> bytes:
    """The start of the attribute `value`: every length counts the values that follow."""
    head: bytes = header.SerializeToString(deterministic=True) + _TENSOR_CONTENT + varint(weight.size_bytes)
    key = _field(_ENTRY_KEY, b"value")
    for tag, before in ((_ATTR_TENSOR, b""), (_ENTRY_VALUE, key), (_NODE_ATTR, b"")):
        head = before + tag + varint(len(head) + weight.size_bytes) + head
    return head


def _raw(weight: Weight) -> memoryview:
    values = np.ascontiguousarray(weight.values())
    if values.nbytes != weight.size_bytes:
        raise AgentConfigError(
            f"{weight.name} has {values.nbytes} bytes of values, its shape says {weight.size_bytes}",
            where="freeze",
            mend="build the model again",
        )
    return values.reshape(-1).view(np.uint8).data
