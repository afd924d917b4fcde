"""Runs the whole model and its parts by turns, and takes the time of each."""

from __future__ import annotations

import contextlib
import gc
import random
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from slicebed_agent.model.execute import encode, tensors
from slicebed_agent.model.execute.session import Session, TensorFlowGraph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slicebed_agent.model.execute.tensors import Array


class Runnable(Protocol):
    """What is timed: a prepared `Slice`, or an `EmptyCall`."""

    def run(self, arrays: Sequence[Array], /) -> tuple[Array, ...]:
        """Compute."""


class EmptyCall:
    """A call of TensorFlow that does nothing: hands one number through.

    Attributes:
        arrays: what `run` takes.
    """

    def __init__(self) -> None:
        """Open a session for it.

        Raises:
            AgentError: TensorFlow is missing.
        """
        self.arrays = (np.zeros(1, np.float32),)
        code = tensors.code_of(self.arrays[0].dtype)
        graph_def = encode.placeholder("entrance", code, (None,)) + encode.node(
            "exit", "Identity", ("entrance:0",), {"T": encode.dtype_attribute(code)}
        )
        self._session = Session(TensorFlowGraph(graph_def, "profile"), ("entrance:0",), ("exit:0",), {})

    def run(self, arrays: Sequence[Array], /) -> tuple[Array, ...]:
        """Hand the array through."""
        return self._session.run(arrays)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def time_rounds(
    runs: Sequence[tuple[Runnable, tuple[Array, ...]]], *, rounds: int, warmup_rounds: int, seed: int
) -> list[list[float]]:
    """Seconds of each run in each round.

    Every round runs everything once, in an order of its own: what the machine does meanwhile, its clock and its heat,
    falls on all alike, and no part is always behind the same neighbour.

    Args:
        runs: what is timed, each with the arrays that it is given.
        rounds: how many are counted.
        warmup_rounds: how many go before them and are not.
        seed: of the orders.

    Returns:
        For each run, in their order, one time per counted round.

    Raises:
        AgentError: TensorFlow refuses to run one.
    """
    shuffler = random.Random(seed)  # noqa: S311 - no secret
    seconds: list[list[float]] = [[] for _ in runs]
    order = list(range(len(runs)))
    with _no_collection():
        for number in range(warmup_rounds + rounds):
            shuffler.shuffle(order)
            for place in order:
                part, arrays = runs[place]
                begin = time.perf_counter()
                part.run(arrays)
                spent = time.perf_counter() - begin
                if number >= warmup_rounds:
                    seconds[place].append(spent)
    return seconds


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Python's collector would stop whichever run it happens to fall on."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
