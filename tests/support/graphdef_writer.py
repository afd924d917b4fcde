"""Writes frozen GraphDefs byte by byte, apart from the reader under test."""

from __future__ import annotations

import struct

FLOAT, INT32 = 1, 3


def varint(value):
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def shape(dims):
    """A TensorShapeProto; None for a shape of unknown rank, None in it for an open dimension."""
    if dims is None:
        return number(3, 1)
    return b"".join(block(2, number(1, -1 if size is None else size)) for size in dims)


def dtype(value):
    return number(6, value)


def integer(value):
    return number(3, value)


def words(value):
    return block(2, value)


def integers(values):
    return block(1, block(3, b"".join(map(varint, values))))


def shape_attribute(dims):
    return block(7, shape(dims))


def shapes(*all_dims):
    return block(1, b"".join(block(7, shape(dims)) for dims in all_dims))


def tensor(kind, dims, content=b""):
    return block(8, number(1, kind) + block(2, shape(dims)) + (block(4, content) if content else b""))


def int32_tensor(values):
    dims = () if isinstance(values, int) else (len(values),)
    flat = (values,) if isinstance(values, int) else values
    return tensor(INT32, dims, struct.pack(f"<{len(flat)}i", *flat))


def node(name, op, inputs=(), **attributes):
    """A NodeDef as a field of a GraphDef; the attributes are AttrValues."""
    body = block(1, name) + block(2, op) + b"".join(block(3, each) for each in inputs)
    for key, value in attributes.items():
        body += block(5, block(1, key) + block(2, value))
    return block(1, body)


def placeholder(name, dims, kind=FLOAT):
    return node(name, "Placeholder", dtype=dtype(kind), shape=shape_attribute(dims))


def weights(name, dims, *, with_content=False):
    size = 4
    for each in dims:
        size *= each
    return node(name, "Const", dtype=dtype(FLOAT), value=tensor(FLOAT, dims, bytes(size) if with_content else b""))


def ints(name, values):
    return node(name, "Const", dtype=dtype(INT32), value=int32_tensor(values))


def conv(name, image, kernel, *, strides=(1, 1), op="Conv2D", **more):
    return node(
        name,
        op,
        (image, kernel),
        T=dtype(FLOAT),
        strides=integers((1, *strides, 1)),
        padding=words("SAME"),
        data_format=words("NHWC"),
        dilations=integers((1, 1, 1, 1)),
        **more,
    )


def float_op(name, op, inputs, **attributes):
    return node(name, op, inputs, T=dtype(FLOAT), **attributes)


def library(function):
    """A FunctionDefLibrary that holds one function."""
    return block(2, block(1, block(1, block(1, function))))


def like_nasnet(cells, channels=64, *, content=False):
    """About 26 nodes per cell: separable convolutions, batch normalisation in Keras 3's way, skips, concatenation."""
    yield placeholder("input", (None, 84, 84, channels))
    yield ints("axis", 3)
    yield weights("epsilon", ())
    skipped = before = "input"
    for cell in range(cells):
        ends = []
        for branch, source in enumerate((before, skipped)):
            scope = f"model/cell_{cell}/branch_{branch}"
            yield weights(f"{scope}/depthwise/kernel", (3, 3, channels, 1), with_content=content)
            yield weights(f"{scope}/pointwise/kernel", (1, 1, channels, channels), with_content=content)
            for name in ("gamma", "beta", "mean", "variance"):
                yield weights(f"{scope}/bn/{name}", (channels,), with_content=content)
            yield float_op(f"{scope}/bn/add", "AddV2", (f"{scope}/bn/variance", "epsilon"))
            yield float_op(f"{scope}/bn/Rsqrt", "Rsqrt", (f"{scope}/bn/add",))
            yield float_op(f"{scope}/bn/mul", "Mul", (f"{scope}/bn/Rsqrt", f"{scope}/bn/gamma"))
            out = shapes((None, 84, 84, channels))
            yield float_op(f"{scope}/relu", "Relu", (source,), _output_shapes=out)
            yield conv(
                f"{scope}/depthwise",
                f"{scope}/relu",
                f"{scope}/depthwise/kernel",
                op="DepthwiseConv2dNative",
                _output_shapes=out,
            )
            yield conv(f"{scope}/pointwise", f"{scope}/depthwise", f"{scope}/pointwise/kernel", _output_shapes=out)
            yield float_op(f"{scope}/bn/mul_1", "Mul", (f"{scope}/pointwise", f"{scope}/bn/mul"), _output_shapes=out)
            yield float_op(f"{scope}/bn/add_1", "AddV2", (f"{scope}/bn/mul_1", f"{scope}/bn/beta"), _output_shapes=out)
            ends.append(f"{scope}/bn/add_1")
        yield float_op(f"model/cell_{cell}/add", "AddV2", ends)
        skipped, before = before, f"model/cell_{cell}/add"
    yield node("identity", "Identity", (before,), T=dtype(FLOAT))
