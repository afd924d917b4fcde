"""A cut's slices, written side by side: all of them or none."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING

from slicebed.errors import ConflictError
from slicebed.leftovers import own_name, remove_left
from slicebed_agent.model.execute.publish import write_slice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.execute.publish import Manifest
    from slicebed_agent.model.graph import SplitPoint

_PARTIAL = ".partial"


def slice_folder(out: Path, number: int) -> Path:
    """Where the n-th slice of a cut is, counted from 1."""
    return out / f"slice{number}"


def write_cut(opened: OpenedModel, cut: Sequence[SplitPoint], out: Path) -> list[Manifest]:
    """Write every slice of a cut into a folder of its own below `out`.

    Args:
        opened: the model.
        cut: one split point for each boundary, in the model's order.
        out: must not exist yet, or be empty.

    Raises:
        ConflictError: the folder holds something.
        AgentError: a slice cannot be written; then there is none.
    """
    if out.exists() and not out.is_dir():
        raise ConflictError("is no folder", where=str(out), mend="name one that does not exist yet")
    if out.exists() and any(out.iterdir()):
        raise ConflictError("is not empty", where=str(out), mend="name another folder, or empty this one")
    inner = [tuple(tensor.name for tensor in point.tensors) for point in cut]
    boundaries = [opened.graph.inputs, *inner, opened.graph.outputs]
    card = asdict(opened.frozen.card)
    prefix = f".{out.name}."
    remove_left(out.parent, prefix, _PARTIAL)
    partial = out.parent / own_name(prefix, _PARTIAL)
    partial.mkdir(parents=True)
    try:
        manifests = [
            write_slice(opened.frozen.path, feeds, fetches, slice_folder(partial, number), card=card)
            for number, (feeds, fetches) in enumerate(pairwise(boundaries), 1)
        ]
        # Over an empty folder too, where one was given.
        partial.replace(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifests
