"""What a search keeps of a decision: its line in the journal, and its predictions in ``foretold/``."""

from __future__ import annotations

import json
import math
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from slicebed.errors import RunError
from slicebed.run.store import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.split.search.contracts import Foretold

    # Of a candidate: by metric the value and both ends of its interval.
    Plain = Mapping[str, list[float | None]]

_NUMBER: Final = (int, float)
_MAYBE: Final = (int, float, NoneType)
_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "problem": str,
    "method": str,
    "chosen": str,
    "why": str,
    "cells": list,
    "candidates_measured": int,
    "testbed_s": _NUMBER,
    "decision_s": _NUMBER,
    "regret_predicted": _MAYBE,
    "prediction_error": _MAYBE,
    "foretold": (str, NoneType),
}
_ENDS: Final = 3


def check_decision(decided: Mapping[str, Any], where: str) -> None:
    """Refuse what is not as `Record.decided` gave it.

    Args:
        decided: as the journal has it.
        where: it is there.

    Raises:
        RunError: it is something else.
    """
    wrong = next((name for name, kinds in _FIELDS.items() if not isinstance(decided.get(name, ...), kinds)), None)
    if wrong is not None:
        found = f"{wrong} is {decided[wrong]!r}" if wrong in decided else f"there is no {wrong}"
        raise RunError(f"a decision cannot be read: {found}", where=where, mend="take the line out, then --resume")


def write_foretold(path: Path, foretold: Mapping[str, Foretold]) -> None:
    """Keep the figures of predictions."""
    plain = {
        key: {
            metric: [None if math.isnan(each) else each for each in (figure.value, figure.low, figure.high)]
            for metric, figure in told.figures.items()
        }
        for key, told in foretold.items()
    }
    write_json(path, plain)


def read_foretold(path: Path) -> Mapping[str, Plain]:
    """The figures of predictions as `write_foretold` kept them, by candidate and metric.

    Raises:
        RunError: the file holds something else.
    """
    try:
        loaded: Mapping[str, Plain] = json.loads(path.read_text(encoding="utf-8"))
        kept = [ends for figures in loaded.values() for ends in figures.values()]
        sound = all(len(ends) == _ENDS and all(isinstance(end, _MAYBE) for end in ends) for ends in kept)
    except (OSError, ValueError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise RunError("predictions cannot be read", where=str(path), mend="remove the file, then --resume")
    return loaded
