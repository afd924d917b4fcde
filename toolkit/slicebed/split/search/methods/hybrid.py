"""comm-slim, then early-stop on what it left (Couper, section 5.4, figure 8d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.split.search.contracts import Choice
from slicebed.split.search.methods.comm_slim import slim
from slicebed.split.search.methods.early_stop import until_edge_is_slower
from slicebed.split.search.objective import best_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from slicebed.split.search.contracts import Ask, Measure, Problem


def hybrid(problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
    """Of the cuts that are cheap to transfer, those that early-stop tries (`early_stop.until_edge_is_slower`).

    Options: see `comm_slim.slim`.
    """
    kept, why = slim(problem)
    measures = yield from until_edge_is_slower(kept)
    return Choice(
        best_of(measures, problem.objective).key,
        f"the best of {len(measures)} measured until a host computed longer than the last; {why}",
    )
