"""Pictures as a camera's film: drawn ahead, and checked where the whole model was asked about them."""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.media.ahead import Ahead
from slicebed_agent.model.reference import Pool, Reference

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from slicebed_agent.media.plan import CheckPlan
    from slicebed_agent.media.reel import Reel, Shown
    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.reference import Agreement
    from slicebed_agent.pipeline.contracts import Tensors

DEFAULT_CHECKED: Final = 8
_AHEAD: Final = 24
_AHEAD_BYTES: Final = 64 * 1024 * 1024
_READY_S: Final = 10.0
# Checked frames that may be under way at a time; those that were dropped are never judged, and forgotten so.
_REMEMBERED: Final = 4096

Batch = tuple[tuple[int, ...], npt.NDArray[np.uint8]]
"""What its pictures are known by, and the pictures."""


class PictureShow:
    """Frames of consecutive pictures, again from the first one when a reel is over, as often as was asked for.

    Attributes:
        frame_bytes: of a frame's pictures.
    """

    def __init__(self, reel: Reel, batch: int, loops: int, where: str, whole: Checked | None) -> None:
        """Begin to draw ahead, and return when as much is ready as is kept so.

        Args:
            reel: the pictures.
            batch: pictures in a frame.
            loops: how often they are shown; 0: without end.
            where: what they are of, for errors.
            whole: what the whole model says about some of them; None where nobody checks.
        """
        height, width = reel.size
        self.frame_bytes = batch * height * width * 3
        places = max(2, min(_AHEAD, _AHEAD_BYTES // self.frame_bytes))
        self._batches = Ahead(_batches(reel, batch, loops, where), places, where)
        self._batches.wait_ready(_READY_S)
        self._whole = whole
        self._next = 0
        self._drawn: collections.OrderedDict[int, npt.NDArray[np.intp]] = collections.OrderedDict()

    def draw(self, frame_id: int) -> Tensors | None:
        """The frame's pictures; those of numbers that were left out are not shown."""
        while True:
            batch = self._batches.take()
            if batch is None:
                return None
            self._next += 1
            if self._next > frame_id:
                break
        keys, pictures = batch
        if self._whole is not None:
            numbers = self._whole.numbers(keys)
            if (numbers >= 0).any():
                self._drawn[frame_id] = numbers
                if len(self._drawn) > _REMEMBERED:
                    self._drawn.popitem(last=False)
        return (pictures,)

    def judge(self, frame_id: int, answer: bytes, exit_name: str) -> Agreement | None:
        """Of the frame's pictures, those that the whole model was asked about are compared."""
        numbers = self._drawn.pop(frame_id, None)
        if self._whole is None or numbers is None:
            return None
        return self._whole.reference.compare(numbers, answer, early=bool(exit_name))

    def close(self) -> None:
        """End the thread, which closes the file."""
        self._batches.close()


class Checked:
    """The whole model's answers to some pictures of a reel."""

    def __init__(self, reference: Reference, keys: Sequence[int]) -> None:
        """Take the reference, whose pool begins with the pictures of these keys."""
        self.reference = reference
        self._numbers: Mapping[int, int] = {key: number for number, key in enumerate(keys)}

    def numbers(self, keys: Sequence[int]) -> npt.NDArray[np.intp]:
        """Of each picture its number in the pool; -1 where it is not in it."""
        return np.array([self._numbers.get(key, -1) for key in keys], np.intp)


def ask(executor: Executor, check: CheckPlan, pictures: Sequence[Shown], batch: int) -> Reference:
    """Ask the whole model about pictures.

    Raises:
        AgentConfigError: it is not fed pictures, not such ones, or not so many at a time.
        AgentError: it cannot be run.
    """
    if check.transform is None:
        raise AgentConfigError("none", where="source.check.transform", mend="pictures are not what a model is fed")
    made = np.concatenate([check.transform((picture[None],))[0] for _, picture in pictures])
    feeds = executor.describe(check.feeds)
    # A model computes `batch` pictures at a time, as the chain does: results differ in the last bits otherwise.
    pool = Pool((np.resize(made, (max(batch, len(made)), *made.shape[1:])),), None)
    if len(feeds) != 1 or not feeds[0].takes(pool.images[0][:batch]):
        taken = ", ".join(f"{each.name} {each}" for each in feeds)
        raise AgentConfigError(
            f"the transformer gives float32 {(batch, *made.shape[1:])}, the model takes {taken}",
            where="source.check",
            mend="check the transformer's height, width, channels, and the batch size",
        )
    return Reference(executor, check.feeds, check.answer, pool, batch)


def _batches(reel: Reel, batch: int, loops: int, where: str) -> Generator[Batch]:
    """Full ones only: what is left over begins the first batch of the next round."""
    waiting: list[Shown] = []
    for _ in range(loops) if loops else itertools.count():
        empty = True
        for picture in reel.once():
            empty = False
            waiting.append(picture)
            if len(waiting) == batch:
                yield tuple(key for key, _ in waiting), np.stack([pixels for _, pixels in waiting])
                waiting.clear()
        if empty:
            raise AgentConfigError("no picture in it can be decoded", where=where, mend="check the file")
