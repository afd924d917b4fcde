"""Leaves out the cuts whose tensors take too long on the network (Couper, section 5.4, figure 8b)."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.spec.units import SIZE, shown_us
from slicebed.split.search.contracts import Ask, Choice
from slicebed.split.search.objective import best_of
from slicebed.split.search.options import Kind, read
from slicebed.split.search.walk import transfer_s

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Candidate, Measure, Problem


def comm_slim(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """Those whose transfer is fast enough, all at once; which ones these are takes no run.

    Options: see `slim`.
    """
    kept, why = slim(problem)
    measures = yield Ask(tuple(candidate.key for candidate in kept))
    return Choice(best_of(measures, problem.objective).key, f"the best of {len(measures)} measured; {why}")


def slim(problem: Problem) -> tuple[list[Candidate], str]:
    """The candidates that are cheap enough to transfer, and in words which these are.

    Transfers are told by the links as asked and by what the codec sends where that is known without a run: of
    ``lossless`` and ``auto`` the raw bytes, which are the most that they send.

    Options: ``latency``, the longest that a frame may be under way on the links; ``bytes``, the most that it may bring
    onto one of them. Without either, Couper's paper giving no threshold: the median of all candidates' transfers.

    Raises:
        SpecError: an option cannot be read; none is cheap enough.
    """
    options = read(problem, {"latency": Kind.SECONDS, "bytes": Kind.BYTES})
    candidates = problem.candidates
    times = {candidate.key: transfer_s(candidate) for candidate in candidates}
    if not options:
        longest = statistics.median(times.values())
        said = f"transfers of up to the median, {_shown_s(longest)}"
    else:
        longest = options.get("latency", float("inf"))
        shown = {"latency": _shown_s, "bytes": _shown_bytes}
        said = " and ".join(f"{name} of up to {shown[name](amount)}" for name, amount in options.items())
    most = options.get("bytes", float("inf"))
    kept = [
        candidate
        for candidate in candidates
        if times[candidate.key] <= longest and max((b.sent_bytes for b in candidate.boundaries), default=0) <= most
    ]
    if not kept:
        fastest = min(times.values())
        raise SpecError(f"no candidate has {said}: the fastest transfer takes {_shown_s(fastest)}", mend="allow more")
    return kept, f"{len(kept)} of {len(candidates)} have {said}"


def _shown_s(seconds: float) -> str:
    return shown_us(float(f"{seconds * 1e6:.6g}"))


def _shown_bytes(size: float) -> str:
    """In the largest unit of 1,000 that leaves no leading zero."""
    for unit in ("GB", "MB", "kB"):
        if size >= SIZE.units[unit]:
            return f"{size / SIZE.units[unit]:.9g} {unit}"
    return f"{size:.9g} B"
