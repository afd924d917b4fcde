"""What the whole model says about the camera's images: the measure of every chain's answers."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.model import cnn14, codec, digits
from slicebed_agent.model.execute.check import seeded_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.execute.slice import Boundary
    from slicebed_agent.model.execute.tensors import Array

_DIGITS_AT_ONCE: Final = 64
_POOL: Final = 8


class Images(enum.StrEnum):
    """What the camera shows."""

    DIGITS = "digits"
    RANDOM = "random"
    VIDEO = "video"
    FOLDER = "folder"
    SYNTHETIC = "synthetic"


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a chain's answer compares, over the images of one frame.

    Attributes:
        images: images that were compared.
        labels_equal: images whose largest value stands where the whole model's does.
        labels_correct: images whose most likely class is the true one; None where there are no true labels.
        max_abs_error: largest absolute difference from the whole model's answer; None of an early exit's, which is
            another function's.
        max_rel_error: the same as a share of the largest absolute value in that answer.
    """

    images: int
    labels_equal: int
    labels_correct: int | None
    max_abs_error: float | None
    max_rel_error: float | None


@dataclasses.dataclass(frozen=True)
class Pool:
    """The images that frames are drawn from.

    Attributes:
        images: one array for each tensor that the model is fed, with an image in each row.
        labels: true labels, where they are known.
    """

    images: tuple[Array, ...]
    labels: npt.NDArray[np.uint8] | None

    def __len__(self) -> int:
        """How many images."""
        return len(self.images[0])

    def draw(self, seed: int, frame_id: int, batch: int) -> npt.NDArray[np.intp]:
        """Numbers of a frame's images: `batch` different ones, the same for the same seed and frame."""
        return np.random.default_rng([seed, frame_id]).choice(len(self), batch, replace=False)


def pool_of(images: Images, feeds: Sequence[Boundary], batch: int) -> Pool:
    """The images for a model.

    Args:
        images: which.
        feeds: tensors that the model is fed.
        batch: images in a frame.

    Raises:
        AgentConfigError: the model does not take such images, or not so many at a time.
        AgentError: the shape that it takes is not known.
    """
    for boundary in feeds:
        if boundary.shape is not None and boundary.shape[:1] not in {(None,), (batch,)}:
            raise AgentConfigError(
                f"batch size {batch}", where="source", mend=f"{boundary.name} takes {boundary}: its batch is fixed"
            )
    if images is Images.RANDOM:
        size = max(_POOL, batch)
        return Pool(tuple(_random(boundary, size) for boundary in feeds), None)
    shown, labels = digits.load().part(held_out=True)
    if len(feeds) != 1 or feeds[0].dtype != shown.dtype or (feeds[0].shape or ())[1:] != cnn14.INPUT_SHAPE:
        taken = ", ".join(map(str, feeds))
        raise AgentConfigError(
            f"this model takes {taken}, digits are float32 (B, 28, 28, 1)", where="source.images", mend="ask for random"
        )
    if batch > len(shown):
        raise AgentConfigError(
            f"batch size {batch}", where="source", mend=f"give 1..{len(shown)}, the number of held-out images"
        )
    return Pool((shown,), labels)


def _random(boundary: Boundary, size: int) -> Array:
    """So many images, of which the first few are the same however many there are."""
    images: list[Array] = []
    while sum(map(len, images)) < size:
        images.append(seeded_frame(boundary, len(images), 1))
    return np.concatenate(images)[:size]


class Reference:
    """A pool of images, and the whole model's answer to each."""

    def __init__(self, executor: Executor, feeds: Sequence[str], answer: str, pool: Pool, batch: int) -> None:
        """Run the whole model over the pool, once, and let go of it.

        Args:
            executor: of the model.
            feeds: tensors that the model is fed.
            answer: tensor that chains are to give.
            pool: the images.
            batch: how many the model computes at a time.

        Raises:
            AgentConfigError: the model has no such answer, or none with a row for each image.
            AgentError: TensorFlow cannot compute it.
        """
        self.pool = pool
        whole = executor.prepare(feeds, [answer], warm=False)
        try:
            # The last run takes the last `batch` images, also those that it shares with the one before.
            starts = [min(start, len(pool) - batch) for start in range(0, len(pool), batch)]
            parts = [whole.run([each[start : start + batch] for each in pool.images])[0] for start in starts]
        finally:
            whole.release()
        if any(part.shape[:1] != (batch,) or not part.size for part in parts):
            raise AgentConfigError(
                f"{answer} has no row for each image: it is {parts[0].shape} for {batch}",
                where="source.answer",
                mend="answers are compared image by image: name a tensor that keeps the batch",
            )
        self.outputs = np.empty((len(pool), *parts[0].shape[1:]), parts[0].dtype)
        for start, part in zip(starts, parts, strict=True):
            self.outputs[start : start + batch] = part
        if not np.isfinite(self.outputs).all():
            raise AgentConfigError(
                f"the whole model's {answer} holds values that are no numbers",
                where="source.answer",
                mend="check the model's weights",
            )

    def draw(self, seed: int, frame_id: int, batch: int) -> tuple[Array, ...]:
        """What the model is fed for a frame: of each tensor, `batch` images."""
        drawn = self.pool.draw(seed, frame_id, batch)
        return tuple(each[drawn] for each in self.pool.images)

    def compare(self, drawn: npt.NDArray[np.intp], answer: bytes, *, early: bool = False) -> Agreement:
        """Compare a chain's answer for the drawn images.

        Args:
            drawn: their numbers in the pool, in the answer's order; -1 is an image that is not of the pool.
            answer: a serialised TensorProto.
            early: an early exit gave it: a label for each image is compared, and nothing else.

        Raises:
            PayloadError: the answer is no tensor, or has another shape or dtype than the whole model's.
        """
        (output,) = codec.decode(answer)[:1] or (None,)
        shape = (len(drawn), *self.outputs.shape[1:])
        alike = output is not None and (output.shape, output.dtype) == (shape, self.outputs.dtype)
        wide_enough = output is not None and early and output.shape[:1] == shape[:1] and output.size == math.prod(shape)
        if output is None or not (alike or wide_enough):
            found = "nothing" if output is None else f"{output.dtype} {output.shape}"
            raise PayloadError(f"answer is {found}, expected {self.outputs.dtype} {shape}", where="answer")
        if not np.isfinite(output).all():
            raise PayloadError("answer holds values that are no numbers", where="answer")
        known = drawn >= 0
        return self._agreement(drawn[known], output[known], early=early)

    def _agreement(self, drawn: npt.NDArray[np.intp], output: Array, *, early: bool) -> Agreement:
        expected = self.outputs[drawn]
        found = _labels(output)
        labels = self.pool.labels
        errors = (None, None) if early else _errors(output, expected)
        return Agreement(
            len(drawn),
            int(np.count_nonzero(found == _labels(expected))),
            None if labels is None else int(np.count_nonzero(found == labels[drawn])),
            *errors,
        )


def _errors(output: Array, expected: Array) -> tuple[float, float]:
    """The largest difference, and as a share of the largest expected value."""
    wide = np.complex128 if np.iscomplexobj(output) else np.float64
    error = float(np.max(np.abs(output.astype(wide) - expected.astype(wide)), initial=0.0))
    largest = float(np.max(np.abs(expected.astype(wide)), initial=0.0))
    # Where zeros alone are expected, any difference is all of the answer.
    return error, error / largest if largest else float(error > 0)


def _labels(answer: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Where each image's largest value stands."""
    found: npt.NDArray[np.intp] = answer.reshape(len(answer), -1).argmax(axis=1)
    return found


class References:
    """The reference last used, for the next run that needs the same."""

    def __init__(self) -> None:
        """None yet."""
        self._last: tuple[tuple[object, ...], Reference] | None = None

    def of(self, model: str, executor: Executor, feeds: Sequence[str], wanted: tuple[Images, str, int]) -> Reference:
        """The whole model's answers.

        Args:
            model: hash of its file.
            executor: of the model.
            feeds: tensors that the model is fed.
            wanted: which images, which answer, and how many images are in a frame.

        Raises:
            AgentConfigError: see `pool_of` and `Reference`.
            AgentError: see `Reference`.
        """
        images, answer, batch = wanted
        boundaries = executor.describe(feeds)
        pool = pool_of(images, boundaries, batch)
        small = images is Images.DIGITS and all((each.shape or (None,))[0] is None for each in boundaries)
        at_once = max(batch, _DIGITS_AT_ONCE) if small else batch
        return self.kept(
            (model, tuple(feeds), images, answer, len(pool)),
            lambda: Reference(executor, feeds, answer, pool, at_once),
        )

    def kept(self, key: tuple[object, ...], make: Callable[[], Reference]) -> Reference:
        """The reference last used, if it was kept under the same key; a new one otherwise."""
        if self._last is None or self._last[0] != key:
            self._last = (key, make())
        return self._last[1]
