"""The few protobuf messages that Slicebed writes: nodes of a GraphDef, and a session's configuration.

Sources: https://protobuf.dev/programming-guides/encoding/ and TensorFlow's graph.proto, node_def.proto,
attr_value.proto, tensor.proto, tensor_shape.proto, config.proto and rewriter_config.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_UINT64 = (1 << 64) - 1


def varint(value: int) -> bytes:
    """A number; a negative one as its 64-bit complement."""
    if 0 <= value <= 0x7F:
        return bytes((value,))
    value &= _UINT64
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def header(field: int, length: int) -> bytes:
    """What precedes `length` bytes of a string, bytes or message field."""
    return varint(field << 3 | 2) + varint(length)


def message(field: int, content: bytes) -> bytes:
    """A string, bytes or message field."""
    return header(field, len(content)) + content


def shape(dims: Iterable[int | None] | None) -> bytes:
    """TensorShapeProto; None in it is an open dimension, None in its place an open rank."""
    if dims is None:
        return number(3, 1)
    return b"".join(message(2, number(1, -1 if size is None else size)) for size in dims)


def dtype_attribute(code: int) -> bytes:
    """AttrValue of a dtype."""
    return number(6, code)


def shape_attribute(dims: Sequence[int | None] | None) -> bytes:
    """AttrValue of a shape."""
    return message(7, shape(dims))


def tensor_head(code: int, dims: Iterable[int | None], content_bytes: int) -> bytes:
    """A TensorProto up to its `content_bytes` bytes of tensor_content."""
    return number(1, code) + message(2, shape(dims)) + header(4, content_bytes)


def tensor_attribute(code: int, dims: Iterable[int | None], content: bytes) -> bytes:
    """AttrValue of a tensor."""
    return message(8, tensor_head(code, dims, len(content)) + content)


def node_body(name: str, op: str, inputs: Iterable[str], attributes: Mapping[str, bytes]) -> bytes:
    """A NodeDef; `attributes` are serialised AttrValues."""
    parts = [message(1, name.encode()), message(2, op.encode())]
    parts += [message(3, each.encode()) for each in inputs]
    parts += [message(5, message(1, key.encode()) + message(2, value)) for key, value in attributes.items()]
    return b"".join(parts)


def node(name: str, op: str, inputs: Iterable[str], attributes: Mapping[str, bytes]) -> bytes:
    """A GraphDef's field with one node."""
    return message(1, node_body(name, op, inputs, attributes))


def placeholder(name: str, code: int, dims: Sequence[int | None] | None) -> bytes:
    """A node that is fed."""
    return node(name, "Placeholder", (), {"dtype": dtype_attribute(code), "shape": shape_attribute(dims)})


def session_config(cores: int, *, optimise: bool) -> bytes:
    """ConfigProto with both thread pools of this width.

    Args:
        cores: threads of each pool.
        optimise: whether TensorFlow rewrites the graph first, which pays from the second run on.
    """
    config = number(2, cores) + number(5, cores)
    if not optimise:
        # graph_options: optimizer_options.opt_level = L0, rewrite_options.disable_meta_optimizer.
        config += message(10, message(3, number(3, -1)) + message(10, number(19, 1)))
    return config
