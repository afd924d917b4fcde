"""What must hold of an experiment's early exits, as far as its file alone tells."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.spec.cuts import cut_of, cut_rule_of
from slicebed.spec.pipeline_checks import placements_of
from slicebed.spec.problems import Problem

if TYPE_CHECKING:
    from slicebed.spec.document import Document


def exit_problems(document: Document) -> list[Problem]:
    """Heads that are no files, and exits after what no cut ends at."""
    exits = document.data.get("exits")
    problems = []
    for index, each in enumerate(exits if isinstance(exits, list) else []):
        if not isinstance(each, dict):
            continue
        head, after = each.get("head"), each.get("after")
        if isinstance(head, str) and head and "\0" not in head and not head_file(document, head).is_file():
            mark = document.value_mark(("exits", index, "head"))
            allowed = "a frozen graph (.pb) relative to this file, or a head that comes with Slicebed: cnn14_layer3.pb"
            problems.append(Problem(mark, f'head: no such file "{head}"', allowed))
        problems += _after_problems(document, index, after)
    return problems


def head_file(document: Document, head: str) -> Path:
    """The file that a file's ``head`` means: beside it, else of the heads that come with the agent."""
    beside = Path(os.path.normpath(document.path.parent / head))
    if beside.exists() or "/" in head:
        return beside
    packaged = packaged_head(head)
    return packaged if packaged.is_file() else beside


def packaged_head(name: str) -> Path:
    """Where a head that comes with the agent would be."""
    import slicebed_agent  # noqa: PLC0415 - its place alone is wanted

    return Path(slicebed_agent.__file__).parent / "model" / "data" / name


def _after_problems(document: Document, index: int, after: Any) -> list[Problem]:
    """An exit must be behind some cut's slice but the last, whose answer is the model's own."""
    points = _cut_points(document)  # none where a rule finds them later
    mark = document.value_mark(("exits", index, "after"))
    if isinstance(after, bool) or not points:
        return []
    if isinstance(after, int) and after >= 1 and not any(len(each) >= after for each in points):
        most = max(len(each) for each in points)
        return [Problem(mark, f"no slice {after} that another follows", f"1 to {most}" if most else "a cut model")]
    if isinstance(after, str) and after and not any(after in each for each in points):
        known = ", ".join(dict.fromkeys(name for each in points for name in each)) or "none"
        return [Problem(mark, f'no cut ends a slice at "{after}"', f"a split point of the cuts: {known}")]
    return []


def _cut_points(document: Document) -> list[tuple[str, ...]]:
    """The split points of every cut of the file, as text."""
    lists = [document.data.get("cuts"), *(each.get("cuts") for _, each in placements_of(document))]
    if any(cut_rule_of(each) is not None for each in lists):
        return []
    cuts = [cut_of(value) for each in lists if isinstance(each, list) for value in each]
    return [tuple(map(str, cut.points)) for cut in cuts if cut is not None]
