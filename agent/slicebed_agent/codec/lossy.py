"""Lossy codecs: floats as halves, or as bytes with a scale and a lowest value per tensor; all else as it is."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent.codec import raw
from slicebed_agent.codec.arrays import Announced, announced, check
from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.codecs import SHRUNK, Codec
from slicebed_agent.pipeline.contracts import Payload, Tensor, TensorHead, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable

_HALVES: Final = SHRUNK[Codec.FP16]
_BYTES: Final = SHRUNK[Codec.UINT8]
_STEPS: Final = 255
_FLOAT32_TINY, _FLOAT32_MAX = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def encode_fp16(arrays: Tensors) -> Payload:
    """Wide floats as halves: 11 bits of precision, up to 65504.

    Raises:
        PayloadError: a finite value is beyond the halves, or of what no codec sends.
    """
    return _encode(Codec.FP16, arrays, _as_halves)


def encode_uint8(arrays: Tensors) -> Payload:
    """Floats as 0..255 between the tensor's lowest and highest value.

    Raises:
        PayloadError: a value is no number, or the boundary is one that no codec sends.
    """
    return _encode(Codec.UINT8, arrays, _as_bytes)


def decode(payload: Payload) -> Tensors:
    """The arrays, read-only, of the dtypes that they had.

    Raises:
        PayloadError: heads and bytes disagree.
    """
    return tuple(_decode(tensor) for tensor in announced(payload))


def _encode(codec: Codec, arrays: Tensors, shrink: Callable[[Tensor], tuple[TensorHead, memoryview]]) -> Payload:
    check(arrays)
    parts = [shrink(array) for array in arrays]
    return Payload(codec, tuple(head for head, _ in parts), tuple(data for _, data in parts))


def _as_halves(array: Tensor) -> tuple[TensorHead, memoryview]:
    if array.dtype.name not in _HALVES:
        return raw.encode_array(array)
    with np.errstate(over="ignore"):
        halves = array.astype(np.float16)
    infinite = np.isinf(halves)
    if infinite.any() and np.isfinite(array[infinite]).any():
        raise PayloadError(
            "a value is beyond what halves hold (65504)",
            where="encode",
            mend="ask for another codec than fp16",
        )
    head, data = raw.encode_array(halves)
    return dataclasses.replace(head, dtype=array.dtype.name, filter=Codec.FP16.value), data


def _as_bytes(array: Tensor) -> tuple[TensorHead, memoryview]:
    if array.dtype.name not in _BYTES or not array.size:
        return raw.encode_array(array)
    lowest, highest = float(array.min()), float(array.max())
    scale = (highest - lowest) / _STEPS
    if not (math.isfinite(lowest) and math.isfinite(scale)):
        raise PayloadError(
            f"values from {lowest:g} to {highest:g} cannot be bytes",
            where="encode",
            mend="ask for another codec than uint8",
        )
    # float32 computes faster, where it can hold both the whole range and a step.
    narrow = array.dtype != np.float64 and highest - lowest < _FLOAT32_MAX and scale > _FLOAT32_TINY
    # Of no dimensions, subtract and its like would return a number.
    steps = array.astype(np.float32 if narrow else np.float64).reshape(-1)
    if scale:
        np.subtract(steps, lowest, out=steps)
        np.divide(steps, scale, out=steps)
    else:
        steps[...] = 0
    levels = np.clip(np.rint(steps, out=steps), 0, _STEPS, out=steps).astype(np.uint8)
    head, data = raw.encode_array(levels.reshape(array.shape))
    return dataclasses.replace(head, dtype=array.dtype.name, filter=Codec.UINT8.value, scale=scale, lowest=lowest), data


def _decode(tensor: Announced) -> Tensor:
    head = tensor.head
    if not head.filter:
        return raw.decode_array(tensor)
    if head.filter == Codec.FP16 and head.dtype in _HALVES:
        values = _stored(tensor, np.dtype(np.float16)).astype(tensor.dtype)
    elif head.filter == Codec.UINT8 and head.dtype in _BYTES:
        if not (math.isfinite(head.scale) and math.isfinite(head.lowest)):
            raise PayloadError(f"a scale of {head.scale} from {head.lowest}", where="decode")
        with np.errstate(over="ignore"):
            table = (head.lowest + head.scale * np.arange(_STEPS + 1)).astype(tensor.dtype)
        values = table[_stored(tensor, np.dtype(np.uint8))]
    else:
        raise PayloadError(f"no filter {head.filter[:60]!r} of {head.dtype}", where="decode")
    return tensor.array(values.view(np.uint8))


def _stored(tensor: Announced, dtype: np.dtype[np.float16] | np.dtype[np.uint8]) -> Tensor:
    if tensor.data.nbytes != tensor.count * dtype.itemsize:
        raise PayloadError(
            f"{tensor.count} values as {dtype} are {tensor.count * dtype.itemsize} bytes, {tensor.data.nbytes} came",
            where="decode",
        )
    return np.frombuffer(tensor.data, dtype, tensor.count)
