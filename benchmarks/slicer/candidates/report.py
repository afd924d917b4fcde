"""Tables of the candidates; pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.network.stats import median, ratio
from benchmarks.network.tables import seconds, table, times

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.slicer.candidates.compare import Compared, Found

_NONE: Final = "-"
_MEMORY_HEAD: Final = ("candidate", "loaded", "all", "its own", "a cut", "peak", "from whole", "from Keras")
_TIME_HEAD: Final = (
    *("candidate", "load", "slice", "1st cut", "later", "whole"),
    *("a frame", "pairs", "three : whole"),
)


def memory_table(compared: Compared) -> str:
    """Memory in MB, and differences."""
    return table(_MEMORY_HEAD, [[way, *_memory(each)] for way, each in _rows(compared)])


def time_table(compared: Compared) -> str:
    """Times of loading and preparing, and of a frame."""
    return table(_TIME_HEAD, [[way, *_times(each)] for way, each in _rows(compared)])


def stopped_lines(found: Mapping[str, Compared]) -> list[str]:
    """What could not be measured, and why."""
    return [
        f"{model}, {way}: {each.stopped}"
        for model, compared in found.items()
        for way, each in _rows(compared)
        if each.stopped
    ]


def _rows(compared: Compared) -> Iterator[tuple[str, Found]]:
    for way, each in compared.found.items():
        yield f"{compared.segments} segments" if way == "segments" else way, each


def _memory(found: Found) -> list[str]:
    added = [cut["added_bytes"] for cut in found.cuts]
    last = found.at_the_end or found.ready or found.loaded
    return [
        _megabytes(found.loaded, "resident_bytes"),
        _megabytes(found.ready, "resident_bytes"),
        _megabytes(found.ready, "own_bytes"),
        f"{statistics.median(added) / 1e6:.0f}" if added else _NONE,
        _megabytes(last, "peak_bytes"),
        _difference(found.from_whole),
        _difference(found.from_keras),
    ]


def _times(found: Found) -> list[str]:
    taken = [cut["prepare_s"] for cut in found.cuts]
    sums = [sum(each) for each in taken]
    return [
        _seconds(found.load_s),
        _seconds(max(map(max, taken)) if taken else None),
        _seconds(sums[0] if sums else None),
        _seconds(max(sums[1:]) if sums[1:] else None),
        _seconds(found.whole_prepare_s),
        _seconds(median(found.whole_s).median if found.whole_s else None),
        str(len(found.three_s)) if found.three_s else _NONE,
        times(ratio(found.three_s, found.whole_s)) if found.three_s else "see below" if found.stopped else _NONE,
    ]


def _megabytes(memory: Mapping[str, int], key: str) -> str:
    return f"{memory[key] / 1e6:.0f}" if memory else _NONE


def _seconds(value: float | None) -> str:
    return _NONE if value is None else seconds(value)


def _difference(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.1e}" if value else "0"
