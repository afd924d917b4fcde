"""What a spec must know of the models it may name: their layers. The models themselves live with the agent."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

# Images kept from training; a frame draws its batch from these without repeating one.
HELD_OUT_IMAGES = 359


def layer_count(model: str) -> int:
    """Number of layers of ``model``; raises SpecError for a model that is not known."""
    return len(_kinds(model))


def cut_title(model: str, points: Sequence[int]) -> str:
    """The paper's name of a cut: the kinds of the layers before it, such as ``Conv2D - BatchNormalization``."""
    kinds = _kinds(model)
    return " - ".join(kinds[point - 1] for point in points)


def _kinds(model: str) -> tuple[str, ...]:
    try:
        return LAYER_KINDS[model]
    except KeyError:
        raise SpecError(f'unknown model "{model}"', mend=f"allowed: {', '.join(LAYER_KINDS)}") from None
