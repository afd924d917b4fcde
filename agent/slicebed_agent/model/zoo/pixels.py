"""How a picture's bytes become a model's numbers, by the model's name; without TensorFlow."""

from __future__ import annotations

from typing import Final

from slicebed_agent.model.zoo.entries import Entry, find

Pixels = tuple[tuple[float, ...], tuple[float, ...], bool]
"""Of each channel (one value: of all): value = byte * scale + offset; and whether blue comes first."""

_MAX_BYTE: Final = 255.0
_VGG: Final = "vgg16"
# keras.applications' mode "caffe": mean colours of ImageNet, blue first, nothing scaled.
_VGG_MEANS: Final = (103.939, 116.779, 123.68)


def pixels_of(model: Entry | str) -> Pixels:
    """What the publication's own preparation of pictures does.

    Args:
        model: of the zoo, or its name; any other name stands for a model that takes 0..1, red first.

    Returns:
        Scales, offsets (a value for each channel, in the order in which the model takes them) and whether that order
        is blue, green, red.
    """
    known = find(model) if isinstance(model, str) else model
    if known is None:
        return (1 / _MAX_BYTE,), (0.0,), False
    if known.name == _VGG:
        return (1.0, 1.0, 1.0), tuple(-mean for mean in _VGG_MEANS), True
    lowest, highest = known.input_range
    channels = known.input_shape[-1]
    return ((highest - lowest) / _MAX_BYTE,) * channels, (lowest,) * channels, False
