"""Quantities with units, read strictly: a bare number or an unknown unit is an error that names what is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUANTITY = re.compile(r"(?P<number>[+-]?[0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?P<unit>[A-Za-z/]+|%)", re.ASCII)


class UnitError(SpecError, ValueError):
    """A quantity that cannot be read: no unit, another unit, or finer than the base unit."""


@dataclass(frozen=True)
class Dimension:
    """One kind of quantity.

    Attributes:
        name: as it stands in messages, for example ``duration``.
        example: a well-formed value, for messages.
        units: how many base units each unit holds; the first is the base unit, which messages name.
        whole: whether the value must be a whole number of base units.
    """

    name: str
    example: str
    units: Mapping[str, int]
    whole: bool = True

    @property
    def base_unit(self) -> str:
        """The unit that parsed values are counted in."""
        return next(iter(self.units))

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        return f'a number and one of {", ".join(self.units)}, such as "{self.example}"'

    def parse(self, text: object) -> Fraction:
        """Read ``text`` as a number of base units.

        Args:
            text: what stands in the file; anything but a string is refused.

        Raises:
            UnitError: no number, no unit, a unit of another dimension, or a fraction of a base unit.
        """
        mend = f"allowed: {self.allowed}"
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            raise UnitError(f"{self.name} {text} has no unit", mend=mend)
        if not isinstance(text, str):
            raise UnitError(f"{_shown(text)} is not a {self.name}", mend=mend)
        match = _QUANTITY.fullmatch(text.strip())
        if match is None:
            raise UnitError(f"{_shown(text)} is not a {self.name}", mend=mend)
        unit = match["unit"]
        if unit not in self.units:
            raise UnitError(f'unit "{unit}" is not a unit of {self.name}', mend=mend)
        value = Fraction(match["number"]) * self.units[unit]
        if self.whole and value.denominator != 1:
            raise UnitError(f'"{text}" is finer than 1 {self.base_unit}', mend=mend)
        return value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else repr(value)
    return f'"{text[:40]}..."' if len(text) > 43 else f'"{text}"'


DURATION = Dimension("duration", "2.5 ms", MappingProxyType({"us": 1, "ms": 1_000, "s": 1_000_000}))
RATE = Dimension(
    "rate",
    "100 Mbit/s",
    MappingProxyType({"bit/s": 1, "kbit/s": 1_000, "Mbit/s": 1_000_000, "Gbit/s": 1_000_000_000}),
)
SIZE = Dimension(
    "size",
    "500000 B",
    MappingProxyType(
        {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    ),
)
FREQUENCY = Dimension("frequency", "2.4 GHz", MappingProxyType({"kHz": 1, "MHz": 1_000, "GHz": 1_000_000}))
FRAME_RATE = Dimension("frame rate", "10 frame/s", MappingProxyType({"frame/s": 1}), whole=False)
SHARE = Dimension("share", "0.1 %", MappingProxyType({"%": 1}), whole=False)
ENERGY = Dimension("energy", "1.5 J", MappingProxyType({"uJ": 1, "mJ": 1_000, "J": 1_000_000}))
PACKETS = Dimension("number of packets", "1000 packets", MappingProxyType({"packets": 1, "packet": 1}))

# With each how much one base unit is of the unit that `parse_amount` counts in.
_AMOUNTS = (
    (DURATION, Fraction(1, 1_000_000)),
    (RATE, Fraction(1)),
    (SIZE, Fraction(1)),
    (FREQUENCY, Fraction(1_000)),
    (FRAME_RATE, Fraction(1)),
    (SHARE, Fraction(1, 100)),
    (ENERGY, Fraction(1, 1_000_000)),
)


def parse_duration_us(text: object) -> int:
    """Microseconds of ``"2.5 ms"``, ``"1 s"``, ``"21 us"``; raises UnitError."""
    return int(DURATION.parse(text))


def parse_rate_bit_per_s(text: object) -> int:
    """Bits per second of ``"100 Mbit/s"`` or ``"1 Gbit/s"``; raises UnitError."""
    return int(RATE.parse(text))


def parse_size_bytes(text: object) -> int:
    """Bytes of ``"500000 B"``, ``"50 kB"`` (1,000 bytes each) or ``"2 GiB"`` (2^30 each); raises UnitError."""
    return int(SIZE.parse(text))


def parse_frequency_khz(text: object) -> int:
    """Kilohertz of ``"2.4 GHz"``; raises UnitError."""
    return int(FREQUENCY.parse(text))


def parse_frame_rate_per_s(text: object) -> float:
    """Frames per second of ``"10 frame/s"``; raises UnitError."""
    return float(FRAME_RATE.parse(text))


def parse_share(text: object) -> float:
    """A share from 0 to 1 of ``"0.1 %"``, which is 0.001; raises UnitError."""
    return float(SHARE.parse(text) / 100)


def parse_packets(text: object) -> int:
    """Packets of ``"1000 packets"``; raises UnitError."""
    return int(PACKETS.parse(text))


def parse_amount(text: str) -> float:
    """A quantity of the kind that its unit says: in s, bit/s, B, Hz, frame/s, J, or a share of 1; raises UnitError."""
    match = _QUANTITY.fullmatch(text.strip())
    for dimension, per_unit in _AMOUNTS:
        if match is not None and match["unit"] in dimension.units:
            return float(dimension.parse(text) * per_unit)
    known = ", ".join(unit for dimension, _ in _AMOUNTS for unit in dimension.units)
    raise UnitError(f"{_shown(text)} is not a quantity", mend=f"allowed: a number and one of {known}")


def shown_us(duration_us: float) -> str:
    """A duration in the largest unit that leaves no leading zero, as it could be written in a file."""
    for unit in ("s", "ms"):
        if duration_us >= DURATION.units[unit]:
            return f"{duration_us / DURATION.units[unit]:.9g} {unit}"
    return f"{duration_us:g} us"
