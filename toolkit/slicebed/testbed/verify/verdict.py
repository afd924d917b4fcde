"""One thing asked of a testbed, held against what was measured: the stable JSON of ``slicebed verify --json``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed.testbed.verify.statistics import Estimate


class Quantity(Enum):
    """What a verdict is about; the unit is part of the name, shares (0 to 1) have none."""

    RTT = "rtt_ms"
    JITTER = "jitter_ms"
    ONE_WAY_JITTER = "one_way_jitter_ms"
    LOSS = "loss"
    REORDER = "reorder"
    DUPLICATE = "duplicate"
    GOODPUT = "goodput_mbit_per_s"
    FREQUENCY = "frequency_mhz"
    CPU_QUOTA = "cpu_quota"
    MEMORY = "memory_bytes"
    CORES = "cores"


@dataclass(frozen=True)
class Verdict:
    """Asked against measured.

    Attributes:
        link: ``a -> b``; of a host's own conditions its name. Round trip and jitter stand at the link as declared.
        quantity: what it is about.
        asked: what the testbed file asks for; for goodput the rate.
        expected: what the measurement should show when the condition is exactly as asked.
        measured: what it showed.
        low: lower bound of the 95 % interval of `measured`.
        high: its upper bound.
        tolerance: how far `measured` may be from `expected`, in the same unit.
        samples: independent values that `measured` rests on.
        wire: what delays the packets: ``netem`` or ``tap``; of a host's own conditions ``host``.
        base_ms: round trip before shaping, where it was measured.
        passed: the verdict.
        detail: what a reader should know beyond the numbers.
    """

    link: str
    quantity: Quantity
    asked: float
    expected: float
    measured: float
    low: float
    high: float
    tolerance: float
    samples: int
    wire: str
    base_ms: float | None
    passed: bool
    detail: str = ""

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "quantity": self.quantity.value}


def link_verdict(  # noqa: PLR0913 - the fields of a verdict
    link: LinkAsk,
    name: str,
    quantity: Quantity,
    estimate: Estimate,
    *,
    asked: float,
    expected: float,
    tolerance: float,
    passed: bool,
    detail: str,
    base_us: float | None = None,
) -> Verdict:
    """Give the verdict on a link, or with `name` on one of its directions, from an estimate in the quantity's unit."""
    return Verdict(
        link=name,
        quantity=quantity,
        asked=asked,
        expected=expected,
        measured=estimate.value,
        low=estimate.low,
        high=estimate.high,
        tolerance=tolerance,
        samples=estimate.samples,
        wire=link.wire,
        base_ms=None if base_us is None else base_us / 1000,
        passed=passed,
        detail=detail,
    )


_TYPES: dict[str, tuple[type, ...]] = {
    "link": (str,),
    "samples": (int,),
    "wire": (str,),
    "base_ms": (int, float, type(None)),
    "passed": (bool,),
    "detail": (str,),
}


def parse_verdict(plain: object) -> Verdict:
    """Read a verdict from JSON; raises SpecError for a field that is missing, unknown or of another type."""
    names = [field.name for field in fields(Verdict)]
    if not isinstance(plain, dict) or sorted(plain) != sorted(names):
        raise SpecError(f"this is no verdict, whose fields are {', '.join(names)}", mend="run slicebed verify")
    for name in names:
        value = plain[name]
        allowed = (str,) if name == "quantity" else _TYPES.get(name, (int, float))
        if not isinstance(value, allowed) or (isinstance(value, bool) and name != "passed"):
            raise SpecError(f"{str(value)[:40]} is not allowed", where=f"verdict.{name}", mend="run slicebed verify")
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"{value} is not a finite number", where=f"verdict.{name}", mend="run slicebed verify")
    try:
        quantity = Quantity(plain["quantity"])
    except ValueError as error:
        raise SpecError(str(error), where="verdict.quantity", mend="run slicebed verify") from error
    return Verdict(**{**plain, "quantity": quantity})
