"""Which model is meant: what a user says of it, on the command line or in an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class ModelSource:
    """Which model.

    Attributes:
        argument: a name of the zoo, a ``.keras`` or ``.h5`` file, a SavedModel folder, or a frozen GraphDef ``.pb``.
        weights: of a zoo model: a file of weights; see `zoo.load_weights`.
        seed: of a zoo model: draw the weights from this seed; without it (and without a file) the trained ones where
            there are any, else those of `zoo.DEFAULT_SEED`.
        input_shape: of one frame, without the batch, where the model leaves it open or another is wanted.
        inputs: names, where there are several inputs.
        outputs: names, where there are several outputs.
    """

    argument: str
    weights: Path | None = None
    seed: int | None = None
    input_shape: tuple[int, ...] | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
