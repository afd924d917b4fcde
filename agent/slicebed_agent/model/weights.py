"""Weights on disk: float16 to keep the file small, named by layer, and recognised by a hash of their content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentError
from slicebed_agent.model import digits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Weights = list[npt.NDArray[np.float16]]


def rounded(arrays: Sequence[npt.NDArray[Any]]) -> Weights:
    """The weights as they are kept: float16."""
    return [np.asarray(array).astype(np.float16) for array in arrays]


def sha256(weights: Weights) -> str:
    """Hash of shapes and little-endian values, the same on every machine and for every way of packing the file."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype="<f2").tobytes())
    return digest.hexdigest()


def path_of(model: str, folder: Path = digits.DATA) -> Path:
    """Where the weights of a model of the zoo are kept."""
    return folder / f"{model}.npz"


def save(path: Path, weights: Weights) -> None:
    """Write the weights in the order of `keras.Model.get_weights`."""
    np.savez_compressed(path, **{f"w{index:02d}": array for index, array in enumerate(weights)})  # type: ignore[arg-type]  # numpy's stub takes **kwds for allow_pickle


def load(path: Path) -> Weights:
    """Read what `save` wrote.

    Raises:
        AgentError: the file is missing or is not a file of weights.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            return [data[name] for name in sorted(data.files)]
    except (OSError, KeyError, ValueError) as error:
        raise AgentError(
            f"cannot read the weights: {error}", where=str(path), mend="run `slicebed-agent train`"
        ) from error
