"""Asked for a delay: what each way reports, and what the kernel and a packet's round trip say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.network.room import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.network.room import Room
    from benchmarks.network.ways import Asked, Way

_PINGS = 10
_RTT = re.compile(r"= [\d.]+/(?P<mean>[\d.]+)/")


@dataclass(frozen=True)
class Answer:
    """What one way said, and what was there afterwards.

    Attributes:
        name: the way.
        codes: its exit codes.
        said: its last line of error.
        qdiscs: kinds that the kernel held on the device, without repetition.
        rtt_ms: mean round trip to the first destination.
    """

    name: str
    codes: tuple[int, ...]
    said: str
    qdiscs: tuple[str, ...]
    rtt_ms: float


def kernel_has_netem(room: Room) -> bool:
    """Whether the kernel delays packets: by trial on the room's own device, not from a list of modules."""
    ran = room.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    if ran.codes == (0,):
        room.run(["tc", "qdisc", "delete", "dev", "lo", "root"])
    return ran.codes == (0,)


def answers(room: Room, ways: Sequence[Way], asked: Asked) -> list[Answer]:
    """Ask each way for the delays from a bare device."""
    found = []
    for way in ways:
        room.bare()
        way.fresh()
        done = way.apply(asked)
        kinds = tuple(dict.fromkeys(each["kind"] for each in room.qdiscs()))
        found.append(Answer(way.name, done.codes, done.said, kinds, round_trip_ms(room, asked[0].address)))
    room.bare()
    return found


def round_trip_ms(room: Room, address: str) -> float:
    """Mean round trip of ten pings.

    Raises:
        BenchmarkError: none came back.
    """
    ran = room.run(["ping", "-n", "-q", "-i", "0.05", "-c", str(_PINGS), address], output=True)
    found = _RTT.search(ran.output)
    if found is None:
        raise BenchmarkError(f"ping {address}: {json.dumps(ran.output)}")
    return float(found["mean"])
