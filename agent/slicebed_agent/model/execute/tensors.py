"""numpy arrays as TensorFlow's tensors and back, without copying."""

from __future__ import annotations

import ctypes
import importlib
import itertools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentError, PayloadError
from slicebed_agent.model.execute.capi import DEALLOCATOR, library

Array = npt.NDArray[Any]

# tensorflow/core/framework/types.proto
NUMPY_NAMES: Final = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
CODES: Final = {name: code for code, name in NUMPY_NAMES.items()}


def dtype_of(code: int, where: str = "model") -> np.dtype[Any]:
    """The numpy dtype of a TensorFlow data type's number.

    Raises:
        AgentError: it has none (strings, resources, quantised types).
    """
    name = NUMPY_NAMES.get(code)
    if name is None:
        raise AgentError(
            f"TensorFlow's data type {code} has no array", where=where, mend="choose a boundary of numeric tensors"
        )
    if name == "bfloat16":
        bfloat16: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
        return bfloat16
    return np.dtype(name)


def code_of(dtype: np.dtype[Any]) -> int:
    """TensorFlow's number of a numpy dtype.

    Raises:
        PayloadError: it has none.
    """
    code = CODES.get(dtype.name)
    if code is None or dtype.byteorder == ">":
        raise PayloadError(f"arrays of {dtype} cannot be fed", where="slice", mend="send little-endian numbers")
    return code


# Arrays that TensorFlow still reads, by the number given to it; its own threads may be the last to let go.
_lent: Final[dict[int, Array]] = {}
_numbers: Final = itertools.count(1)


def _returned(_data: int | None, _length: int, number: int | None) -> None:
    _lent.pop(number or 0, None)


_RETURNED: Final = DEALLOCATOR(_returned)


class Lent:
    """A TF_Tensor over an array's own memory, for as long as it is kept or TensorFlow uses it.

    TensorFlow copies an array whose memory does not begin on its alignment (64 bytes).

    Attributes:
        array: what was lent.
        pointer: the TF_Tensor.
    """

    def __init__(self, array: Array) -> None:
        """Lend the array, which nobody may write to meanwhile.

        Raises:
            PayloadError: TensorFlow has no such data type.
        """
        self.array = whole = np.ascontiguousarray(array).reshape(array.shape)
        code = code_of(whole.dtype)
        tensorflow = library()
        self._delete = tensorflow.TF_DeleteTensor
        dimensions = (ctypes.c_int64 * max(1, whole.ndim))(*whole.shape)
        number = next(_numbers)
        _lent[number] = whole
        address = whole.ctypes.data
        self.pointer: int = tensorflow.TF_NewTensor(
            code, dimensions, whole.ndim, address, whole.nbytes, _RETURNED, number
        )

    def __del__(self) -> None:
        """Give it back; TensorFlow may keep it a little longer."""
        if hasattr(self, "pointer"):
            self._delete(self.pointer)


class _Owner:
    """Keeps a TF_Tensor for as long as an array looks at its memory."""

    def __init__(self, pointer: int) -> None:
        tensorflow = library()
        self._delete, self._pointer = tensorflow.TF_DeleteTensor, pointer
        shape = tuple(tensorflow.TF_Dim(pointer, axis) for axis in range(tensorflow.TF_NumDims(pointer)))
        self.dtype, self.shape = dtype_of(tensorflow.TF_TensorType(pointer)), shape
        self.__array_interface__ = {
            "version": 3,
            "shape": (tensorflow.TF_TensorByteSize(pointer),),
            "typestr": "|u1",
            "data": (tensorflow.TF_TensorData(pointer) or 0, True),
        }

    def __del__(self) -> None:
        self._delete(self._pointer)


def take(pointer: int) -> Array:
    """The array in a TF_Tensor, read-only and without a copy; it owns the tensor from now on."""
    owner = _Owner(pointer)
    if 0 in owner.shape:
        return np.zeros(owner.shape, owner.dtype)
    return np.asarray(owner).view(owner.dtype).reshape(owner.shape)
