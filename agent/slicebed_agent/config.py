"""The edge of the agent: what Prepare asks for, checked and turned into the pipeline's plan."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.held import Cut
from slicebed_agent.model.reference import Images
from slicebed_agent.pipeline.contracts import DEFAULT_PART_BYTES, RunPlan, SourcePlan
from slicebed_agent.pipeline.parts import MAX_PART_BYTES
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_PLACES: Final = 1_000_000
_MAX_TENSORS: Final = 256
_MAX_BATCH: Final = 65536
_IMAGES: Final = {agent_pb2.IMAGES_DIGITS: Images.DIGITS, agent_pb2.IMAGES_RANDOM: Images.RANDOM}


@dataclasses.dataclass(frozen=True)
class Subject:
    """What the camera shows, and the tensor of the whole model that the chain's answers are held against."""

    images: Images
    answer: str


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A checked `RunConfig`: the pipeline's plan, and what the other floors need.

    Attributes:
        plan: the pipeline's.
        cut: which slice of which model.
        subject: of the camera; the first agent only.
        next_address: host:port of the next agent's Data; None on the last agent.
        warm_batch: frames at a time when the slice is made ready.
    """

    plan: RunPlan
    cut: Cut
    subject: Subject | None
    next_address: str | None
    warm_batch: int


def read(message: agent_pb2.RunConfig, host: str) -> Assignment:
    """Check what Prepare asks of this agent; whether the model has such tensors is left to it.

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
    return Assignment(
        plan=plan,
        cut=Cut(
            model_sha256(message.model_sha256, "model_sha256"),
            _tensors("feeds", message.feeds),
            _tensors("fetches", message.fetches),
        ),
        subject=_subject(message.source) if source is not None else None,
        next_address=message.next_address or None,
        warm_batch=_within("warm_batch", message.warm_batch, 0, _MAX_BATCH) or (source.batch_size if source else 1),
    )


def model_sha256(value: str, field: str) -> str:
    """A model file's hash.

    Raises:
        AgentConfigError: it is none.
    """
    if not _SHA256.fullmatch(value):
        raise _wrong(field, repr(value[:80]), "the SHA-256 of a frozen graph, 64 hexadecimal digits in lower case")
    return value


def model_file(message: agent_pb2.ModelFile) -> tuple[str, int]:
    """Hash and size of an announced model file.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    if not message.size_bytes:
        raise _wrong("size_bytes", 0, "1 or more")
    return model_sha256(message.sha256, "sha256"), message.size_bytes


def _tensors(field: str, names: Iterable[str]) -> tuple[str, ...]:
    found = tuple(names)
    if not 1 <= len(found) <= _MAX_TENSORS:
        raise _wrong(field, f"{len(found)} tensors", f"1..{_MAX_TENSORS}")
    return found


def _subject(message: agent_pb2.SourceConfig) -> Subject:
    images = _IMAGES.get(message.images)
    if images is None:
        raise _wrong("source.images", message.images, "IMAGES_DIGITS or IMAGES_RANDOM")
    if not message.answer:
        raise _wrong("source.answer", repr(message.answer), "the tensor that answers are held against, as `operator:k`")
    return Subject(images, message.answer)


def _source(message: agent_pb2.SourceConfig) -> SourcePlan:
    rate = message.frames_per_s
    if not (math.isfinite(rate) and rate > 0):
        raise _wrong("source.frames_per_s", rate, "a positive number")
    return SourcePlan(
        frames=_within("source.frames", message.frames, 1, 2**32 - 1),
        frames_per_s=rate,
        batch_size=_within("source.batch_size", message.batch_size, 1, _MAX_BATCH),
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
