"""Words shared by the pipeline's parts: what a run asks for, a frame on its way, and how it ends."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy.typing as npt

from slicebed_agent.pipeline.queues import Policy

if TYPE_CHECKING:
    from slicebed_agent.pipeline.codecs import Codec

Tensor = npt.NDArray[Any]
Tensors = tuple[Tensor, ...]
"""What crosses between two stages, in the order of the cut: one tensor or several."""

DEFAULT_PART_BYTES: Final = 4 * 1024 * 1024
"""Longest part where the run sets no limit: ADR 12 has the figures."""


class At(enum.StrEnum):
    """Where in an agent something happens to a frame, besides its stages, which have names of their own."""

    SOURCE = "source"
    INBOUND = "inbound"
    DECODE = "decode"
    OUTBOUND = "outbound"
    ENCODE = "encode"
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


@dataclasses.dataclass(frozen=True, slots=True)
class TensorHead:
    """One encoded tensor: what it was, how many bytes it takes now, and what its decoder must know.

    Attributes:
        dtype: as numpy names it.
        shape: with the batch.
        size_bytes: of its encoded bytes.
        filter: how they are encoded, where the codec leaves a choice.
        scale: of UINT8: value = lowest + scale * byte.
        lowest: of UINT8.
    """

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    filter: str = ""
    scale: float = 0.0
    lowest: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Payload:
    """An encoded boundary.

    Attributes:
        codec: how; never AUTO.
        heads: of its tensors; none for TENSOR_PROTO.
        buffers: its bytes, in pieces that follow each other; each offers the buffer protocol, flat, one byte an item.
    """

    codec: Codec
    heads: tuple[TensorHead, ...]
    buffers: tuple[memoryview, ...]

    @property
    def size_bytes(self) -> int:
        """Of all pieces."""
        return sum(piece.nbytes for piece in self.buffers)


Encode = Callable[[Tensors, int], Payload]
"""Writes a boundary for a link; may keep views of the arrays. Raises PayloadError."""
Decode = Callable[[Payload], Tensors]
"""The arrays, read-only views where the codec allows. Raises PayloadError: bytes, heads and each other disagree."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What a stage made of a frame.

    Attributes:
        tensors: for the next stage; behind an answer, the answer.
        answered: the frame ends here: an early exit is sure of it.
        notes: what its sample says beside the times: labels, probabilities; JSON-ready.
    """

    tensors: Tensors
    answered: bool = False
    notes: Mapping[str, object] = dataclasses.field(default_factory=dict)


Work = Callable[[int, Tensors], Result]
"""A stage at work: of a cut's version and what the stage is fed."""


@dataclasses.dataclass(frozen=True)
class QueuePlan:
    """What waits before a stage or a link: so many frames (`messages`: parts of frames), and who loses."""

    places: int
    policy: Policy = Policy.NEWEST
    messages: bool = False


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """A stage of this agent: its name, what waits before it, and its sleep in multiples of its compute time."""

    name: str
    queue: QueuePlan
    overhead_ratio: float = 0.0


@dataclasses.dataclass(frozen=True)
class SourcePlan:
    """A camera: `frames` batches (None: until the run is finished), one every 1 / `frames_per_s` seconds."""

    frames: int | None
    frames_per_s: float
    batch_size: int
    seed: int


@dataclasses.dataclass(frozen=True)
class LinkPlan:
    """The way to the next agent.

    Attributes:
        next_host: its name, which its certificate must carry.
        next_address: host:port of its data plane.
        max_message_bytes: longest part of an encoded boundary.
        queue: before the sender, in frames.
        rate_bit_per_s: what the link is known to carry; 0: nobody says.
        frames_per_s: how many the camera captures; 0: nobody says.
        warm_bytes: of a frame, about: the link is warmed up for such frames; 0: it is not.
    """

    next_host: str
    next_address: str
    max_message_bytes: int
    queue: QueuePlan
    rate_bit_per_s: int = 0
    frames_per_s: float = 0.0
    warm_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What this agent does in a run; the pipeline's view of `RunConfig`, checked.

    Attributes:
        previous_host: whose frames come in; None on the first agent.
        source: the camera; the first agent only.
        stages: of this agent, in order; may be none where there is a source.
        link: None on the last agent, which answers.
        reconnect_s: how long a broken stream is waited for while the run goes on; 0: it ends the run.
        version: of the cut that the camera's first frames go through.
    """

    run_id: str
    host: str
    previous_host: str | None
    source: SourcePlan | None
    stages: tuple[StagePlan, ...]
    link: LinkPlan | None
    reconnect_s: float = 0.0
    version: int = 0


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a frame ended, where and why.

    Attributes:
        output: the answer of a completed frame, as a serialised TensorProto.
        exit: the early exit that gave it; empty where the whole chain did.
    """

    end: End
    host: str
    stage: str
    reason: str = ""
    output: bytes = b""
    exit: str = ""

    def __str__(self) -> str:
        """Host, stage and reason in one line."""
        return f"{self.host}: {self.stage}: {self.reason}"


@dataclasses.dataclass(slots=True)
class StageTimes:
    """What one stage took of a frame, in ns of the host's monotonic clock."""

    queue_wait_ns: int
    compute_ns: int | None = None
    overhead_ns: int | None = None
    notes: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Frame:
    """A frame while this agent holds it, and the times it spent here, in ns of the host's monotonic clock.

    Attributes:
        version: of the cut that it goes through, given by the camera.
        received_ns: captured here, or its first part came in.
        complete_ns: ready for what it waits for now.
        stage: where it is: an `At`, or a stage's name.
        upstream_sent_ns: when the agent before began to send it, on that host's clock.
        sent_ns: when this agent began to send it.
        bytes_raw_out: of the arrays that were sent, before encoding.
        stages: what each stage took, by name.
    """

    frame_id: int
    received_ns: int
    complete_ns: int
    stage: str
    version: int = 0
    upstream_sent_ns: int | None = None
    receive_ns: int | None = None
    decode_ns: int | None = None
    encode_ns: int | None = None
    send_queue_wait_ns: int | None = None
    sent_ns: int | None = None
    send_ns: int | None = None
    parts_in: int | None = None
    parts_out: int | None = None
    bytes_in: int | None = None
    bytes_raw_out: int | None = None
    bytes_out: int | None = None
    codec: str | None = None
    stages: dict[str, StageTimes] = dataclasses.field(default_factory=dict)


class Agreement(Protocol):
    """How an answer compares with the whole model's, over a frame's images."""

    @property
    def images(self) -> int:
        """Images of the frame that were compared."""

    @property
    def labels_equal(self) -> int:
        """Images whose label is the whole model's."""

    @property
    def labels_correct(self) -> int | None:
        """Images whose label is the true one; None where nobody knows the true labels."""

    @property
    def max_abs_error(self) -> float | None:
        """Largest difference from the whole model's output; None of an early answer, which is another function's."""

    @property
    def max_rel_error(self) -> float | None:
        """The same as a share of the largest value in that output."""


class Draw(Protocol):
    """What the camera shows."""

    def __call__(self, frame_id: int) -> Tensors | None:
        """A frame, by its number, which grows with each call; None when the film is over.

        A number that was left out is a picture that the camera missed: the film went on meanwhile.
        """


@dataclasses.dataclass(frozen=True)
class Bench:
    """The run's tools, made above the pipeline.

    Attributes:
        work: what each stage does, by its name.
        decode: of what comes in.
        answer: an answer as its report carries it: a serialised TensorProto.
        draw: the first agent only.
        judge: compares a frame's answer (frame id, serialised, by which exit); None where that frame is not checked;
            raises PayloadError when it is no answer. The first agent only.
        drawn_bytes: of a frame as it is drawn; 0 on other agents.
    """

    work: Mapping[str, Work]
    decode: Decode
    answer: Callable[[Tensors], bytes]
    draw: Draw | None = None
    judge: Callable[[int, bytes, str], Agreement | None] | None = None
    drawn_bytes: int = 0
