"""Speak with a running wirefilter over its management socket; it has no structured output, so its table is parsed."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from slicebed.errors import ProvisionError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = b"VDEwf$ "
SUCCESS = "1000 Success"
TIMEOUT_S = 5.0
# How long a full buffer takes to drain at the wire's rate: what a small router's queue holds.
QUEUE_US = 50_000
MTU_BYTES = 1514
Value = tuple[float, float, str]
_NUMBER = r"(-?[\d.]+(?:e[+-]\d+)?)"
_VALUE = re.compile(rf"{_NUMBER}\+{_NUMBER}([UN])")
_ROW = re.compile(r"^(\S+)\s+L->R (\S+)\s+R->L (\S+)\s*$")


@dataclass(frozen=True)
class WireSetting:
    """What one direction of a wire does to its packets.

    Attributes:
        delay_us: one-way delay.
        jitter_us: the delay varies uniformly by up to this, as netem's does without a distribution table.
        rate_bit_per_s: the rate of delivery; None when it is not limited.
    """

    delay_us: int = 0
    jitter_us: int = 0
    rate_bit_per_s: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no wire can do."""
        if self.delay_us < 0 or self.jitter_us < 0:
            raise SpecError(f"negative delay or jitter: {self.delay_us} us, {self.jitter_us} us", mend="use 0 or more")
        if self.rate_bit_per_s is not None and self.rate_bit_per_s < 8:
            raise SpecError(f"rate {self.rate_bit_per_s} bit/s is below one byte a second", mend="leave the rate out")

    @property
    def buffer_bytes(self) -> int:
        """What the wire holds at most, in flight and queued; 0 (no limit) when it has no rate."""
        if self.rate_bit_per_s is None:
            return 0
        held_us = self.delay_us + 4 * self.jitter_us + QUEUE_US
        return max(self.rate_bit_per_s * held_us // 8_000_000, 4 * MTU_BYTES)

    def values(self) -> dict[str, tuple[float, float]]:
        """What wirefilter's own commands take: a value and its variation, in ms, bytes/s and bytes.

        Rounded to the six digits that wirefilter prints, so that what is set can be compared with what is read.
        """
        rate = 0.0 if self.rate_bit_per_s is None else self.rate_bit_per_s / 8
        values = {
            "delay": (self.delay_us / 1000, self.jitter_us / 1000),
            "bandwidth": (rate, 0.0),
            "chanbufsize": (float(self.buffer_bytes), 0.0),
        }
        return {name: (float(f"{value:g}"), float(f"{by:g}")) for name, (value, by) in values.items()}


@dataclass(frozen=True)
class WireReading:
    """What is set on a wire now: ``forward`` is from its first host to its second."""

    forward: WireSetting
    backward: WireSetting
    raw: tuple[tuple[str, Value, Value], ...]

    def matches(self, wanted: WireSetting) -> bool:
        """Whether both directions are exactly as wanted, the buffer included."""
        values = wanted.values()
        return all((*values[name], "U") == left == right for name, left, right in self.raw)


def parse_showinfo(text: str) -> WireReading:
    """Read wirefilter's ``showinfo`` table.

    Raises:
        ProvisionError: a row that is needed is missing, or says something unknown.
    """
    rows = {match[1]: (match[2], match[3]) for line in text.splitlines() if (match := _ROW.match(line))}
    try:
        delay, rate, buffer = ((_value(rows[name][0]), _value(rows[name][1])) for name in ("Delay", "Bandw", "Cap."))
        forward, backward = (_setting(delay[side], rate[side]) for side in (0, 1))
    except (KeyError, ValueError) as error:
        raise ProvisionError(f"wirefilter's showinfo is not understood: {error}", mend="is this vde2 2.3.2?") from error
    return WireReading(forward, backward, (("delay", *delay), ("bandwidth", *rate), ("chanbufsize", *buffer)))


class Wirefilter:
    """One management session; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        """Connect and wait for the first prompt; raises ProvisionError when nobody answers."""
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(str(self._path))
            self._receive()
        except OSError as error:
            self._socket.close()
            raise ProvisionError(
                f"wirefilter does not answer: {error.strerror or error}",
                where=str(self._path),
                mend="run slicebed lab down, then slicebed lab up",
            ) from error
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session; the wire runs on."""
        self._socket.close()

    def read(self) -> WireReading:
        """What is set now."""
        return parse_showinfo(self._command("showinfo"))

    def set(self, wanted: WireSetting) -> None:
        """Set both directions; packets already on the wire keep their delay."""
        for name, (value, by) in wanted.values().items():
            # Plain digits: wirefilter takes the sign of an exponent for the one before the variation.
            self._command(f"{name} {Decimal(str(value)):f}+{Decimal(str(by)):f}U")

    def _command(self, line: str) -> str:
        try:
            self._socket.sendall(f"{line}\n".encode())
            answer = self._receive()
        except OSError as error:
            raise ProvisionError(f'wirefilter did not answer "{line}": {error}', where=str(self._path)) from error
        if SUCCESS not in answer.splitlines():
            raise ProvisionError(f'wirefilter refused "{line}": {answer.split(chr(10))[0]}', where=str(self._path))
        return answer

    def _receive(self) -> str:
        data = b""
        while not data.endswith(PROMPT):
            piece = self._socket.recv(4096)
            if not piece:
                raise ProvisionError("wirefilter closed its management session", where=str(self._path))
            data += piece
        return data.decode(errors="replace")


def _value(text: str) -> Value:
    if (match := _VALUE.fullmatch(text)) is None:
        raise ValueError(f'"{text}" is no value')
    return float(match[1]), float(match[2]), match[3]


def _setting(delay: Value, rate: Value) -> WireSetting:
    return WireSetting(
        delay_us=round(delay[0] * 1000),
        jitter_us=round(delay[1] * 1000),
        rate_bit_per_s=round(rate[0] * 8) if rate[0] else None,
    )
