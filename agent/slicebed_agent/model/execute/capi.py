"""TensorFlow's C API through ctypes: the one part of TensorFlow whose binary interface is promised to stay.

A process that only runs slices loads the two shared libraries and none of TensorFlow's Python: 1 s and 50 MB of its
own memory instead of 6 s and 290 MB (docs/adr/0010-executor.md).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import Any, Final, Self

from slicebed_agent.errors import AgentError
from slicebed_agent.model.execute.memory import settle
from slicebed_agent.model.runtime import without_talk

_LIBRARIES: Final = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
_OK: Final = 0
_WORDS: Final = 500

_POINTER = ctypes.c_void_p
_TEXT = ctypes.c_char_p
_INT = ctypes.c_int
DEALLOCATOR: Final = ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_size_t, _POINTER)


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", _POINTER), ("index", _INT))


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes that somebody else owns."""

    _fields_ = (("data", _POINTER), ("length", ctypes.c_size_t), ("deallocator", _POINTER))


_OUTPUTS = ctypes.POINTER(Output)
_POINTERS = ctypes.POINTER(_POINTER)
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "TF_NewBuffer": (_POINTER, ()),
    "TF_DeleteBuffer": (None, (_POINTER,)),
    "TF_NewStatus": (_POINTER, ()),
    "TF_DeleteStatus": (None, (_POINTER,)),
    "TF_GetCode": (_INT, (_POINTER,)),
    "TF_Message": (_TEXT, (_POINTER,)),
    "TF_NewGraph": (_POINTER, ()),
    "TF_DeleteGraph": (None, (_POINTER,)),
    "TF_NewImportGraphDefOptions": (_POINTER, ()),
    "TF_DeleteImportGraphDefOptions": (None, (_POINTER,)),
    "TF_GraphImportGraphDef": (None, (_POINTER, ctypes.POINTER(Buffer), _POINTER, _POINTER)),
    "TF_GraphGetTensorNumDims": (_INT, (_POINTER, Output, _POINTER)),
    "TF_GraphGetTensorShape": (None, (_POINTER, Output, ctypes.POINTER(ctypes.c_int64), _INT, _POINTER)),
    "TF_OperationOutputType": (_INT, (Output,)),
    "TF_OperationNumOutputs": (_INT, (_POINTER,)),
    "TF_GraphOperationByName": (_POINTER, (_POINTER, _TEXT)),
    "TF_NewSessionOptions": (_POINTER, ()),
    "TF_DeleteSessionOptions": (None, (_POINTER,)),
    "TF_SetConfig": (None, (_POINTER, ctypes.c_char_p, ctypes.c_size_t, _POINTER)),
    "TF_NewSession": (_POINTER, (_POINTER, _POINTER, _POINTER)),
    "TF_CloseSession": (None, (_POINTER, _POINTER)),
    "TF_DeleteSession": (None, (_POINTER, _POINTER)),
    "TF_SessionRun": (
        None,
        (_POINTER, _POINTER, _OUTPUTS, _POINTERS, _INT, _OUTPUTS, _POINTERS, _INT, _POINTER, _INT, _POINTER, _POINTER),
    ),
    "TF_NewTensor": (
        _POINTER,
        (_INT, ctypes.POINTER(ctypes.c_int64), _INT, _POINTER, ctypes.c_size_t, DEALLOCATOR, _POINTER),
    ),
    "TF_DeleteTensor": (None, (_POINTER,)),
    "TF_TensorType": (_INT, (_POINTER,)),
    "TF_NumDims": (_INT, (_POINTER,)),
    "TF_Dim": (ctypes.c_int64, (_POINTER, _INT)),
    "TF_TensorByteSize": (ctypes.c_size_t, (_POINTER,)),
    "TF_TensorData": (_POINTER, (_POINTER,)),
}


@functools.cache
def library() -> ctypes.CDLL:
    """The libraries of the installed TensorFlow, loaded once; TensorFlow's Python package is not imported.

    Where that package is imported too, both use the same library.

    Raises:
        AgentError: TensorFlow is not installed, or its wheel has no C API.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise AgentError("TensorFlow is not installed", where="model", mend="install slicebed[agent]")
    folder = Path(spec.submodule_search_locations[0])
    try:
        with without_talk():
            loaded = [ctypes.CDLL(str(folder / name)) for name in _LIBRARIES][-1]
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise AgentError(
            f"the C API of TensorFlow cannot be loaded: {error}",
            where=str(folder),
            mend="install a tensorflow wheel of 2.20 or later for Linux",
        ) from error
    settle()
    return loaded


class Status:
    """A TF_Status for the length of a with block."""

    def __enter__(self) -> Self:
        """Make it."""
        self._library = library()
        self.pointer = self._library.TF_NewStatus()
        return self

    def __exit__(self, *_: object) -> None:
        """Free it."""
        self._library.TF_DeleteStatus(self.pointer)

    def check(self, where: str) -> None:
        """Raise what the last call said went wrong, if it did.

        Raises:
            AgentError: TensorFlow's own words, in one line.
        """
        if self._library.TF_GetCode(self.pointer) != _OK:
            words = " ".join(self._library.TF_Message(self.pointer).decode(errors="replace").split())
            raise AgentError(f"TensorFlow refuses: {words[:_WORDS]}", where=where)
