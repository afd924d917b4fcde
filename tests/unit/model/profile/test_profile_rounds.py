"""The order in which runs are timed, and what is counted."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from slicebed_agent.model.profile.rounds import EmptyCall, time_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence


class Recorded:
    """Something to run, which writes down that it was."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.collected = name, log, False

    def run(self, arrays: Sequence[Any], /) -> tuple[Any, ...]:
        self.log.append(self.name)
        self.collected = self.collected or gc.isenabled()
        return tuple(arrays)


def record(rounds: int, warmup_rounds: int, seed: int) -> tuple[list[str], list[list[float]]]:
    log: list[str] = []
    runs = [(Recorded(name, log), ()) for name in "abcde"]
    seconds = time_rounds(runs, rounds=rounds, warmup_rounds=warmup_rounds, seed=seed)
    assert not any(each.collected for each, _ in runs)
    return log, seconds


def test_every_round_runs_everything_once_in_an_order_of_its_own() -> None:
    log, seconds = record(rounds=6, warmup_rounds=2, seed=1)
    rounds = [log[place : place + 5] for place in range(0, len(log), 5)]
    assert len(rounds) == 8
    assert all(sorted(each) == list("abcde") for each in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert [len(each) for each in seconds] == [6] * 5
    assert all(spent > 0 for each in seconds for spent in each)


def test_a_seed_is_an_order() -> None:
    assert record(4, 0, seed=1)[0] == record(4, 0, seed=1)[0] != record(4, 0, seed=2)[0]


def test_the_collector_is_on_again_even_after_an_error() -> None:
    class Broken:
        def run(self, arrays: Sequence[Any], /) -> tuple[Any, ...]:
            raise ValueError("broken")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"):
        time_rounds([(Broken(), ())], rounds=1, warmup_rounds=0, seed=0)
    assert gc.isenabled()


def test_an_empty_call_hands_its_array_through() -> None:
    with contextlib.closing(EmptyCall()) as call:
        np.testing.assert_array_equal(call.run(call.arrays)[0], call.arrays[0])
