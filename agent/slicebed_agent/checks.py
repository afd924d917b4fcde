"""What the fields of a configuration may hold; every refusal is one line that names the field."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_TENSORS: Final = 256


def wrong(field: str, value: object, allowed: str) -> AgentConfigError:
    """The error of a field: what it holds, and what it may hold."""
    return AgentConfigError(f"{value} is not allowed", where=field, mend=f"allowed: {allowed}")


def within(field: str, value: int, low: int, high: int) -> int:
    """A whole number of a range.

    Raises:
        AgentConfigError: it is outside.
    """
    if not low <= value <= high:
        raise wrong(field, value, f"{low}..{high}")
    return value


def number(field: str, value: float, low: float, high: float = math.inf) -> float:
    """A number of a range.

    Raises:
        AgentConfigError: it is outside, or none.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise wrong(field, value, f"{low:g} or more" if math.isinf(high) else f"{low:g}..{high:g}")
    return value


def sha256(field: str, value: str) -> str:
    """A file's hash.

    Raises:
        AgentConfigError: it is none.
    """
    if not _SHA256.fullmatch(value):
        raise wrong(field, repr(value[:80]), "the SHA-256 of a file, 64 hexadecimal digits in lower case")
    return value


def tensors(field: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names of a boundary's tensors.

    Raises:
        AgentConfigError: none, or too many.
    """
    found = tuple(names)
    if not 1 <= len(found) <= _MAX_TENSORS:
        raise wrong(field, f"{len(found)} tensors", f"1..{_MAX_TENSORS}")
    return found
