"""What the whole model says about the held-out images: the measure of every chain's answers."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.model import digits, slices

_BATCH: Final = 64


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a chain's answer compares, over the images of one frame.

    Attributes:
        images: images in the frame.
        labels_equal: images whose most likely class is the whole model's.
        labels_correct: images whose most likely class is the true one.
        max_abs_error: largest absolute difference from the whole model's output.
    """

    images: int
    labels_equal: int
    labels_correct: int
    max_abs_error: float


class Reference:
    """Held-out images, their labels, and the whole model's output for each."""

    def __init__(self, model: slices.Model) -> None:
        """Run the whole model over the held-out images, once."""
        self.images, self.labels = digits.load().part(held_out=True)
        whole = model.slice(1, len(model.layers))
        starts = range(0, len(self.images), _BATCH)
        self.outputs = np.concatenate([whole.run(self.images[start : start + _BATCH]) for start in starts])

    def draw(self, seed: int, frame_id: int, batch: int) -> npt.NDArray[np.intp]:
        """Indices of a frame's images: `batch` different ones, the same for the same seed and frame.

        Raises:
            AgentConfigError: there are not so many held-out images.
        """
        if not 1 <= batch <= len(self.images):
            raise AgentConfigError(
                f"batch size {batch}", where="source", mend=f"give 1..{len(self.images)}, the number of held-out images"
            )
        return np.random.default_rng([seed, frame_id]).choice(len(self.images), batch, replace=False)

    def compare(self, drawn: npt.NDArray[np.intp], output: npt.NDArray[Any]) -> Agreement:
        """Compare a chain's output for the drawn images.

        Raises:
            PayloadError: the output has another shape or dtype than the whole model's.
        """
        expected = self.outputs[drawn]
        if output.dtype == expected.dtype and not np.isfinite(output).all():
            raise PayloadError("answer holds values that are no numbers", where="answer")
        if output.shape != expected.shape or output.dtype != expected.dtype:
            raise PayloadError(
                f"answer is {output.dtype} {output.shape}, expected {expected.dtype} {expected.shape}", where="answer"
            )
        found = np.argmax(output, axis=1)
        return Agreement(
            images=len(drawn),
            labels_equal=int(np.count_nonzero(found == np.argmax(expected, axis=1))),
            labels_correct=int(np.count_nonzero(found == self.labels[drawn])),
            max_abs_error=float(np.max(np.abs(output - expected))),
        )


@functools.cache
def load(model: str) -> Reference:
    """The reference of a model, computed on first use."""
    return Reference(slices.load(model))
