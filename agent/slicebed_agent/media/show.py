"""The camera's film: frames by their numbers, and what the whole model says about those that are checked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.media.picture_show import DEFAULT_CHECKED, Checked, PictureShow, ask
from slicebed_agent.media.reel import FolderReel, SyntheticReel
from slicebed_agent.media.video import VideoReel
from slicebed_agent.model.reference import Images

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from slicebed_agent.media.plan import CheckPlan, ShowPlan
    from slicebed_agent.media.reel import Reel
    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.reference import Agreement, Reference, References
    from slicebed_agent.pipeline.contracts import Tensors

    Executors = Callable[[str], AbstractContextManager[Executor]]

SYNTHETIC_SIZE: Final = (720, 1280)
"""Height and width, where none are asked for."""


class Show(Protocol):
    """What a camera shows."""

    @property
    def frame_bytes(self) -> int:
        """Of a frame as it is drawn."""

    def draw(self, frame_id: int) -> Tensors | None:
        """A frame, by its number, which grows with each call; None when the film is over.

        Numbers that are left out stand for frames that were captured too late to be drawn.

        Raises:
            AgentError: the film cannot be read, or not as fast as it is shown.
        """

    def judge(self, frame_id: int, answer: bytes, exit_name: str) -> Agreement | None:
        """Compare a frame's answer with the whole model's; None where that frame is not checked.

        Args:
            frame_id: which frame.
            answer: a serialised TensorProto.
            exit_name: the early exit that gave it, whose labels alone are compared; empty where the whole chain did.

        Raises:
            PayloadError: it is no answer.
        """

    def close(self) -> None:
        """Let go of files and threads."""


class TensorShow:
    """Digits or random values, drawn anew for each frame."""

    def __init__(self, whole: Reference, seed: int, batch: int) -> None:
        """Show frames of `batch` images from the reference's pool."""
        self._whole, self._seed, self._batch = whole, seed, batch

    @property
    def frame_bytes(self) -> int:
        """Of all tensors that the model is fed."""
        return sum(tensor.nbytes for tensor in self.draw(0))

    def draw(self, frame_id: int) -> Tensors:
        """Of each tensor that the model is fed, `batch` images."""
        return self._whole.draw(self._seed, frame_id, self._batch)

    def judge(self, frame_id: int, answer: bytes, exit_name: str) -> Agreement:
        """All images of all frames are checked."""
        drawn = self._whole.pool.draw(self._seed, frame_id, self._batch)
        return self._whole.compare(drawn, answer, early=bool(exit_name))

    def close(self) -> None:
        """Nothing is open."""


def open_show(plan: ShowPlan, references: References, executor: Executors) -> Show:
    """Make a show ready, the answers to expect included.

    Args:
        plan: what to show.
        references: keeps the whole model's answers for the next run.
        executor: opens the model of a file, by its hash.

    Raises:
        AgentConfigError: the model does not take such images, or the file is no film.
        AgentError: the model cannot be run.
    """
    if plan.images in {Images.DIGITS, Images.RANDOM}:
        return _open_tensors(plan, references, executor)
    reel = _reel(plan)
    whole = None if plan.check is None else _checked(plan, plan.check, reel, references, executor)
    return PictureShow(reel, plan.batch_size, plan.loops, _where(plan), whole)


def first_frame(plan: ShowPlan) -> Tensors:
    """The first pictures of a film, as many as are in a frame; of a shorter film some come again.

    Args:
        plan: of pictures.

    Raises:
        AgentConfigError: the file is no film.
    """
    pictures = [pixels for _, pixels in itertools.islice(_reel(plan).once(), plan.batch_size)]
    if not pictures:
        raise AgentConfigError("no picture in it can be decoded", where=_where(plan), mend="check the file")
    return (np.stack([*itertools.islice(itertools.cycle(pictures), plan.batch_size)]),)


def _open_tensors(plan: ShowPlan, references: References, executor: Executors) -> Show:
    if plan.check is None:
        raise AgentConfigError(f"{plan.images} without a model", where="source.check", mend="say what the model is fed")
    with executor(plan.check.model_sha256) as opened:
        whole = references.of(
            *(plan.check.model_sha256, opened, plan.check.feeds), (plan.images, plan.check.answer, plan.batch_size)
        )
    return TensorShow(whole, plan.seed, plan.batch_size)


def _reel(plan: ShowPlan) -> Reel:
    size = (plan.height, plan.width) if plan.height and plan.width else None
    if plan.images is Images.SYNTHETIC:
        return SyntheticReel(size or SYNTHETIC_SIZE, plan.seed)
    if plan.file is None:
        raise AgentConfigError(f"{plan.images} without a file", where="source.file_sha256", mend="name one")
    return VideoReel(plan.file, size) if plan.images is Images.VIDEO else FolderReel(plan.file, size)


def _checked(plan: ShowPlan, check: CheckPlan, reel: Reel, references: References, executor: Executors) -> Checked:
    pictures = reel.spread(check.pictures or DEFAULT_CHECKED)
    subject = (plan.images, plan.file and plan.file.name, plan.seed, reel.size, len(pictures), plan.batch_size)

    def make() -> Reference:
        with executor(check.model_sha256) as opened:
            return ask(opened, check, pictures, plan.batch_size)

    key = (check.model_sha256, check.feeds, check.answer, check.transform, *subject)
    return Checked(references.kept(key, make), [key for key, _ in pictures])


def _where(plan: ShowPlan) -> str:
    return str(plan.images) if plan.file is None else f"{plan.images} {plan.file.name[:12]}"
