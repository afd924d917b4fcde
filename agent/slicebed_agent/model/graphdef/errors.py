"""What is wrong with a model's file, and what Slicebed does not slice."""

from __future__ import annotations

from slicebed_agent.errors import AgentConfigError


class ModelFileError(AgentConfigError):
    """The file is truncated, foreign or too large: it is no frozen GraphDef."""


class UnsupportedModelError(AgentConfigError):
    """The file is a GraphDef, and holds what cannot be sliced: control flow, functions, sizes that depend on data."""


class WireError(Exception):
    """Malformed protobuf, at `position` in the buffer being read; callers add the file."""

    def __init__(self, what: str, position: int) -> None:
        """Keep the position apart: only the caller knows where its buffer lies in the file."""
        super().__init__(what)
        self.what = what
        self.position = position


class ShapeError(Exception):
    """An operator's inputs and attributes contradict each other; callers add the operator."""
