"""What a session used the testbed for beside its cells' runs and profiles, from the journal; pure.

It is what the method would have used by itself: what it shares with other methods counts for each of them in full,
once. So the answer does not depend on which of them came first, and a search that was gone on with has the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from slicebed.run.search.crew import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed.run.search.listing import Listing
    from slicebed.run.search.space import Cell, Knobs

MODEL_BROUGHT: Final = "model_brought"
CONDITIONS_SET: Final = "conditions_set"
_ENDS: Final = frozenset(kind.value for kind in Trouble)


def beside_s(events: Iterable[Mapping[str, Any]], listing: Listing, cells: Iterable[Cell], *, foretold: bool) -> float:
    """Seconds for the model, conditions, and attempts that were no result.

    Args:
        events: of the campaign's journal, in order.
        listing: of the session's problem.
        cells: finished, that it asked for.
        foretold: it had predictions: hosts were profiled under all knobs.

    Returns:
        The sum of bringing the model to the hosts, of setting and verifying every condition and setting of knobs that
        the cells need (both as long as they took the first time), and of each attempt at the cells that failed or was
        invalid, from its start until the site could go on. What the end of the control process cut short is not known.
    """
    cells = tuple(cells)
    keys = set(listing.candidates) if foretold else {cell.key for cell in cells}
    needed = {_said(listing.condition, listing.candidates[key].knobs.items()) for key in keys}
    own = {cell.id for cell in cells}
    first: dict[object, float] = {}
    begun: dict[tuple[str, str], datetime] = {}
    failed_s = 0.0
    for event in events:
        kind = event["event"]
        if kind == MODEL_BROUGHT and event["model"] == listing.model:
            first.setdefault(kind, event["testbed_s"])
        elif kind == CONDITIONS_SET and (said := _said(event["condition"], event["knobs"].items())) in needed:
            first.setdefault(said, event["testbed_s"])
        elif kind == "cell_started" and event["cell"] in own:
            begun[event["cell"], event["site"]] = _at(event)
        elif kind in _ENDS and (start := begun.pop((event["cell"], event["site"]), None)) is not None:
            failed_s += (_at(event) - start).total_seconds()
    return sum(first.values()) + failed_s


def _said(condition: str, knobs: Iterable[tuple[str, float | str]]) -> tuple[str, Knobs]:
    return condition, tuple(sorted(knobs))


def _at(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])
