"""What the DNN-slicing experiment measured, by pair of split points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.results.reproduce.intervals import UNKNOWN, Estimate, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAPER = "DNN slicing"
CONFIGURATIONS = ("1", "2", "3")
# Drop rates that differ by less are read as not much different: what one run of 50 frames leaves open.
SAME_RATE = 0.15
MISSING = "the cuts that the statement compares were not all run"


@dataclass(frozen=True)
class SplitRun:
    """A pair of split points under a configuration, all its runs together.

    Attributes:
        configuration: its name, "1" to "3" as the paper's types.
        cut: such as ``1-8``.
        captured: frames.
        dropped: of them.
        dropped_inbound: of those, in the queue where messages come in.
        total_time_s: from the first picture to the last answer, mean of the runs.
        latency_ms: median of the completed frames.
        parts: messages that a frame is divided into on the first link, mean.
        first_bytes: of a frame over the first link, mean.
        published_drop_rate: of the paper's table.
        published_time_s: of the paper's table.
    """

    configuration: str
    cut: str
    captured: int
    dropped: int
    dropped_inbound: int = 0
    total_time_s: float = math.nan
    latency_ms: Estimate = UNKNOWN
    parts: float = math.nan
    first_bytes: float = math.nan
    published_drop_rate: float = math.nan
    published_time_s: float = math.nan

    @property
    def front(self) -> str:
        """Layer after which the device hands over."""
        return self.cut.split("-")[0]

    @property
    def back(self) -> str:
        """Layer after which the edge hands over."""
        return self.cut.split("-")[-1]

    @property
    def drop_rate(self) -> Estimate:
        """Dropped over captured."""
        return share(self.dropped, self.captured)


def select(
    splits: Iterable[SplitRun], configuration: str, front: str | None = None, back: str | None = None
) -> list[SplitRun]:
    """Those of a configuration, and of these layers after which device and edge hand over."""
    return [
        each
        for each in splits
        if each.configuration == configuration
        and (front is None or each.front == front)
        and (back is None or each.back == back)
    ]


def pooled(splits: Sequence[SplitRun]) -> Estimate:
    """The drop rate of all of them together."""
    return share(sum(each.dropped for each in splits), sum(each.captured for each in splits))


def counts_of(splits: Sequence[SplitRun]) -> tuple[int, int]:
    """Dropped and captured of all of them."""
    return sum(each.dropped for each in splits), sum(each.captured for each in splits)
