"""Arrays over 50 Mbit/s and 42 ms there and back, against what the link's goodput and delay allow."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.pipeline.lab_link import GOODPUT_SHARE, ONE_WAY_S, RATE_BIT_PER_S, cross, say

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES_BYTES: Final = (500_000, 2_000_000, 5_000_000, 13_000_000)
IDLE_S: Final = 2.0
WARM_UP: Final = 3


@dataclass(frozen=True)
class Transfer:
    """One array on its way.

    Attributes:
        size_bytes: of its values.
        idle: the link had carried nothing for two seconds.
        seconds: from the first byte handed to the transport until the receiver holds the array.
    """

    size_bytes: int
    idle: bool
    seconds: float

    @property
    def ideal_s(self) -> float:
        """At the link's goodput, and one way's delay."""
        return 8 * self.size_bytes / (RATE_BIT_PER_S * GOODPUT_SHARE) + ONE_WAY_S


def transfers(rounds: int, note: Callable[[str], None]) -> list[Transfer]:
    """Send every size in every round, warm and after two idle seconds.

    Raises:
        BenchmarkError: a lab is up already, or the lab cannot be made.
    """
    sent, arrived = cross("benchmarks.pipeline.shaped", [str(rounds)], note)
    return [
        Transfer(each["size_bytes"], each["idle"], (arrived[each["frame_id"]] - each["sent_ns"]) / 1e9) for each in sent
    ]


def array(size_bytes: int) -> Any:
    """Values that nothing makes shorter."""
    return np.random.default_rng(size_bytes).standard_normal(size_bytes // 4).astype(np.float32)


def _send(address: str, folder: Path, rounds: int) -> None:
    from benchmarks.pipeline.ends import Sender  # noqa: PLC0415 - as above

    sent = []
    with Sender(address, folder) as sender:
        for _ in range(WARM_UP):
            sender.send(array(SIZES_BYTES[-1]))
        for _ in range(rounds):
            for idle in (False, True):
                for size in SIZES_BYTES:
                    time.sleep(IDLE_S if idle else 0.0)
                    frame = sender.send(array(size))
                    told = {"frame_id": frame.frame_id, "sent_ns": frame.sent_ns}
                    sent.append({**told, "size_bytes": size, "idle": idle})
    say(sent)


def plain(found: list[Transfer]) -> list[dict[str, Any]]:
    """For the file of raw figures."""
    return [asdict(each) for each in found]


if __name__ == "__main__":
    _send(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
