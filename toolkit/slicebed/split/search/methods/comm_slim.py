"""Leaves out the cuts whose tensors take too long on the network (Couper, section 5.4, figure 8b)."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
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
        said = f"transfers of up to the median, {longest * 1e3:.4g} ms"
    else:
        longest = options.get("latency", float("inf"))
        said = " and ".join(f"{name} of up to {problem.options[name]}" for name in options)
    most = options.get("bytes", float("inf"))
    kept = [
        candidate
        for candidate in candidates
        if times[candidate.key] <= longest and max((b.bytes_per_frame for b in candidate.boundaries), default=0) <= most
    ]
    if not kept:
        fastest = min(times.values())
        raise SpecError(
            f"no candidate has {said}: the fastest transfer takes {fastest * 1e3:.4g} ms", mend="allow more"
        )
    return kept, f"{len(kept)} of {len(candidates)} have {said}"
