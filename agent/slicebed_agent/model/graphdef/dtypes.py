"""TensorFlow's DataType numbers (types.proto) as numpy names them, with sizes."""

from __future__ import annotations

from typing import Final

# number: (name, bytes of one value); strings, resources and variants have no size of their own.
_TYPES: Final[dict[int, tuple[str, int | None]]] = {
    1: ("float32", 4),
    2: ("float64", 8),
    3: ("int32", 4),
    4: ("uint8", 1),
    5: ("int16", 2),
    6: ("int8", 1),
    7: ("object", None),
    8: ("complex64", 8),
    9: ("int64", 8),
    10: ("bool", 1),
    11: ("qint8", 1),
    12: ("quint8", 1),
    13: ("qint32", 4),
    14: ("bfloat16", 2),
    15: ("qint16", 2),
    16: ("quint16", 2),
    17: ("uint16", 2),
    18: ("complex128", 16),
    19: ("float16", 2),
    20: ("resource", None),
    21: ("variant", None),
    22: ("uint32", 4),
    23: ("uint64", 8),
    24: ("float8_e5m2", 1),
    25: ("float8_e4m3fn", 1),
}
FLOAT32: Final = 1
INT32: Final = 3
STRING: Final = 7
INT64: Final = 9
BOOL: Final = 10
_FLOATING: Final = frozenset({1, 2, 14, 19, 24, 25})
_REFERENCE: Final = 100  # TensorFlow 1 marks the dtype of a reference to a variable by adding 100


def plain(number: int) -> int:
    """The dtype without TensorFlow 1's mark of a reference."""
    return number - _REFERENCE if number > _REFERENCE else number


def name(number: int) -> str | None:
    """As numpy (or ml_dtypes) names it; None of a number that is no dtype."""
    known = _TYPES.get(plain(number))
    return known[0] if known else None


def size(number: int) -> int | None:
    """Bytes of one value; None where values have no fixed size."""
    known = _TYPES.get(plain(number))
    return known[1] if known else None


def is_floating(number: int) -> bool:
    """Whether it holds what training learns."""
    return plain(number) in _FLOATING
