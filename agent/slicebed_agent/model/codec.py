"""Tensors on the wire: the serialised TensorProto that the DNN-slicing paper used."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import PayloadError
from slicebed_agent.model.runtime import tensorflow

Tensor = npt.NDArray[Any]


@functools.cache
def _tensor_pb2() -> Any:
    tensorflow()
    return importlib.import_module("tensorflow.core.framework.tensor_pb2")


def encode(tensor: Tensor) -> bytes:
    """Serialise an array of numbers as a TensorProto; its values travel as raw little-endian bytes."""
    proto: Any = tensorflow().make_tensor_proto(tensor)
    return bytes(proto.SerializeToString())


def decode(data: bytes) -> Tensor:
    """Parse a serialised TensorProto.

    Returns:
        An array whose shape, dtype and byte length agree with what the message announces.

    Raises:
        PayloadError: the bytes are no TensorProto, or its shape, dtype and content contradict each other.
    """
    proto: Any = _tensor_pb2().TensorProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise PayloadError(f"{len(data)} bytes are no TensorProto: {error}", where="decode") from error
    _check(proto)
    try:
        return np.asarray(tensorflow().make_ndarray(proto))
    except (TypeError, ValueError) as error:
        raise PayloadError(f"the TensorProto does not hold what it announces: {error}", where="decode") from error


def _check(proto: Any) -> None:
    """Refuse before building: a few bytes of TensorProto can announce terabytes of repeated value."""
    tf = tensorflow()
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
    except TypeError as error:
        raise PayloadError(f"the TensorProto names no known dtype ({proto.dtype})", where="decode") from error
    if proto.tensor_shape.unknown_rank or any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise PayloadError("the TensorProto leaves its shape open", where="decode")
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool) or dtype.is_quantized:
        raise PayloadError(f"the TensorProto holds {dtype.name}, not plain numbers", where="decode")
    count = math.prod(dim.size for dim in proto.tensor_shape.dim)
    held = len(proto.tensor_content)
    # TensorFlow writes raw bytes, but booleans and tensors of one element as a list of values.
    listed = sum(len(value) for field, value in proto.ListFields() if field.name.endswith("_val"))
    if (held, listed) not in {(count * dtype.size, 0), (0, count)}:
        raise PayloadError(
            f"the TensorProto announces {count} values of {dtype.name} and holds {held} bytes and {listed} values",
            where="decode",
        )
