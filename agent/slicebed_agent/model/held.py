"""The models that an agent has open, and the slices it has in use."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import logging
import math
import threading
from typing import TYPE_CHECKING

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.behind import behind
from slicebed_agent.model.execute.executor import Executor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from slicebed_agent.model.execute.slice import Boundary, Slice
    from slicebed_agent.model.execute.tensors import Array
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

    def __str__(self) -> str:
        """As a log shows it."""
        return f"model {self.model_sha256[:12]} from {', '.join(self.feeds)} to {', '.join(self.fetches)}"


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

    def __init__(self, model: HeldModel, cut: Cut, batch: int, *, live: bool) -> None:
        """Prepare it, and run it on blank frames until the cost of first use is paid.

        Args:
            model: of which it is a part.
            cut: which part.
            batch: frames at a time.
            live: others compute meanwhile: no memory is given back that running needs, as they would wait for it.

        Raises:
            AgentConfigError: the model has no such tensors, or the fetches need more than the feeds.
            AgentError: TensorFlow refuses it.
        """
        self.model, self.cut = model, cut
        self.slice: Slice = model.executor.prepare(cut.feeds, cut.fetches, warm=False)
        self._warm: set[int] = set()
        try:
            self.warm(batch, live=live)
        except BaseException:
            self.slice.release()
            raise

    def warm(self, batch: int, *, live: bool) -> None:
        """Pay the cost of first use for frames of another size."""
        if batch in self._warm:
            return
        if live:
            blank = [boundary.blank(batch) for boundary in self.slice.feeds]
            # The first run rewrites the graph and builds kernels, the second sizes their buffers. These alone, not the
            # Python before them: what steps back while it holds the interpreter holds up all who wait for that.
            behind(lambda: [self.slice.run(blank) for _ in range(2)])
        else:
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

    def frame_bytes(self) -> int:
        """Of all tensors that leave it for one image."""
        return sum(math.prod(shape) * boundary.dtype.itemsize for boundary, shape in self.outputs())


class Held:
    """Slices in use, by what they are: one that is asked for twice is prepared once, and goes when nobody uses it.

    Slices of the same model share the weights that they have in common. One thread at a time may take and give back.
    """

    def __init__(self, store: Store) -> None:
        """Nothing is open yet."""
        self._store = store
        self._models: dict[str, tuple[HeldModel, int]] = {}
        self._slices: dict[Cut, tuple[HeldSlice, int]] = {}

    def take(self, cut: Cut, batch: int, *, live: bool = False) -> HeldSlice:
        """Prepare a slice, or take the one in use when it is the same.

        Args:
            cut: which slice.
            batch: frames at a time.
            live: frames are under way; see `HeldSlice`.

        Raises:
            AgentConfigError: the model is not on this host, is no frozen graph, or has no such slice.
            AgentError: TensorFlow refuses it.
        """
        found, users = self._slices.get(cut, (None, 0))
        if found is not None:
            found.warm(batch, live=live)
        else:
            model = self._take_model(cut.model_sha256)
            try:
                found = HeldSlice(model, cut, batch, live=live)
            except BaseException:
                self._give_back_model(model)
                raise
        self._slices[cut] = (found, users + 1)
        return found

    def give_back(self, held: HeldSlice) -> None:
        """Use a slice no longer; the last user's end frees it, once the frame in hand is computed."""
        _, users = self._slices[held.cut]
        if users > 1:
            self._slices[held.cut] = (held, users - 1)
            return
        del self._slices[held.cut]
        held.slice.release()
        self._give_back_model(held.model)

    @contextlib.contextmanager
    def executor(self, sha256: str) -> Iterator[Executor]:
        """A model that is open while the block lasts.

        Raises:
            AgentConfigError: it is not on this host, or is no frozen graph.
        """
        model = self._take_model(sha256)
        try:
            yield model.executor
        finally:
            self._give_back_model(model)

    def _take_model(self, sha256: str) -> HeldModel:
        found, users = self._models.get(sha256, (None, 0))
        if found is None:
            found = HeldModel(self._store, sha256)
        self._models[sha256] = (found, users + 1)
        return found

    def _give_back_model(self, model: HeldModel) -> None:
        _, users = self._models[model.sha256]
        if users > 1:
            self._models[model.sha256] = (model, users - 1)
            return
        del self._models[model.sha256]
        model.close()


class Versions:
    """The slices of a run's stages, in every version of the cut that is in use.

    A frame goes through the slice of its own version; where that version changed nothing for a stage, through the one
    before it. Frames may run while one thread adds and lets go.
    """

    def __init__(self, held: Held) -> None:
        """None yet."""
        self._held = held
        self._lock = threading.Lock()
        self._stages: dict[str, list[tuple[int, HeldSlice]]] = {}

    def add(self, version: int, cuts: Mapping[str, Cut], batch: int, *, live: bool = False) -> dict[str, HeldSlice]:
        """Prepare the slices of a version beside those in use; all of them or none.

        Args:
            version: larger than any before.
            cuts: by the stage's name.
            batch: frames at a time in the warm-up.
            live: frames are under way; see `HeldSlice`.

        Raises:
            AgentConfigError: see `Held.take`; the message names the stage.
            AgentError: TensorFlow refuses one.
        """
        made: dict[str, HeldSlice] = {}
        try:
            for stage, cut in cuts.items():
                try:
                    made[stage] = self._held.take(cut, batch, live=live)
                except AgentError as error:
                    error.where = stage if error.where is None else f"{stage}: {error.where}"
                    raise
        except BaseException:
            for held in made.values():
                self._held.give_back(held)
            raise
        with self._lock:
            for stage, held in made.items():
                self._stages.setdefault(stage, []).append((version, held))
        return made

    def run(self, stage: str, version: int, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """Compute a stage's slice in this version.

        Raises:
            PayloadError: the arrays are not what it takes.
            AgentError: there is no such version here, any more or yet; TensorFlow cannot compute it.
        """
        with self._lock:
            versions = self._stages[stage]
            place = bisect.bisect_right(versions, version, key=lambda each: each[0])
            if place == 0:
                raise AgentError(f"version {version} of the cut is not on this host", where=stage)
            held = versions[place - 1][1]
        return held.slice.run(arrays)

    def release_before(self, version: int) -> None:
        """Let go of what only frames of earlier versions went through."""
        with self._lock:
            gone = []
            for stage, versions in self._stages.items():
                place = bisect.bisect_right(versions, version, key=lambda each: each[0])
                keep = max(0, place - 1)
                gone += versions[:keep]
                self._stages[stage] = versions[keep:]
        self._give_back(gone)

    def release(self, version: int) -> None:
        """Let go of what was prepared for this version alone."""
        with self._lock:
            gone = [each for versions in self._stages.values() for each in versions if each[0] == version]
            for stage, versions in self._stages.items():
                self._stages[stage] = [each for each in versions if each[0] != version]
        self._give_back(gone)

    def close(self) -> None:
        """Let go of everything, once the frames in hand are computed."""
        with self._lock:
            gone = [each for versions in self._stages.values() for each in versions]
            self._stages = {stage: [] for stage in self._stages}
        self._give_back(gone)

    def _give_back(self, gone: list[tuple[int, HeldSlice]]) -> None:
        for _, held in gone:
            self._held.give_back(held)
