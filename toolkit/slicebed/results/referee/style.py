"""How the referee's plots look: colours that stay apart for every eye, one sign per method, names as they are."""

from __future__ import annotations

from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.results.placements import (
    CAMERA_QUEUE,
    CLASSIFIER,
    EXIT,
    OTHER_QUEUES,
    OVERHEAD,
    REST,
    TRANSFORMER,
    is_slice,
    is_transfer,
)
from slicebed.results.plots import STYLE as _STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

# Names come from users' files: a dollar sign in one is no formula.
STYLE: dict[Any, Any] = _STYLE | {"text.parse_math": False}
DROP_COLOUR = "#d55e00"
GREY = "#666666"
PALE = "#e6e6e6"
BLUE = "#0072b2"
# Slices dark to pale green, links dark to pale blue: apart in lightness, too, for eyes that see no red or green.
_GREENS = ("#00513b", "#0b9a72", "#7fcfb3", "#c8eadf")
_BLUES = ("#12406f", "#4a8ac4", "#a5c9ea", "#d6e6f5")
_OTHERS = MappingProxyType(
    {
        CAMERA_QUEUE: "#8c8c8c",
        OTHER_QUEUES: "#bdbdbd",
        TRANSFORMER: "#e3bd52",
        CLASSIFIER: "#8b6bb0",
        EXIT: "#c27ba0",
        OVERHEAD: "#f2e4b3",
        REST: "#ebebeb",
    }
)
# The signs of Couper's Figures 10-12 for its methods; others take the rest, in the order in which they come.
_SIGNS = MappingProxyType({"strongman": "o", "hybrid": "D", "comm-slim": "s", "early-stop": "^", "predict": "*"})
_MORE_SIGNS = ("P", "v", "X", "p", "<", ">", "h", "d")
# M. Okabe and K. Ito, Color Universal Design, 2008; without the colour of the drop rates.
_METHOD_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#000000", "#999999")
# Couper's Figures 10-12: red marks the best for latency, yellow that for drop rate.
_OBJECTIVE_COLOURS = MappingProxyType({"latency": "#c1272d", "drop_rate": "#f2c200"})
_OTHER_OBJECTIVES = ("#56b4e9", "#009e73", "#cc79a7", "#0072b2")


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only plotting should cost

    return Figure(figsize=(width, height), layout="constrained")


def part_colours(parts: Sequence[str]) -> dict[str, str]:
    """A colour for every part of the latency."""
    greens, blues = cycle(_GREENS), cycle(_BLUES)
    return {
        part: next(greens) if is_slice(part) else next(blues) if is_transfer(part) else _OTHERS[part] for part in parts
    }


def method_signs(methods: Iterable[str]) -> dict[str, str]:
    """A marker for every method."""
    rest = cycle(_MORE_SIGNS)
    return {method: _SIGNS.get(method) or next(rest) for method in dict.fromkeys(methods)}


def method_colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for every method."""
    return dict(zip(dict.fromkeys(methods), cycle(_METHOD_COLOURS), strict=False))


def objective_colours(objectives: Iterable[str]) -> dict[str, str]:
    """A colour for every objective."""
    rest = cycle(_OTHER_OBJECTIVES)
    return {each: _OBJECTIVE_COLOURS.get(each) or next(rest) for each in dict.fromkeys(objectives)}


def legend(figure: Figure, handles: Mapping[str, Any], context: str) -> None:
    """Below everything: what the plot is of, and what its signs are."""
    # Inches that the longest entry takes at this size of letters.
    entry = 0.6 + 0.07 * max(map(len, handles), default=0)
    columns = max(1, min(6, int(figure.get_figwidth() / entry)))
    below = figure.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=columns, fontsize=8,
                          title=context, title_fontsize=8, alignment="left")  # fmt: skip
    below.get_title().set_color(GREY)
