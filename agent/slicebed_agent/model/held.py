"""The model that an agent has open, and the slice it has in use."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.execute.executor import Executor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slicebed_agent.model.execute.slice import Boundary, Slice
    from slicebed_agent.model.files import Store

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """Which slice of which model.

    Attributes:
        model_sha256: of the frozen graph's content.
        feeds: tensors (``operator:k``) that the slice is given.
        fetches: tensors that it returns.
    """

    model_sha256: str
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]


class HeldModel:
    """An executor on a file of the store, which nobody cleans away meanwhile."""

    def __init__(self, store: Store, sha256: str) -> None:
        """Open it.

        Raises:
            AgentConfigError: the file is not there, or is no frozen graph.
        """
        if store.get(sha256) is None:
            raise AgentConfigError(f"model {sha256[:12]} is not on this host", mend="copy it: slicebed run does")
        with contextlib.ExitStack() as stack:
            path: Path = stack.enter_context(store.use(sha256))
            self.executor = stack.enter_context(Executor(path))
            self._open = stack.pop_all()
        self.sha256 = sha256
        _LOG.info("model %s opened", sha256[:12])

    def close(self) -> None:
        """Let go of the file; slices that are prepared go on."""
        self._open.close()
        _LOG.info("model %s closed", self.sha256[:12])


class HeldSlice:
    """A prepared slice and the model that it is of."""

    def __init__(self, model: HeldModel, cut: Cut, batch: int) -> None:
        """Prepare it, and run it on blank frames until the cost of first use is paid.

        Raises:
            AgentConfigError: the model has no such tensors, or the fetches need more than the feeds.
            AgentError: TensorFlow refuses it.
        """
        self.model, self.cut = model, cut
        self.slice: Slice = model.executor.prepare(cut.feeds, cut.fetches, batch=batch)
        self._warm = {batch}

    def warm(self, batch: int) -> None:
        """Pay the cost of first use for frames of another size."""
        if batch not in self._warm:
            self.slice.warm(batch)
            self._warm.add(batch)

    def outputs(self) -> tuple[tuple[Boundary, tuple[int, ...]], ...]:
        """Every tensor that leaves it, with the shape of one frame's, the batch dimension left out."""
        fetches = self.slice.fetches
        shapes = [boundary.shape for boundary in fetches]
        if any(shape is None or None in shape[1:] for shape in shapes):
            # TensorFlow cannot tell before it computes them.
            batch = min(self._warm)
            shapes = [array.shape for array in self.slice.run([each.blank(batch) for each in self.slice.feeds])]
        known = [tuple(size for size in (shape or ())[1:] if size is not None) for shape in shapes]
        return tuple(zip(fetches, known, strict=True))


class Held:
    """At most one slice in use; a new one is prepared beside it and takes its place when all else is ready.

    Slices of the same model share the weights that they have in common, also while one replaces the other. One thread
    at a time may change it.
    """

    def __init__(self, store: Store) -> None:
        """Nothing is open yet."""
        self._store = store
        self._current: HeldSlice | None = None

    @contextlib.contextmanager
    def change(self, cut: Cut, batch: int) -> Iterator[HeldSlice]:
        """Prepare a slice, or take the one in use when it is the same; the block then puts it to work.

        When the block ends the former slice is let go; when it fails, the new one is, and the former stays.

        Args:
            cut: which slice.
            batch: frames at a time.

        Raises:
            AgentConfigError: the model is not on this host, is no frozen graph, or has no such slice.
            AgentError: TensorFlow refuses it.
        """
        former = self._current
        if former is not None and former.cut == cut:
            former.warm(batch)
            yield former
            return
        made = self._prepare(cut, batch)
        try:
            yield made
        except BaseException:
            self._let_go(made, former)
            raise
        self._current = made
        self._let_go(former, made)

    def close(self) -> None:
        """Let go of everything, once the frame in hand is computed."""
        former, self._current = self._current, None
        self._let_go(former, None)

    def _prepare(self, cut: Cut, batch: int) -> HeldSlice:
        former = self._current
        if former is not None and former.model.sha256 == cut.model_sha256:
            return HeldSlice(former.model, cut, batch)
        model = HeldModel(self._store, cut.model_sha256)
        try:
            return HeldSlice(model, cut, batch)
        except BaseException:
            model.close()
            raise

    def _let_go(self, gone: HeldSlice | None, stays: HeldSlice | None) -> None:
        if gone is None:
            return
        gone.slice.release()
        if stays is None or stays.model is not gone.model:
            gone.model.close()
