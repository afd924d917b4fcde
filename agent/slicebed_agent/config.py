"""The edge of the agent: what Prepare asks for, checked and turned into the pipeline's plan."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.pipeline.contracts import DEFAULT_PART_BYTES, RunPlan, SourcePlan
from slicebed_agent.pipeline.parts import MAX_PART_BYTES

if TYPE_CHECKING:
    from slicebed_agent.rpc.v1 import agent_pb2

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_PLACES: Final = 1_000_000


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A checked `RunConfig`: the pipeline's plan, and what the other floors need."""

    plan: RunPlan
    model: str
    first_layer: int
    last_layer: int
    next_address: str | None
    warm_batch: int


def read(message: agent_pb2.RunConfig, host: str) -> Assignment:
    """Check what Prepare asks of this agent; layer numbers are left to the model.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    if not _NAME.fullmatch(message.run_id):
        raise _wrong("run_id", repr(message.run_id), "letters, digits, '.', '_' and '-', at most 128, as a file name")
    if message.host != host:
        raise _wrong("host", repr(message.host), f"this agent serves {host!r}: check the inventory's addresses")
    if bool(message.next_address) != bool(message.next_host):
        raise _wrong("next_address", repr(message.next_address), "give next_address and next_host, or neither")
    source = _source(message.source) if message.HasField("source") else None
    last = not message.next_address
    plan = RunPlan(
        run_id=message.run_id,
        host=host,
        next_host=message.next_host or None,
        overhead_ratio=_ratio(message.overhead_ratio),
        max_message_bytes=_within("max_message_bytes", message.max_message_bytes, 0, MAX_PART_BYTES)
        or DEFAULT_PART_BYTES,
        inbound_messages=_within("inbound_messages", message.inbound_messages, 1, _MAX_PLACES) if source is None else 1,
        outbound_frames=1 if last else _within("outbound_frames", message.outbound_frames, 1, _MAX_PLACES),
        source=source,
    )
    warm_batch = message.warm_batch or (source.batch_size if source else 1)
    return Assignment(
        plan, message.model, message.first_layer, message.last_layer, message.next_address or None, warm_batch
    )


def _source(message: agent_pb2.SourceConfig) -> SourcePlan:
    rate = message.frames_per_s
    if not (math.isfinite(rate) and rate > 0):
        raise _wrong("source.frames_per_s", rate, "a positive number")
    return SourcePlan(
        frames=_within("source.frames", message.frames, 1, 2**32 - 1),
        frames_per_s=rate,
        batch_size=_within("source.batch_size", message.batch_size, 1, 65536),
        seed=message.seed,
        queue_frames=_within("source.queue_frames", message.queue_frames, 1, _MAX_PLACES),
    )


def _ratio(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise _wrong("overhead_ratio", value, "0 or more")
    return value


def _within(field: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise _wrong(field, value, f"{low}..{high}")
    return value


def _wrong(field: str, value: object, allowed: str) -> AgentConfigError:
    return AgentConfigError(f"{value} is not allowed", where=field, mend=f"allowed: {allowed}")
