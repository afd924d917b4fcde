"""Where frames were dropped, as text for tables and back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def dropped_where(frames: pd.DataFrame) -> str:
    """Host, stage and count of all drops, such as ``edge inbound 12, client source 3``, the most frequent first."""
    dropped = frames[frames["end"] == "dropped"]
    places = Counter(zip(dropped["end_host"], dropped["end_stage"], strict=True))
    ordered = sorted(places.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{host} {stage} {count}" for (host, stage), count in ordered)


def dropped_places(text: str) -> list[tuple[str, str, int]]:
    """Host, stage and count of every place in what `dropped_where` gave."""
    places = []
    for place in filter(None, text.split(", ")):
        host, rest = place.split(" ", 1)
        stage, count = rest.rsplit(" ", 1)
        places.append((host, stage, int(count)))
    return places
