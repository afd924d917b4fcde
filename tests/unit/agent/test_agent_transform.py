"""Transformer and classifier: pictures as a model takes them, and its answers as labels."""

from __future__ import annotations

import re

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.media.transform import Transform, classify
from slicebed_agent.model.zoo.pixels import pixels_of

GREY = Transform(28, 28, (1 / 255,), (0.0,))


def test_pictures_become_what_a_model_takes():
    pictures = np.zeros((2, 10, 20, 3), np.uint8)
    pictures[..., 0], pictures[..., 2] = 255, 51
    (made,) = Transform(4, 6, (2 / 255,) * 3, (-1.0,) * 3)((pictures,))
    assert (made.shape, made.dtype) == ((2, 4, 6, 3), np.float32)
    assert np.allclose(made[0, 0, 0], [1, -1, -0.6])
    scale, offset, bgr = pixels_of("vgg16")
    (made,) = Transform(10, 20, scale, offset, bgr)((pictures,))
    assert np.allclose(made[1, 3, 3], [51 - 103.939, -116.779, 255 - 123.68])
    (made,) = Transform(28, 28, *pixels_of("cnn14")[:2])((pictures,))
    assert made.shape == (2, 28, 28, 1)
    assert np.allclose(made, 82 / 255, atol=0.01)


@pytest.mark.parametrize(
    "tensors",
    [
        (),
        (np.zeros((1, 4, 4, 3), np.float32),),
        (np.zeros((4, 4, 3), np.uint8),),
        (np.zeros((1, 4, 4, 1), np.uint8),),
        (np.zeros((1, 0, 4, 3), np.uint8),),
    ],
)
def test_what_are_no_pictures_is_refused(tensors):
    with pytest.raises(PayloadError, match=re.escape("transformer: pictures are uint8 (B, H, W, 3), came")):
        GREY(tensors)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((0, 4, (1.0,), (0.0,)), "pictures of 0 x 4"),
        ((4, 4, (1.0, 1.0), (0.0, 0.0)), "2 scales"),
        ((4, 4, (1.0,), (0.0,) * 3), "1 scales and 3 offsets"),
        ((4, 4, (float("nan"),), (0.0,)), "is no number"),
    ],
)
def test_a_transformer_that_cannot_be_is_refused(arguments, why):
    with pytest.raises(AgentConfigError, match=why):
        Transform(*arguments)


def test_answers_become_labels():
    answer = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32)
    result = classify((answer,), 2)
    assert result.tensors[0] is answer
    assert result.notes["labels"] == [[1, 2], [0, 2]]
    assert np.allclose(result.notes["scores"], [[0.7, 0.2], [0.5, 0.3]])
    assert len(classify((answer,), 9).notes["labels"][0]) == 3
    for wrong in ((), (np.float32(3),), (answer, answer), (answer * np.nan,), (answer[:, :0],)):
        with pytest.raises(PayloadError, match="classifier"):
            classify(tuple(np.asarray(each) for each in wrong), 2)
