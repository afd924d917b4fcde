"""Raw or lossless, by what was measured on the very boundary, and by what the link carries."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Final, TypeVar

from slicebed_agent.codec import lossless, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slicebed_agent.codec.lossless import Filter
    from slicebed_agent.pipeline.contracts import Payload, Tensors

_FIGURES: Final = 3
"""Of each filter, before they are believed: the first one pays for memory that the others find."""
_AGAIN_AFTER_S: Final = 30.0
_NOT_SOONER_S: Final = 1.0
_DRIFT: Final = 0.25
"""Change of the link's rate, or of the ratio, after which a frame is measured again."""
_MARGIN: Final = 0.03
_MARGIN_S: Final = 0.0002
"""A lossless filter must save this share of raw's time and so much more: less is within what a host's clock strays."""
_BOUNDARIES: Final = 64
"""Known at a time: a run has one for each cut, unless its shapes change from frame to frame."""
_FILTERS: Final = (lossless.BITMAP, lossless.FULL)
_UNRATED: Final = (
    "raw: the testbed gives the link no rate, and no frame of 256 KiB or more has crossed it to measure one"
)

Made = TypeVar("Made")
Shape = tuple[tuple[str, tuple[int, ...]], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """What a filter did to one frame, on this host.

    Attributes:
        raw_bytes: of the arrays.
        size_bytes: encoded.
        encode_s: to write it, as the first work after a wait.
        decode_s: to read it again, which the next host, taken to be as fast, does as the first work after a wait.
    """

    raw_bytes: int
    size_bytes: int
    encode_s: float
    decode_s: float

    @property
    def ratio(self) -> float:
        """How many times shorter it is."""
        return self.raw_bytes / max(1, self.size_bytes)

    def total_s(self, rate_bit_per_s: float) -> float:
        """From the arrays here to the arrays there, without the link's delay."""
        return self.encode_s + self.size_bytes * 8 / rate_bit_per_s + self.decode_s


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done with a boundary (None: raw), at which rate that was decided, and why."""

    picked: Filter | None
    rate_bit_per_s: int
    why: str


def choose(measured: dict[Filter, Measured], rate_bit_per_s: int) -> Choice:
    """The filter that brings a frame over soonest.

    The time of a single frame decides, encoding and decoding in full, although in a stream they overlap with the
    transfer of the frame before: so latency never gets worse, and throughput, which the slowest of the three limits,
    does not either.

    Args:
        measured: by filter, of one boundary.
        rate_bit_per_s: what the link carries; 0 where nobody knows.
    """
    if not rate_bit_per_s:
        return Choice(None, 0, _UNRATED)
    best = min(measured, key=lambda each: measured[each].total_s(rate_bit_per_s))
    found = measured[best]
    plain_s = found.raw_bytes * 8 / rate_bit_per_s
    saved_s = plain_s - found.total_s(rate_bit_per_s)
    cost = f"{found.ratio:.2f} times shorter for {(found.encode_s + found.decode_s) * 1e3:.1f} ms of work"
    told = f"of {plain_s * 1e3:.1f} ms at {rate_bit_per_s / 1e6:.4g} Mbit/s"
    if saved_s > _MARGIN * plain_s + _MARGIN_S:
        return Choice(best, rate_bit_per_s, f"{best.name}: {cost} saves {saved_s * 1e3:.1f} {told}")
    lost = f"would cost {-saved_s * 1e3:.1f} ms on top" if saved_s < 0 else f"would save {saved_s * 1e3:.1f} ms only"
    return Choice(None, rate_bit_per_s, f"raw: {best.name}, {cost}, {lost} {told}")


class Auto:
    """Writes boundaries as RAW or LOSSLESS; one thread at a time."""

    def __init__(
        self,
        rate: Callable[[], int],
        note: Callable[[dict[str, object]], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet.

        Args:
            rate: what the link is known to carry, in bit/s; 0 while nobody knows.
            note: takes a line of the samples whenever another filter is picked.
            now_s: a clock.
        """
        self._rate, self._note, self._now_s = rate, note, now_s
        self._boundaries: dict[tuple[int, Shape], _Boundary] = {}
        self._known: tuple[float, int] | None = None

    def __call__(self, arrays: Tensors, version: int = 0) -> Payload:
        """Write a boundary.

        Args:
            arrays: what crosses.
            version: of the cut: after a change the same shapes are another boundary.

        Raises:
            PayloadError: of a dtype that is not sent, or longer than the limit.
        """
        shape = tuple((array.dtype.name, array.shape) for array in arrays)
        boundary = self._boundaries.get((version, shape))
        if boundary is None:
            if len(self._boundaries) >= _BOUNDARIES:
                self._boundaries.clear()
            boundary = self._boundaries.setdefault((version, shape), _Boundary())
        now_s = self._now_s()
        rate = self._rate_at(now_s)
        if not boundary.is_due(now_s, rate):
            return boundary.encode(arrays)
        measured, payload = boundary.measure(arrays, now_s)
        if boundary.decide(rate):
            self._note(boundary.line(shape, version))
        return payload if measured == boundary.picked else boundary.encode(arrays)

    def _rate_at(self, now_s: float) -> int:
        """Asked for once a second, by which choices change: asking takes as long as encoding a short frame."""
        if self._known is None or not 0 <= now_s - self._known[0] < _NOT_SOONER_S:
            self._known = now_s, self._rate()
        return self._known[1]


class _Boundary:
    """What is known of the frames of one shape."""

    def __init__(self) -> None:
        self._figures: dict[Filter, list[Measured]] = {each: [] for each in _FILTERS}
        self._turns = itertools.cycle(_FILTERS)
        self._left = _FIGURES * len(_FILTERS)
        self._choice: Choice | None = None
        self._told: Choice | None = None
        self._measured_s = 0.0
        self._drifted = False

    @property
    def picked(self) -> Filter | None:
        return None if self._choice is None else self._choice.picked

    def is_due(self, now_s: float, rate: int) -> bool:
        """Whether the next frame is to be measured: each filter in its turn."""
        if not self._left and self._is_old(now_s, rate):
            self._left = len(_FILTERS)
            if self._drifted:
                # Other pictures, say.
                self._left *= _FIGURES
                for figures in self._figures.values():
                    figures.clear()
            self._drifted = False
        return self._left > 0

    def _is_old(self, now_s: float, rate: int) -> bool:
        age_s = now_s - self._measured_s
        known = self._choice.rate_bit_per_s if self._choice is not None else 0
        moved = abs(rate - known) > _DRIFT * known
        return age_s > _AGAIN_AFTER_S or ((moved or self._drifted) and age_s > _NOT_SOONER_S)

    def encode(self, arrays: Tensors) -> Payload:
        if self.picked is None:
            return raw.encode(arrays)
        payload = lossless.encode(arrays, self.picked)
        expected = self._median(self.picked).size_bytes
        self._drifted = abs(payload.size_bytes - expected) > _DRIFT * expected
        return payload

    def measure(self, arrays: Tensors, now_s: float) -> tuple[Filter, Payload]:
        """Try the filter whose turn it is; which one that was, and what it made.

        The first work after a wait takes several times as long as the same again, on both hosts: caches are cold and
        the processor slept. How many times is found here, and the next host's decoding is taken to be slowed alike.
        """
        each = next(self._turns)
        payload, first_s = _timed(lambda: lossless.encode(arrays, each))
        _, warm_s = _timed(lambda: lossless.encode(arrays, each))
        _, decode_s = _timed(lambda: lossless.decode(payload))
        raw_bytes = sum(array.nbytes for array in arrays)
        slowed = max(1.0, first_s / max(warm_s, 1e-9))
        self._figures[each].append(Measured(raw_bytes, payload.size_bytes, first_s, slowed * decode_s))
        del self._figures[each][:-_FIGURES]
        self._left -= 1
        self._measured_s = now_s
        return each, payload

    def decide(self, rate: int) -> bool:
        """Choose anew; whether that is worth a line: the first choice from enough frames, and every other one.

        Raw for want of a rate is another choice than raw by figures.
        """
        if not all(self._figures.values()):
            self._choice = None
            return False
        self._choice = choose({each: self._median(each) for each in _FILTERS}, rate)
        if self._left:
            return False
        former, self._told = self._told, self._choice
        if former is None:
            return True
        known, was_known = (bool(each.rate_bit_per_s) for each in (self._choice, former))
        return former.picked != self._choice.picked or known != was_known

    def line(self, shape: Shape, version: int) -> dict[str, object]:
        """For the samples."""
        assert self._choice is not None  # noqa: S101 - after `decide`
        candidates = [_row(each, self._median(each)) for each in _FILTERS]
        return {
            "kind": "codec",
            "at_ns": time.monotonic_ns(),
            "boundary": version,
            "tensors": [f"{dtype} {sizes}" for dtype, sizes in shape],
            "picked": "raw" if self.picked is None else self.picked.name,
            "why": self._choice.why,
            "rate_bit_per_s": self._choice.rate_bit_per_s,
            "candidates": candidates,
        }

    def _median(self, which: Filter) -> Measured:
        return _median(self._figures[which])


def _median(figures: Sequence[Measured]) -> Measured:
    """Of each figure: one that a busy host drew out changes nothing."""
    sizes = [(each.raw_bytes, each.size_bytes) for each in figures]
    raw_bytes, size_bytes = (round(statistics.median(column)) for column in zip(*sizes, strict=True))
    encode_s = statistics.median(each.encode_s for each in figures)
    return Measured(raw_bytes, size_bytes, encode_s, statistics.median(each.decode_s for each in figures))


def _timed(work: Callable[[], Made]) -> tuple[Made, float]:
    begin = time.perf_counter()
    made = work()
    return made, time.perf_counter() - begin


def _row(which: Filter, found: Measured) -> dict[str, object]:
    speeds = {"encode_mb_s": found.encode_s, "decode_mb_s": found.decode_s}
    row: dict[str, object] = {"filter": which.name, "ratio": round(found.ratio, 3)}
    return row | {name: round(found.raw_bytes / 1e6 / max(took_s, 1e-9), 1) for name, took_s in speeds.items()}
