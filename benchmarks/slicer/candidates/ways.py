"""The candidates by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.slicer.candidates.interface import Opener

FED: Final = "C API, fed"
_WAYS: Final = {
    FED: "fed_weights:FedWeights",
    "C API, constants": "constants:Constants",
    "session": "python_session:PythonSession",
    "pruned, captured": "pruned:Pruned",
    "Keras": "keras_models:KerasModels",
    "segments": "segments:Segments",
}
NAMES: Final = tuple(_WAYS)


def opener(name: str) -> Opener:
    """A candidate's class; its module is imported alone, for what it imports is part of what it costs.

    Raises:
        KeyError: there is none of this name.
    """
    module, _, kind = _WAYS[name].partition(":")
    found: Opener = getattr(importlib.import_module(f"benchmarks.slicer.candidates.{module}"), kind)
    return found
