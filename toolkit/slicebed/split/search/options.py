"""What an experiment's file may set of a method: counts, and quantities with their units."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.spec import units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.split.search.contracts import Problem


class Kind(Enum):
    """What an option is; a number without a unit is read in the unit named here."""

    COUNT = "a whole number from 1"
    SECONDS = units.DURATION.allowed
    SHARE = units.SHARE.allowed
    BYTES = units.SIZE.allowed


def read(problem: Problem, kinds: Mapping[str, Kind]) -> dict[str, float]:
    """The options that were given, in seconds, shares, bytes.

    Args:
        problem: whose options they are.
        kinds: of all options that the method has, by name.

    Raises:
        SpecError: the method has no such option, or its value cannot be read.
    """
    found = {}
    for name, given in problem.options.items():
        if name not in kinds:
            raise SpecError(f"there is no option {name}", mend=f"allowed: {', '.join(sorted(kinds)) or 'none'}")
        try:
            found[name] = _number(given, kinds[name])
        except ValueError as error:
            raise SpecError(f"option {name}: {given} is refused", mend=f"allowed: {kinds[name].value}") from error
    return found


def count(options: Mapping[str, float], name: str, default: int) -> int:
    """An option that counts something."""
    return int(options.get(name, default))


def _number(given: float | str, kind: Kind) -> float:
    if kind is Kind.COUNT:
        number = float(given)
        if number < 1 or not number.is_integer():
            raise ValueError(given)
    elif isinstance(given, str):
        number = {
            Kind.SECONDS: lambda text: units.parse_duration_us(text) / 1e6,
            Kind.SHARE: units.parse_share,
            Kind.BYTES: units.parse_size_bytes,
        }[kind](given)
    else:
        number = float(given)
    if not 0 <= number < float("inf"):
        raise ValueError(given)
    return number
