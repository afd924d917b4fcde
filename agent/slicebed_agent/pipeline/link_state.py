"""What a link says of itself while a run goes on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slicebed_agent.pipeline.codecs import Codec


@dataclasses.dataclass(frozen=True)
class LinkState:
    """Totals of a link since the run was prepared, and what is known of it now; the proto's `LinkStatus`."""

    next_host: str
    connected: bool
    frames: int
    dropped: int
    failed: int
    queued: int
    bytes_before: int
    bytes_after: int
    encode_ns: int
    send_ns: int
    round_trip_ns: int
    clock_offset_ns: int
    clock_bound_ns: int
    rate_bit_per_s: int
    codec: Codec | None
    reconnects: int


@dataclasses.dataclass(slots=True)
class Totals:
    """Sums over the frames that a link was done with."""

    frames: int = 0
    dropped: int = 0
    failed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    encode_ns: int = 0
    send_ns: int = 0
    codec: Codec | None = None
