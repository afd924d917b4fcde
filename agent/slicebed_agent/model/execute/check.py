"""Is a chain of slices the whole model? Every cut is run on the same frame and compared with the whole."""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slicebed_agent.model.execute.executor import Executor
    from slicebed_agent.model.execute.slice import Boundary
    from slicebed_agent.model.execute.tensors import Array
    from slicebed_agent.model.graph import SplitPoint

Item = TypeVar("Item")
TOLERANCE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class CutCheck:
    """One cut's chain of slices against the whole.

    Attributes:
        cut: names of its split points.
        tensors: what crosses each of them.
        max_abs: largest difference in any output.
        max_rel: that difference in relation to the largest value of the whole's same output.
        bit_exact: whether nothing differs at all.
        same_label: whether every frame's largest value stands at the same place.
        refused: why the chain did not run; then the figures above are None.
    """

    cut: tuple[str, ...]
    tensors: tuple[tuple[str, ...], ...]
    max_abs: float | None = None
    max_rel: float | None = None
    bit_exact: bool | None = None
    same_label: bool | None = None
    refused: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it ran and is equal, to the last bit or within `TOLERANCE`."""
        return self.max_rel is not None and self.max_rel <= TOLERANCE


def check_cuts(
    executor: Executor,
    ends: tuple[Sequence[str], Sequence[str]],
    cuts: Iterable[Sequence[SplitPoint]],
    *,
    seed: int = 0,
    batch: int = 1,
) -> Iterator[CutCheck]:
    """Run each cut's chain of slices and compare its outputs with the whole model's.

    Args:
        executor: of the model.
        ends: names of the model's input tensors, and of its output tensors.
        cuts: each the split points of one cut, from the model's input to its output.
        seed: of the frame.
        batch: frames in it.

    Yields:
        One row per cut, in their order, as soon as it is known.

    Raises:
        AgentError: the whole model does not run on the frame, or its outputs are not finite numbers.
    """
    inputs, outputs = ends
    frame = tuple(seeded_frame(boundary, seed, batch) for boundary in executor.describe(inputs))
    whole = executor.prepare(inputs, outputs, warm=False)
    try:
        expected = whole.run(frame)
    finally:
        whole.release()
    for name, array in zip(outputs, expected, strict=True):
        if not np.all(np.isfinite(array)):
            raise AgentError(
                f"{name} is not finite on the frame of seed {seed}", where="check", mend="check the weights"
            )
    for cut in cuts:
        yield _check(executor, ends, cut, frame, expected)


def sample(cuts: Sequence[Item], count: int, seed: int) -> list[Item]:
    """So many of the cuts (all, if there are not more), drawn by a seed, in their order."""
    places = sorted(random.Random(seed).sample(range(len(cuts)), min(count, len(cuts))))  # noqa: S311 # no secret
    return [cuts[place] for place in places]


def seeded_frame(boundary: Boundary, seed: int, batch: int) -> Array:
    """An input that every host draws alike: standard normal, bools, bytes from 0 up, of wider whole numbers 0 to 9.

    Raises:
        AgentError: more than the first dimension is open.
    """
    blank = boundary.blank(batch)
    words = hashlib.sha256(boundary.name.encode()).digest()[:8]
    generator = np.random.default_rng([seed, int.from_bytes(words, "little")])
    if blank.dtype == np.bool_:
        return generator.integers(0, 2, blank.shape).astype(np.bool_)
    if np.issubdtype(blank.dtype, np.integer):
        # A byte is a colour; anything wider is rather an index, into a table that has ten rows if any has.
        end = np.iinfo(blank.dtype).max + 1 if blank.dtype.itemsize == 1 else 10
        return generator.integers(0, end, blank.shape).astype(blank.dtype)
    return generator.standard_normal(blank.shape).astype(blank.dtype)


def _check(
    executor: Executor,
    ends: tuple[Sequence[str], Sequence[str]],
    cut: Sequence[SplitPoint],
    frame: tuple[Array, ...],
    expected: tuple[Array, ...],
) -> CutCheck:
    names = tuple(point.name for point in cut)
    crossing = tuple(tuple(tensor.name for tensor in point.tensors) for point in cut)
    boundaries = [tuple(ends[0]), *crossing, tuple(ends[1])]
    arrays = frame
    try:
        for feeds, fetches in itertools.pairwise(boundaries):
            part = executor.prepare(feeds, fetches, warm=False)
            try:
                arrays = part.run(arrays)
            finally:
                part.release()
    except AgentError as error:
        return CutCheck(names, crossing, refused=str(error))
    return _compare(CutCheck(names, crossing), arrays, expected)


def _compare(row: CutCheck, found: Sequence[Array], expected: Sequence[Array]) -> CutCheck:
    max_abs = max_rel = 0.0
    exact = same = True
    for one, two in zip(found, expected, strict=True):
        if one.shape != two.shape or one.dtype != two.dtype:
            return CutCheck(row.cut, row.tensors, refused=f"{one.dtype} {one.shape} instead of {two.dtype} {two.shape}")
        exact = exact and one.tobytes() == two.tobytes()
        wide = np.complex128 if np.iscomplexobj(two) else np.float64
        difference = float(np.max(np.abs(one.astype(wide) - two.astype(wide)), initial=0.0))
        scale = float(np.max(np.abs(two.astype(wide)), initial=0.0))
        max_abs = max(max_abs, difference)
        # A difference from nothing but zeros is infinite, and NaN (never equal) is not hidden by max().
        relative = 0.0 if difference == 0 else difference / scale if scale else float("inf")
        max_rel = relative if not relative <= max_rel else max_rel
        if two.ndim and two.shape[-1] and not np.iscomplexobj(two):
            same = same and bool(np.array_equal(one.argmax(axis=-1), two.argmax(axis=-1)))
    return CutCheck(row.cut, row.tensors, max_abs, max_rel, exact, same)
