"""What the whole model says about the camera's images: the measure of every chain's answers."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.model import cnn14, digits
from slicebed_agent.model.execute.check import seeded_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.execute.slice import Boundary
    from slicebed_agent.model.execute.tensors import Array

_DIGITS_AT_ONCE: Final = 64
_POOL: Final = 8


class Images(enum.StrEnum):
    """What the camera shows."""

    DIGITS = "digits"
    RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a chain's answer compares, over the images of one frame.

    Attributes:
        images: images in the frame.
        labels_equal: images whose largest value stands where the whole model's does.
        labels_correct: images whose most likely class is the true one; None where there are no true labels.
        max_abs_error: largest absolute difference from the whole model's answer.
        max_rel_error: the same as a share of the largest absolute value in that answer.
    """

    images: int
    labels_equal: int
    labels_correct: int | None
    max_abs_error: float
    max_rel_error: float


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

    def compare(self, drawn: npt.NDArray[np.intp], output: npt.NDArray[Any]) -> Agreement:
        """Compare a chain's answer for the drawn images.

        Raises:
            PayloadError: the answer has another shape or dtype than the whole model's.
        """
        expected = self.outputs[drawn]
        if output.shape != expected.shape or output.dtype != expected.dtype:
            raise PayloadError(
                f"answer is {output.dtype} {output.shape}, expected {expected.dtype} {expected.shape}", where="answer"
            )
        if not np.isfinite(output).all():
            raise PayloadError("answer holds values that are no numbers", where="answer")
        wide = np.complex128 if np.iscomplexobj(output) else np.float64
        found = _labels(output)
        correct = None if self.pool.labels is None else int(np.count_nonzero(found == self.pool.labels[drawn]))
        error = float(np.max(np.abs(output.astype(wide) - expected.astype(wide)), initial=0.0))
        largest = float(np.max(np.abs(expected.astype(wide)), initial=0.0))
        return Agreement(
            images=len(drawn),
            labels_equal=int(np.count_nonzero(found == _labels(expected))),
            labels_correct=correct,
            max_abs_error=error,
            # Where zeros alone are expected, any difference is all of the answer.
            max_rel_error=error / largest if largest else float(error > 0),
        )


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
        key = (model, tuple(feeds), images, answer, len(pool))
        if self._last is None or self._last[0] != key:
            small = images is Images.DIGITS and all((each.shape or (None,))[0] is None for each in boundaries)
            at_once = max(batch, _DIGITS_AT_ONCE) if small else batch
            self._last = (key, Reference(executor, feeds, answer, pool, at_once))
        return self._last[1]
