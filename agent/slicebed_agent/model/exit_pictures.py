"""Labelled pictures for an early-exit head: the package's digits, or a user's own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model import digits

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.model.execute.slice import Boundary

Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Labelled pictures, as the model takes them.

    Attributes:
        arrays: (N, ...) of the model's input's dtype.
        labels: (N,) int64.
        held_out: (N,) bool: kept from training.
    """

    arrays: npt.NDArray[Any]
    labels: Labels
    held_out: npt.NDArray[np.bool_]


def read_pictures(fed: Boundary, data: Path | None, seed: int) -> Pictures:
    """The pictures that a head is trained and judged on.

    Args:
        fed: what the model takes.
        data: an ``.npz`` with ``pictures`` and ``labels``; without it the digits of the package, with their own split.
        seed: draws the fifth that is kept from training.

    Raises:
        AgentConfigError: the file is not that, or the model does not take such pictures.
    """
    if data is None:
        kept = digits.load()
        shown = digits.enlarge(kept.images)
        if not fed.takes(shown):
            raise AgentConfigError(
                f"the model takes {fed}, digits are float32 (B, 28, 28, 1)",
                where="train-exit",
                mend="give labelled pictures with --data FILE.npz",
            )
        return Pictures(shown, kept.labels.astype(np.int64), kept.held_out)
    try:
        with np.load(data, allow_pickle=False) as held:
            arrays, labels = held["pictures"], held["labels"]
    except (OSError, KeyError, ValueError) as error:
        mend = "give a .npz with the arrays pictures and labels"
        raise AgentConfigError(f"cannot read the pictures: {error}", where=str(data), mend=mend) from error
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(arrays) or (labels < 0).any():
        what = f"labels are {labels.dtype} {labels.shape}, pictures {arrays.shape}"
        raise AgentConfigError(what, where=str(data), mend="give one whole number from 0 for each picture")
    if not fed.takes(arrays):
        what = f"pictures are {arrays.dtype} {arrays.shape}, the model takes {fed}"
        raise AgentConfigError(what, where=str(data), mend="bring them into that form first")
    held_out = np.zeros(len(labels), np.bool_)
    held_out[np.random.default_rng(seed).permutation(len(labels))[: round(len(labels) * digits.HELD_OUT)]] = True
    if not held_out.any():
        what = f"{len(labels)} pictures"
        raise AgentConfigError(what, where=str(data), mend="give enough to keep a fifth of them from training")
    return Pictures(arrays, labels.astype(np.int64), held_out)
