"""Words shared by the pipeline's parts: what a run asks for, a frame on its way, and how it ends."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy.typing as npt

Tensor = npt.NDArray[Any]
Tensors = tuple[Tensor, ...]
"""What crosses between two slices, or enters the first one: one tensor or several, in the order of the cut."""
Encode = Callable[[Tensors], bytes]
Decode = Callable[[bytes], Tensors]
Compute = Callable[[Tensors], Tensors]

DEFAULT_PART_BYTES: Final = 1024 * 1024
"""Longest part where the run sets no limit; on a stream, 1 MiB messages are faster than longer ones."""


class Stage(enum.StrEnum):
    """Where in an agent something happens to a frame."""

    SOURCE = "source"
    INBOUND = "inbound"
    DECODE = "decode"
    SLICE = "slice"
    OUTBOUND = "outbound"
    LINK = "link"
    ANSWER = "answer"
    AGENT = "agent"


class End(enum.StrEnum):
    """How a frame ends; every captured frame has exactly one."""

    COMPLETED = "completed"
    DROPPED = "dropped"
    FAILED = "failed"


class Left(enum.StrEnum):
    """How a frame leaves one agent."""

    SENT = "sent"
    ANSWERED = "answered"
    DROPPED = "dropped"
    FAILED = "failed"


class Phase(enum.StrEnum):
    """Where a run stands on one agent."""

    PREPARED = "prepared"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class SourcePlan:
    """A camera: `frames` batches, one every 1 / `frames_per_s` seconds, through a queue of `queue_frames`."""

    frames: int
    frames_per_s: float
    batch_size: int
    seed: int
    queue_frames: int


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What this agent does in a run; the pipeline's view of `RunConfig`, checked.

    Attributes:
        next_host: name of the next agent's host; None on the last agent.
        max_message_bytes: longest part of a serialised boundary.
        overhead_ratio: sleep after every frame, in multiples of its compute time.
        inbound_messages: places in the inbound queue, in messages.
        outbound_frames: places in the outbound queue, in frames.
        source: the camera; the first agent only.
    """

    run_id: str
    host: str
    next_host: str | None
    overhead_ratio: float
    max_message_bytes: int
    inbound_messages: int
    outbound_frames: int
    source: SourcePlan | None


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a frame ended, where and why; `output` is the serialised answer of a completed one."""

    end: End
    host: str
    stage: Stage | str
    reason: str = ""
    output: bytes = b""

    def __str__(self) -> str:
        """Host, stage and reason in one line."""
        return f"{self.host}: {self.stage}: {self.reason}"


@dataclasses.dataclass(slots=True)
class Frame:
    """A frame while this agent holds it, and the times it spent here, in ns of the host's monotonic clock."""

    frame_id: int
    received_ns: int
    complete_ns: int
    stage: Stage
    receive_ns: int | None = None
    queue_wait_ns: int | None = None
    decode_ns: int | None = None
    compute_ns: int | None = None
    overhead_ns: int | None = None
    encode_ns: int | None = None
    send_queue_wait_ns: int | None = None
    send_ns: int | None = None
    parts_in: int | None = None
    parts_out: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


class Agreement(Protocol):
    """How an answer compares with the whole model's, over a frame's images."""

    @property
    def images(self) -> int:
        """Images in the frame."""

    @property
    def labels_equal(self) -> int:
        """Images whose label is the whole model's."""

    @property
    def labels_correct(self) -> int | None:
        """Images whose label is the true one; None where nobody knows the true labels."""

    @property
    def max_abs_error(self) -> float:
        """Largest difference from the whole model's output."""

    @property
    def max_rel_error(self) -> float:
        """The same as a share of the largest value in that output."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """The run's tools, made where TensorFlow lives.

    Attributes:
        compute: the slice.
        draw: what the model is fed for a frame, by its number; the first agent only.
        judge: compares a frame's serialised answer; raises PayloadError when it is none. The first agent only.
    """

    compute: Compute
    encode: Encode
    decode: Decode
    draw: Callable[[int], Tensors] | None = None
    judge: Callable[[int, bytes], Agreement] | None = None
