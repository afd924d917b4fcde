"""How long frames took from host to host, by two clocks whose offset was measured."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.run.accounts import HostAccount, Record


@dataclass(frozen=True)
class Crossing:
    """From the moment a host began to send a frame until the next one had all of it, and how far that may be off."""

    ms: float
    bound_ms: float


def transfers(chain: Sequence[str], accounts: Mapping[str, HostAccount]) -> dict[tuple[str, int], Crossing]:
    """The transfers of every frame, by the sending host and the frame; none where no clock was measured."""
    found = {}
    for sender, receiver in pairwise(chain):
        clock = [line for line in accounts[sender].notes.get("clock", ()) if line.get("next_host") == receiver]
        times = [int(line["at_ns"]) for line in clock]
        for frame_id, line in accounts[receiver].frames.items():
            sent_ns, received_ns = line.get("upstream_sent_ns"), line.get("received_ns")
            if not clock or sent_ns is None or received_ns is None:
                continue
            nearest = _nearest(times, sent_ns)
            whole_ns = received_ns + (line.get("receive_ns") or 0)
            found[sender, frame_id] = _crossing(whole_ns - sent_ns, clock[nearest])
    return found


def _crossing(elapsed_ns: int, clock: Record) -> Crossing:
    return Crossing((elapsed_ns - clock["offset_ns"]) / 1e6, clock["bound_ns"] / 1e6)


def _nearest(times: Sequence[int], at: int) -> int:
    """Index of the time that is nearest."""
    after = bisect_left(times, at)
    if after == 0:
        return 0
    if after == len(times):
        return after - 1
    return after if times[after] - at < at - times[after - 1] else after - 1
