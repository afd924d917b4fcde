"""A cut, as the command line names it."""

from __future__ import annotations

import difflib
from itertools import pairwise
from typing import TYPE_CHECKING

from slicebed_agent.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import SplitPoint


def find(points: Sequence[SplitPoint], name: str) -> SplitPoint:
    """The split point of this name.

    Raises:
        AgentConfigError: there is none; with the three nearest names.
    """
    # Several tensors cross whatever order they are named in.
    asked = sorted(name.split("+"))
    for point in points:
        if sorted(point.name.split("+")) == asked:
            return point
    near = difflib.get_close_matches(name, [point.name for point in points], n=3, cutoff=0.0)
    raise AgentConfigError(
        f"no split point is named {name!r}",
        where="cut",
        mend=f"the nearest are {', '.join(near)}" if near else "this model has no split point",
    )


def choose(points: Sequence[SplitPoint], names: Sequence[str]) -> tuple[SplitPoint, ...]:
    """A cut: one split point per boundary, each behind the one before.

    Raises:
        AgentConfigError: see `find`; or the order goes backwards, or a point is named twice.
    """
    cut = tuple(find(points, name) for name in names)
    for earlier, later in pairwise(cut):
        if later.position <= earlier.position:
            raise AgentConfigError(
                f"{later.name} lies before {earlier.name}" if later != earlier else f"{later.name} is named twice",
                where="cut",
                mend="name the split points in the model's order: "
                + ",".join(each.name for each in sorted(dict.fromkeys(cut), key=lambda each: each.position)),
            )
    return cut
