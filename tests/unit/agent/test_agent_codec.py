"""Tensors on the wire are TensorFlow's own, written and read without it."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.errors import PayloadError
from slicebed_agent.model import codec
from slicebed_agent.model.execute.tensors import CODES, dtype_of

SHAPES = [(), (1,), (2, 3), (1, 4, 4, 7), (0, 5), (3, 0)]
# TensorFlow writes these as raw bytes where there are several values, as this codec always does.
RAW = {"float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"}


def _array(name, shape):
    dtype = dtype_of(CODES[name])
    random = np.random.default_rng(3)
    if name == "bool":
        return random.integers(0, 2, shape).astype(dtype)
    low = 0 if name.startswith("u") else -100
    values = random.integers(low, 100, shape)
    return (values * (1 + 2j) if name.startswith("complex") else values).astype(dtype)


def _same(found, expected):
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(CODES))
def test_what_one_writes_the_other_reads(tf, name, shape):
    from tensorflow.core.framework import tensor_pb2

    array = _array(name, shape)
    theirs = tf.make_tensor_proto(array).SerializeToString()
    ours = codec.encode([array])
    parsed = tensor_pb2.TensorProto()
    parsed.ParseFromString(ours)
    assert _same(tf.make_ndarray(parsed), array)
    assert _same(tf.io.parse_tensor(ours, tf.dtypes.as_dtype(parsed.dtype)).numpy(), array)
    for data in (theirs, ours):
        (found,) = codec.decode(data)
        assert _same(found, array)
    if array.size > 1 and name in RAW:
        assert ours == theirs


def test_extreme_values_survive_tensorflows_lists(tf):
    """Of one value TensorFlow makes a list of varints; negative ones are the complement of 64 bits."""
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        for value in (np.iinfo(name).min, np.iinfo(name).max):
            array = np.array([value], name)
            assert _same(codec.decode(tf.make_tensor_proto(array).SerializeToString())[0], array)
    for name in ("float16", "bfloat16", "float32", "float64", "complex64"):
        array = np.array([-0.0, np.inf, 1e-7], dtype_of(CODES[name]))
        for one in array.reshape(-1, 1):
            assert _same(codec.decode(tf.make_tensor_proto(one).SerializeToString())[0], one)


@given(
    arrays=st.lists(
        st.tuples(st.sampled_from(sorted(CODES)), st.lists(st.integers(0, 4), max_size=4)), min_size=1, max_size=5
    )
)
def test_any_boundary_survives(arrays):
    boundary = tuple(_array(name, tuple(shape)) for name, shape in arrays)
    again = codec.decode(codec.encode(boundary))
    assert len(again) == len(boundary)
    assert all(map(_same, again, boundary))


def test_several_tensors_are_a_bundle_of_tensor_protos(tf):
    from slicebed_agent.rpc.v1 import link_pb2

    boundary = (_array("float32", (2, 3)), _array("bool", (4,)), np.zeros((300, 10), np.float32))
    data = codec.encode(boundary)
    bundle = link_pb2.TensorBundle.FromString(data)
    assert list(bundle.tensors) == [codec.encode([array]) for array in boundary]
    assert bundle.SerializeToString() == data
    theirs = link_pb2.TensorBundle(tensors=[tf.make_tensor_proto(array).SerializeToString() for array in boundary])
    assert all(map(_same, codec.decode(theirs.SerializeToString()), boundary))


def test_arrays_need_not_lie_row_by_row():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    (again,) = codec.decode(codec.encode([array]))
    assert np.array_equal(again, array)


def test_values_are_not_copied_when_read():
    data = codec.encode([np.zeros((1000, 1000), np.float32)])
    (array,) = codec.decode(data)
    assert not array.flags.owndata
    assert not array.flags.writeable


def _proto(**fields):
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in fields.pop("shape", ())],
        unknown_rank=fields.pop("unknown_rank", False),
    )
    return tensor_pb2.TensorProto(tensor_shape=shape, **fields).SerializeToString()


MALFORMED = {
    "nothing": lambda: b"",
    "garbage": lambda: b"\xff\xff\xff",
    "bomb": lambda: _proto(dtype=1, shape=[10**6, 10**6], float_val=[1.0]),
    "bomb of zeros": lambda: _proto(dtype=1, shape=[10**6, 10**6]),
    "short": lambda: _proto(dtype=1, shape=[4], tensor_content=b"123"),
    "long": lambda: _proto(dtype=1, shape=[1], tensor_content=b"12345678"),
    "both": lambda: _proto(dtype=1, shape=[1], tensor_content=b"1234", float_val=[1.0]),
    "another list": lambda: _proto(dtype=1, shape=[1], int_val=[1]),
    "half a complex": lambda: _proto(dtype=8, shape=[1], scomplex_val=[1.0]),
    "open shape": lambda: _proto(dtype=1, shape=[-1], tensor_content=b"1234"),
    "open rank": lambda: _proto(dtype=1, unknown_rank=True, float_val=[1.0]),
    "too many dimensions": lambda: _proto(dtype=1, shape=[1] * 65, float_val=[1.0]),
    "strings": lambda: _proto(dtype=7, shape=[1], string_val=[b"text"]),
    "quantised": lambda: _proto(dtype=11, shape=[1], tensor_content=b"1"),
    "no dtype": lambda: _proto(dtype=0, shape=[1]),
    "unknown dtype": lambda: _proto(dtype=99, shape=[1]),
    "cut short": lambda: codec.encode([np.zeros(9, np.float32)])[:-1],
    "bundle cut short": lambda: codec.encode([np.zeros(9, np.float32)] * 2)[:-1],
    "bundle of rubbish": lambda: b"\x0a\x02ab",
    "bundle and more": lambda: codec.encode([np.zeros(9, np.float32)] * 2) + b"\x10\x01",
}


@pytest.mark.parametrize("make", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_contradicts_itself_is_refused(tf, make):
    with pytest.raises(PayloadError, match="TensorProto"):
        codec.decode(make())


@given(data=st.binary(max_size=200))
def test_no_bytes_do_worse_than_being_refused(data):
    with contextlib.suppress(PayloadError):
        codec.decode(data)


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([None]), np.zeros(3, ">f4")], ids=["text", "object", "big"]
)
def test_what_has_no_tensor_is_refused(array):
    with pytest.raises(PayloadError, match="little-endian numbers"):
        codec.encode([array])


def test_tensorflow_is_not_imported():
    code = (
        "import sys, numpy as np\n"
        "from slicebed_agent.model import codec\n"
        "codec.decode(codec.encode([np.zeros((2, 3), np.float32), np.zeros(4, bool)]))\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
