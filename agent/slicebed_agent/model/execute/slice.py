"""What runs between two boundaries of a model."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slicebed_agent.errors import AgentError, PayloadError
from slicebed_agent.model.execute.memory import settle, trim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.execute.session import Session
    from slicebed_agent.model.execute.tensors import Array


@dataclass(frozen=True, slots=True)
class Boundary:
    """A tensor that enters or leaves a slice.

    Attributes:
        name: ``operator:k``.
        dtype: of its arrays.
        shape: of its arrays; None in it is a dimension that may be anything, the batch; None for any shape at all.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        """As an error shows it."""
        shown = "any" if self.shape is None else ", ".join("B" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} ({shown})"

    def takes(self, array: Array) -> bool:
        """Whether an array fits."""
        if array.dtype != self.dtype:
            return False
        if self.shape is None:
            return True
        return len(array.shape) == len(self.shape) and all(
            found > 0 if size is None else found == size for found, size in zip(array.shape, self.shape, strict=True)
        )

    def blank(self, batch: int) -> Array:
        """Zeros for so many frames.

        Raises:
            AgentError: more than the first dimension is open.
        """
        if self.shape is None or None in self.shape[1:]:
            raise AgentError(
                f"the shape of {self.name} is not known ({self})", where="slice", mend="give an example of its arrays"
            )
        return np.zeros(tuple(batch if size is None else size for size in self.shape), self.dtype)


class Slice:
    """A prepared part of a model; any thread may run it, also several at once.

    Attributes:
        feeds: what `run` takes, in this order.
        fetches: what it returns, in this order.
        weights_bytes: of the constants it uses, which it shares with other slices of its executor.
    """

    def __init__(
        self,
        feeds: tuple[Boundary, ...],
        fetches: tuple[Boundary, ...],
        session: Session | None,
        weights_bytes: int,
        where: str,
    ) -> None:
        """Take over a session that computes the fetches which are not fed; None where all of them are."""
        self.feeds, self.fetches, self.weights_bytes = feeds, fetches, weights_bytes
        self._session, self._where = session, where
        self._names = [boundary.name for boundary in feeds]
        self._computed = list(dict.fromkeys(each.name for each in fetches if each.name not in self._names))
        self._idle = threading.Condition()
        self._running = 0
        self._released = False

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Compute the slice.

        Args:
            arrays: one per feed, in their order; nobody may write to them meanwhile.

        Returns:
            One array per fetch, read-only.

        Raises:
            PayloadError: wrong number of arrays, or one has another dtype or shape.
            AgentError: the slice was released, or TensorFlow cannot compute it.
        """
        self._check(arrays)
        with self._idle:
            if self._released:
                raise AgentError("the slice was released", where=self._where, mend="prepare it again")
            self._running += 1
        try:
            values = dict(zip(self._names, arrays, strict=True))
            if self._session is not None:
                values.update(zip(self._computed, self._session.run(arrays), strict=True))
            return tuple(values[boundary.name] for boundary in self.fetches)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _check(self, arrays: Sequence[Array]) -> None:
        mend = "check that the neighbours were prepared with the same cut"
        if len(arrays) != len(self.feeds):
            raise PayloadError(
                f"got {len(arrays)} tensors, the slice takes {len(self.feeds)}", where=self._where, mend=mend
            )
        for array, boundary in zip(arrays, self.feeds, strict=True):
            if not boundary.takes(array):
                raise PayloadError(
                    f"got {array.dtype} {array.shape} for {boundary.name}, which is {boundary}",
                    where=self._where,
                    mend=mend,
                )

    def warm(self, batch: int = 1, example: Sequence[Array] | None = None) -> None:
        """Run until the cost of first use is paid.

        Args:
            batch: frames at a time.
            example: arrays to run on; blank ones by default.

        Raises:
            AgentError: see `run`; or a shape is not known and there is no example.
        """
        arrays = [boundary.blank(batch) for boundary in self.feeds] if example is None else example
        # The first run rewrites the graph and builds kernels; the second sizes their buffers, and brings back
        # what settling dropped and running needs.
        self.run(arrays)
        settle()
        self.run(arrays)

    def release(self) -> None:
        """Free its session once it is idle, and the weights that no other slice uses."""
        with self._idle:
            self._released = True
            self._idle.wait_for(lambda: not self._running)
            session, self._session = self._session, None
        if session is not None:
            session.close()
            del session
            trim()
