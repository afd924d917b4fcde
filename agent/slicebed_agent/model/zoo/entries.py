"""What is known of the zoo's models, without TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.choice import nearest

# The day Couper's paper appeared; any number would do, as long as it is the same everywhere.
DEFAULT_SEED: Final = 20201123


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A model of the zoo.

    Attributes:
        name: as the command line takes it.
        title: as its publication calls it.
        input_shape: height, width, channels of one frame.
        input_range: lowest and highest value of a pixel.
        classes: width of the answer.
        published_parameters_millions: as its publication, or Keras' documentation, counts.
        published_top1_percent: accuracy that Couper's Table 1 gives; not that of seeded weights.
        published_operators: operators that Couper's Table 1 counts in its own export.
        reference: where the architecture is published.
        trained: trained weights are part of the package.
        gain: what seeded weights multiply the signal with at every normalisation: enough for it not to die, and too
            little for rounding errors to grow from layer to layer, as they do in a deep network whose gain is too high.
        head_gain: the same at the last layer, so that the answers differ and none is certain.
    """

    name: str
    title: str
    input_shape: tuple[int, int, int]
    input_range: tuple[float, float]
    classes: int
    published_parameters_millions: float
    published_top1_percent: float | None
    published_operators: int | None
    reference: str
    trained: bool = False
    gain: float = 1.0
    head_gain: float = 1.0


_SIGNED: Final = (-1.0, 1.0)
_VGG_RANGE: Final = (-123.68, 151.061)  # 0..255 less the mean colours

_ENTRIES: Final = (
    Entry(
        *("cnn14", "CNN of 14 layers", (28, 28, 1), (0.0, 1.0), 10, 0.674, None, None),
        reference="DNN-slicing paper, Table 1",
        trained=True,
    ),
    Entry(
        *("vgg16", "VGG16", (224, 224, 3), _VGG_RANGE, 1000, 138.4, 71.5, 54),
        reference="arXiv:1409.1556",
        head_gain=0.2,
    ),
    Entry(
        *("mobilenet_v2", "MobileNetV2 1.4", (224, 224, 3), _SIGNED, 1000, 6.2, 74.9, 158),
        reference="arXiv:1801.04381",
        gain=0.85,
        head_gain=2.5,
    ),
    Entry(
        *("resnet50_v2", "ResNet50V2", (224, 224, 3), _SIGNED, 1000, 25.6, 75.6, 205),
        reference="arXiv:1603.05027",
        gain=0.85,
        head_gain=6.0,
    ),
    Entry(
        *("inception_v3", "InceptionV3", (299, 299, 3), _SIGNED, 1000, 23.9, 78.0, 788),
        reference="arXiv:1512.00567",
        gain=1.1,
        head_gain=5.0,
    ),
    Entry(
        *("inception_resnet_v2", "Inception-ResNet V2", (299, 299, 3), _SIGNED, 1000, 55.9, 80.4, 871),
        reference="arXiv:1602.07261",
        gain=1.1,
        head_gain=2.5,
    ),
    Entry(
        *("nasnet_large", "NASNet-A Large 331", (331, 331, 3), _SIGNED, 1000, 88.9, 82.7, 1265),
        reference="arXiv:1707.07012",
        gain=0.8,
        head_gain=1.2,
    ),
    Entry(
        *("pnasnet5_large", "PNASNet-5 Large 331", (331, 331, 3), _SIGNED, 1000, 86.1, 82.9, 939),
        reference="arXiv:1712.00559",
        gain=0.73,
        head_gain=2.5,
    ),
)
_PLAIN: Final = {each.name.replace("_", ""): each for each in _ENTRIES}


def list_models() -> tuple[Entry, ...]:
    """Every model of the zoo, smallest publication first; without TensorFlow."""
    return _ENTRIES


def find(name: str) -> Entry | None:
    """The model of this name, also as Keras writes it (``MobileNetV2``, ``NASNetLarge``); None where there is none."""
    return _PLAIN.get(name.replace("_", "").replace("-", "").lower())


def entry(name: str) -> Entry:
    """What is known of one model.

    Raises:
        AgentConfigError: the zoo has no model of this name; the error tells the nearest names.
    """
    found = find(name)
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str) -> AgentConfigError:
    """The error about a name that the zoo does not have."""
    near = nearest(name, [each.name for each in _ENTRIES])
    return AgentConfigError(f"no model {name!r} in the zoo", where="model", mend=near)
