"""Boundaries on the wire: a serialised TensorProto, as the DNN-slicing paper used; of several tensors a TensorBundle.

TensorFlow is not needed for it: its Python package would cost every agent 290 MB. Sources: TensorFlow's tensor.proto,
tensor_shape.proto and tensor.cc (Tensor::FromProto), and this project's link.proto.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from slicebed_agent.errors import PayloadError
from slicebed_agent.model.execute import encode as protobuf
from slicebed_agent.model.execute.tensors import code_of, dtype_of
from slicebed_agent.model.graphdef import dtypes
from slicebed_agent.model.graphdef.errors import WireError
from slicebed_agent.model.graphdef.protobuf import BYTES, FIXED32, FIXED64, VARINT, fields, packed, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.execute.tensors import Array
    from slicebed_agent.model.graphdef.protobuf import Buffer, Field

# Fields of TensorProto, by the dtype's number: where TensorFlow lists values one by one (a single one, truth values,
# halves and complex numbers), and as what. Halves are the varints of their bits, complex numbers two reals each.
_DTYPE, _SHAPE, _CONTENT = 1, 2, 4
_FIXED: Final[dict[int, np.dtype[Any]]] = {
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    9: np.dtype("<f4"),
    12: np.dtype("<f8"),
}
_FIXED_KIND: Final = {4: FIXED32, 8: FIXED64}
_LISTED: Final = {1: 5, 2: 6, 8: 9, 9: 10, 10: 11, 14: 13, 18: 12, 19: 13, 22: 16, 23: 17} | dict.fromkeys(
    (3, 4, 5, 6, 17), 7
)
_VALUES: Final = range(5, 18)
_HALVES: Final = 13
_TENSOR: Final = 1  # of TensorBundle
_BUNDLE_TAG: Final = _TENSOR << 3 | BYTES  # a TensorProto's field 1 is a number, so no TensorProto begins so
_MAX_RANK: Final = 64  # numpy's own limit


def encode(arrays: Sequence[Array]) -> bytes:
    """Serialise the arrays of a boundary, at least one; their values travel as raw little-endian bytes.

    Raises:
        PayloadError: TensorFlow has no such data type.
    """
    serialised = [_tensor_proto(array) for array in arrays]
    if len(serialised) == 1:
        return b"".join(serialised[0])
    lengths = [sum(len(part) for part in parts) for parts in serialised]
    framed = [(protobuf.header(_TENSOR, length), *parts) for length, parts in zip(lengths, serialised, strict=True)]
    return b"".join(itertools.chain.from_iterable(framed))


def decode(data: Buffer) -> tuple[Array, ...]:
    """Parse what `encode`, or TensorFlow, serialised.

    Returns:
        The arrays of the boundary, read-only views of `data` where it holds raw bytes. Shape, dtype and byte length
        of each agree with what the message announces.

    Raises:
        PayloadError: the bytes are no TensorProto or TensorBundle, or shape, dtype and content contradict each other.
    """
    try:
        if data[:1] != bytes((_BUNDLE_TAG,)):
            return (_array(data, 0, len(data)),)
        return tuple(_array(data, *_tensor(part)) for part in fields(data, 0, len(data)))
    except WireError as error:
        raise _refused(f"{len(data)} bytes are no TensorProto: {error.what}") from error


def _tensor_proto(array: Array) -> tuple[bytes, memoryview]:
    code = code_of(array.dtype)
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return protobuf.tensor_head(code, array.shape, content.nbytes), content.data


def _tensor(part: Field) -> tuple[int, int]:
    number, kind, _, start, end = part
    if (number, kind) != (_TENSOR, BYTES):
        raise WireError("a field is none of a TensorBundle", start)
    return start, end


def _array(data: Buffer, start: int, end: int) -> Array:
    code = 0
    dims: tuple[int, ...] = ()
    content = (0, 0)
    listed: list[Field] = []
    for field in fields(data, start, end):
        number, kind, value, first, behind = field
        if number == _DTYPE and kind == VARINT:
            code = value
        elif number == _SHAPE and kind == BYTES:
            dims = _dims(data, first, behind)
        elif number == _CONTENT and kind == BYTES:
            content = (first, behind - first)
        elif number in _VALUES:
            listed.append(field)
    return _filled(data, _plain(code), dims, content, listed)


def _plain(code: int) -> int:
    """The data type's number, of plain numbers only."""
    if code not in _LISTED:
        name = dtypes.name(code)
        known = f"holds {name}, not plain numbers" if name else f"names no known dtype ({code})"
        raise _refused(f"the TensorProto {known}")
    return code


def _dims(data: Buffer, start: int, end: int) -> tuple[int, ...]:
    found = []
    for number, kind, value, first, behind in fields(data, start, end):
        if number == 2 and kind == BYTES:
            sizes = [size for place, form, size, *_ in fields(data, first, behind) if (place, form) == (1, VARINT)]
            found.append(signed(sizes[-1]) if sizes else 0)
        elif number == 3 and value:
            found.append(-1)
    if any(size < 0 for size in found):
        raise _refused("the TensorProto leaves its shape open")
    if len(found) > _MAX_RANK:
        raise _refused(f"the TensorProto has {len(found)} dimensions")
    return tuple(found)


def _filled(data: Buffer, code: int, dims: tuple[int, ...], content: tuple[int, int], listed: list[Field]) -> Array:
    """Refuse before building: a few bytes of TensorProto can announce terabytes of repeated value."""
    try:
        dtype = dtype_of(code)
    except ImportError as error:
        raise _refused(f"the TensorProto holds {dtypes.name(code)}, which this host cannot: {error}") from error
    count = math.prod(dims)
    start, held = content
    if held and not listed:
        if held == count * dtype.itemsize:
            return np.frombuffer(data, dtype, count, start).reshape(dims)
        raise _refused(f"the TensorProto announces {count} values of {dtype.name} and holds {held} bytes")
    values = [_values(data, field, _LISTED[code]) for field in listed]
    flat = np.concatenate(values) if values else np.zeros(0, np.uint8)
    wide = 2 if dtype.kind == "c" else 1
    if len(flat) != count * wide or held:
        raise _refused(f"the TensorProto announces {count} values of {dtype.name} and lists {len(flat) // wide}")
    return _typed(flat, dtype, _LISTED[code]).reshape(dims)


def _values(data: Buffer, field: Field, expected: int) -> Array:
    """What one field of listed values holds: single values and packed ones may follow each other."""
    number, kind, _, start, end = field
    if number != expected:
        raise WireError("values are listed in another type's field", start)
    fixed = _FIXED.get(number)
    if fixed is None:
        return np.array(packed(data, field), np.uint64)
    count, rest = divmod(end - start, fixed.itemsize)
    if kind not in {BYTES, _FIXED_KIND[fixed.itemsize]} or rest:
        raise WireError("a list of numbers ends within one", start)
    return np.frombuffer(data, fixed, count, start)


def _typed(flat: Array, dtype: np.dtype[Any], field: int) -> Array:
    if field in _FIXED or not len(flat):
        return flat.view(dtype) if len(flat) else np.zeros(0, dtype)
    if field == _HALVES:
        return flat.astype(np.uint16).view(dtype)
    return flat.astype(np.bool_) if dtype.kind == "b" else flat.astype(dtype)


def _refused(what: str) -> PayloadError:
    return PayloadError(what, where="decode")
