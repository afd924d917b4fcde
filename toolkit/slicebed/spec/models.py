"""What a spec must know of the models it may name: the layers of the one that is cut by number, and what may be asked.

The models themselves live with the agent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# The layers of Table 1 of the DNN-slicing paper (results/reference/dnn_slicing/table1_model.csv), counted from 1.
LAYER_KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cnn14": (
            "Conv2D",
            "Conv2D",
            "MaxPooling2D",
            "BatchNormalization",
            "Conv2D",
            "Conv2D",
            "MaxPooling2D",
            "BatchNormalization",
            "Conv2D",
            "MaxPooling2D",
            "Flatten",
            "BatchNormalization",
            "Dense",
            "Dense",
        ),
    }
)

# The model that the digits belong to, and how many were kept from its training; a frame repeats none of them.
DIGITS_MODEL = "cnn14"
HELD_OUT_IMAGES = 359


class Images(StrEnum):
    """What the camera sees.

    DIGITS are those kept from training, with their true labels; RANDOM are seeded values without any: both come in the
    shape that the model is fed. VIDEO, FOLDER and SYNTHETIC are pictures, which a transformer brings into it.
    """

    DIGITS = "digits"
    RANDOM = "random"
    VIDEO = "video"
    FOLDER = "folder"
    SYNTHETIC = "synthetic"

    @property
    def are_pictures(self) -> bool:
        """Whether they need a transformer."""
        return self not in {Images.DIGITS, Images.RANDOM}


@dataclass(frozen=True)
class ModelChoice:
    """Which model is cut, as `slicebed_agent.model.load.open_model` takes it.

    Attributes:
        argument: a name of the zoo, or a path.
        weights: of a model of the zoo: a file of weights.
        seed: of a model of the zoo: draw the weights from it.
        input_shape: of one frame, where the model leaves it open or another is wanted.
        inputs: names of the inputs, all of them, where there are several.
        output: name of the output, where there are several.
        place: ``file:line:column`` where the experiment names the model; for errors.
    """

    argument: str
    weights: Path | None = None
    seed: int | None = None
    input_shape: tuple[int, ...] | None = None
    inputs: tuple[str, ...] | None = None
    output: str | None = None
    place: str | None = field(default=None, compare=False)

    def where(self, inside: str | None = None) -> str:
        """Where an error of the model stands: in the experiment, and in the model where that is known."""
        return ": ".join(part for part in (self.place, "model", inside) if part is not None)

    def settings(self) -> dict[str, object]:
        """What was asked besides the model, as JSON-ready values; nothing of what was not."""
        asked = {
            "weights": None if self.weights is None else str(self.weights),
            "seed": self.seed,
            "input_shape": None if self.input_shape is None else list(self.input_shape),
            "input": None if self.inputs is None else list(self.inputs),
            "output": self.output,
        }
        return {name: value for name, value in asked.items() if value is not None}


def cut_title(model: str, points: Sequence[int | str]) -> str:
    """What a cut is called in tables: the names of its split points joined by `` - ``.

    Of layer numbers these are the paper's names, the kinds of the layers: ``Conv2D - BatchNormalization``.
    """
    return " - ".join(point if isinstance(point, str) else LAYER_KINDS[model][point - 1] for point in points)
