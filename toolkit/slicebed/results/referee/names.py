"""Candidates, problems and files by name: as short as tells them apart."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from slicebed.spec.cuts import WHOLE, digest
from slicebed.spec.search import OWN_TESTBED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_STEM = 60
_BETWEEN = "__"


def candidate_names(candidates: Sequence[Mapping[Any, Any]]) -> list[str]:
    """A name for each candidate of one problem: its cut, and of placement, codec and knobs what is not the same in all.

    A whole model is named by its placement, where it has one; a cut one where several placements are cut.
    """
    cut = [each for each in candidates if each["cut"] not in {"", WHOLE}]
    varied = {part for part in ("codec", "knobs") if len({str(each[part]) for each in candidates}) > 1}
    varied |= {"placement"} if len({str(each["placement"]) for each in cut}) > 1 else set()
    return [_name(each, varied) for each in candidates]


def _name(candidate: Mapping[Any, Any], varied: set[str]) -> str:
    placement, cut = str(candidate["placement"]), str(candidate["cut"]) or WHOLE
    words = [placement] if placement and (cut == WHOLE or "placement" in varied) else []
    words += [cut] if cut != WHOLE or not words else []
    words += [str(candidate["codec"])] if "codec" in varied else []
    words += _knobs(str(candidate["knobs"])) if "knobs" in varied else []
    return " ".join(words)


def _knobs(text: str) -> list[str]:
    try:
        values = json.loads(text or "{}")
    except ValueError:
        return [text]
    return [f"{name}={value}" for name, value in values.items()] if isinstance(values, dict) else [text]


def problem_title(model: str, condition: str) -> str:
    """A problem as headings name it."""
    return model if condition in {"", OWN_TESTBED} else f"{model}, {condition}"


def shortened(name: str, letters: int) -> str:
    """A name that fits; of a long one the end is kept, which says most of an operator: scopes come first."""
    return name if len(name) <= letters else f"…{name[1 - letters :]}"


def without_scope(names: Sequence[str]) -> list[str]:
    """Names of operators without the scope that all of them are in; names without a scope as they are."""
    scopes = [name.split("/")[:-1] for name in names if "/" in name]
    common = takewhile(lambda words: len(set(words)) == 1, zip(*scopes, strict=False))
    scope = "".join(f"{words[0]}/" for words in common)
    return [name.removeprefix(scope) if "/" in name else name for name in names]


def stem_of(*words: str) -> str:
    """A file's name from words of any kind, different for different words."""
    joined = _BETWEEN.join(words)
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", joined)
    if plain == joined and len(plain) <= _LONGEST_STEM and not any(_BETWEEN in word for word in words):
        return plain
    return f"{plain[:_LONGEST_STEM]}-{digest(*words)}"
