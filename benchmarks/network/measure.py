"""The experiments: every way does the same thing in every round, in an order that changes from round to round."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.network import wishes
from benchmarks.network.room import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.network.room import Room
    from benchmarks.network.ways import Asked, Way

PACKETS_PER_S = 5000
_SETTLE_S = 0.3
_BETWEEN_S = 0.05
_LONGEST_S = 60.0
_QUIET_WINDOW_S = 1.5
# The share of the flow that must have met the shaped class, or the loss counted is not of a shaped link.
_MUST_BE_SHAPED = 0.9


@dataclass
class Timed:
    """How long one way took in every round, the exit codes it gave, and what it left in the kernel."""

    seconds: list[float] = field(default_factory=list)
    failed_codes: int = 0
    codes: int = 0
    said: str = ""
    complete: bool = True


@dataclass
class Flowed:
    """What a steady flow met while one way acted, over all rounds; one entry per round in the lists."""

    acts: int = 0
    lost_per_act: list[float] = field(default_factory=list)
    announced_per_act: list[float] = field(default_factory=list)
    writes_per_act: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    lost: int = 0
    receiver_drops: int = 0
    flowed_s: float = 0.0
    window_lost: int = 0


class Stage:
    """Where the ways act: one room, with somebody told what is going on."""

    def __init__(self, room: Room, note: Callable[[str], None]) -> None:
        self._room, self._note = room, note

    def from_nothing(self, ways: Sequence[Way], asked: Asked, rounds: int) -> dict[str, Timed]:
        """Time each way from a bare device to all conditions in place.

        Returns:
            By the name of the way; `complete` is False when the kernel held fewer classes than were asked.
        """
        found = {way.name: Timed() for way in ways}
        for turn in _rounds(rounds):
            for way in _shuffled(ways, turn):
                self._note(f"{len(asked):,} destinations from nothing, round {turn + 1} of {rounds}: {way.name}")
                self._room.bare()
                way.fresh()
                done = way.apply(asked)
                timed = found[way.name]
                timed.seconds.append(done.seconds)
                timed.codes += len(done.codes)
                timed.failed_codes += sum(code != 0 for code in done.codes)
                timed.said = done.said
                timed.complete &= self._room.classes() >= len(asked)
        self._room.bare()
        return found

    def quiet(self, shape: Way | None, asked: Asked, rounds: int) -> Flowed:
        """Send the flow while nobody does anything: what is lost here is the generator's or the machine's.

        Args:
            shape: who shapes the device beforehand; None leaves it bare.
            asked: the destinations; the flow goes to the first.
            rounds: how many windows of 1.5 s.
        """
        met = Flowed()
        for _ in range(rounds):
            self._prepare(shape, asked)
            with self._flowing(asked, met, shaped=shape is not None):
                time.sleep(_QUIET_WINDOW_S)
            met.acts += 1
            met.lost_per_act.append(met.window_lost)
        self._room.bare()
        return met

    def acting(self, acts: Mapping[Way, int], asked: Asked, rounds: int, *, changing: bool) -> dict[str, Flowed]:
        """Re-apply the same, or change the first link to and fro, while the flow goes to that link's far end.

        Args:
            acts: how often each way acts in one round.
            asked: the destinations.
            rounds: how many rounds.
            changing: change the first destination's condition at each act; else ask for the very same again.
        """
        found = {way.name: Flowed() for way in acts}
        observer = self._room.observer()
        what = "change" if changing else "re-apply"
        for turn in _rounds(rounds):
            for way in _shuffled(tuple(acts), turn):
                self._note(f"{what} under load, round {turn + 1} of {rounds}: {way.name}")
                met, times = found[way.name], acts[way]
                self._prepare(way, asked)
                with self._flowing(asked, met, shaped=True):
                    observer.ask()
                    writes = sum(_acts(way, times, asked, met, changing=changing))
                    announced = observer.ask()["announced"]
                met.acts += times
                met.announced_per_act.append(announced / times)
                met.writes_per_act.append(writes / times)
                met.lost_per_act.append(met.window_lost / times)
        observer.close()
        self._room.bare()
        return found

    def _prepare(self, way: Way | None, asked: Asked) -> None:
        self._room.bare()
        if way is None:
            return
        way.fresh()
        done = way.apply(asked)
        # EnosLib's chain goes on after a refusal, and its exit code is that of its last command.
        if any(done.codes) and not way.name.startswith("EnosLib"):
            raise BenchmarkError(f"{way.name} could not shape the link: {done.said}")

    @contextlib.contextmanager
    def _flowing(self, asked: Asked, met: Flowed, *, shaped: bool) -> Iterator[None]:
        with contextlib.closing(self._room.flow(asked[0].address, PACKETS_PER_S)) as flow:
            time.sleep(_SETTLE_S)
            if shaped:
                _require_shaped(self._room)
            yield
            time.sleep(_SETTLE_S)
            counted = flow.stop()
        met.sent += counted["sent"]
        met.lost += counted["lost"]
        met.window_lost = counted["lost"]
        met.receiver_drops += counted["buffer_errors"]
        met.flowed_s += counted["seconds"]


def _acts(way: Way, times: int, asked: Asked, met: Flowed, *, changing: bool) -> Iterator[int]:
    for number in range(times):
        before, after = (wishes.with_first_changed(asked, turn) for turn in (number + 1, number))
        done = way.change(before, after) if changing else way.again(asked)
        met.seconds.append(done.seconds)
        yield done.writes or 0
        time.sleep(_BETWEEN_S)


def _require_shaped(room: Room) -> None:
    root = next((each for each in room.qdiscs() if each["kind"] == "htb"), None)
    if root is None:
        raise BenchmarkError("the device is not shaped by HTB: the flow would show nothing")
    direct = root["options"]["direct_packets_stat"]
    if not root["packets"] or direct > (1 - _MUST_BE_SHAPED) * root["packets"]:
        raise BenchmarkError(f"{direct} of {root['packets']} packets of the flow met no class")


def _rounds(rounds: int) -> Iterator[int]:
    # A busy machine does fewer rounds instead of taking all day; what is printed says how many there were.
    begin = time.monotonic()
    for turn in range(rounds):
        if turn and time.monotonic() - begin > _LONGEST_S:
            return
        yield turn


def _shuffled(ways: Sequence[Way], turn: int) -> list[Way]:
    order = list(ways)
    random.Random(turn).shuffle(order)  # noqa: S311 - an order of runs, not a secret
    return order
