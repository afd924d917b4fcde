"""How long work takes on a host with a limit of processor time: the kernel's bandwidth control, played through; pure.

In every period the group may use ``quota x period`` of processor time; when that is used up, all of it stands still
until the next period begins (Linux, Documentation/scheduler/sched-bwc.rst). So work that is short against a period's
time takes what it takes on a free host, or that and a pause, and only long work takes 1 / quota as long.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PHASES = 8
_FRAMES = 24


def limited_s(cpu_s: float, width: float, quota: float, period_s: float, interval_s: float = 0.0) -> tuple[float, ...]:
    """Seconds that frames take which come in regular intervals; several phases against the periods.

    Args:
        cpu_s: processor time of one frame, above 0.
        width: cores that it keeps busy while it runs.
        quota: processor time per second.
        period_s: over which that is counted.
        interval_s: between frames; a frame that comes while one is computed waits, which is not counted. 0: one follows
            the other at once.
    """
    if quota >= width:
        return (cpu_s / width,)
    phases = (period_s * (number + 0.5) / _PHASES for number in range(_PHASES))
    # The first frames find a full budget, which those behind them do not.
    return tuple(
        spent
        for phase in phases
        for spent in islice(_frames(cpu_s, width, quota * period_s, period_s, (phase, interval_s)), 2, _FRAMES + 2)
    )


def _frames(
    cpu_s: float, width: float, budget_s: float, period_s: float, source: tuple[float, float]
) -> Iterator[float]:
    now, interval_s = source
    comes, left, next_period = now, budget_s, period_s
    while True:
        now = max(now, comes)
        begin, needed = now, cpu_s
        while True:
            while next_period <= now:
                left, next_period = budget_s, next_period + period_s
            used = min(needed, left, (next_period - now) * width)
            now, needed, left = now + used / width, needed - used, left - used
            if needed <= cpu_s * 1e-9:
                break
            now = next_period
        yield now - begin
        comes += interval_s
