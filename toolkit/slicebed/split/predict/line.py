"""The words of a prediction: the line that a candidate's frames pass, from the camera to the answer.

Whoever builds lines (`run.search.forecast`) says of every step what it takes and what waits before it, as
`run.assignments` tells the agents. What is assumed:

- A stage is one thread: it takes one frame at a time, decodes what came over a link, computes, and sleeps
  ``overhead_ratio`` times what it computed. A hop's sender is one thread, too: it encodes and writes.
- Stages, senders and transfers run at the same time, each as fast as alone: stages that share a host's cores, and hosts
  that share a processor, do not slow each other here. Profiles are taken on as many cores as the host has in the run;
  what sharing costs beyond that shows up in measures, and is learnt as the host's factor.
- A place in a queue is taken by a frame that waits; the one in work has left it.
- Every frame goes all the way: there are no early exits, and nothing is lost on a link.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicebed.errors import SpecError
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.split.predict.times import NOTHING, Times

TRANSPORT_MESSAGE_BYTES = 4 * 1024 * 1024
"""Longest message where a run sets no limit (ADR 12)."""


@dataclass(frozen=True)
class QueueModel:
    """What waits before a step.

    Attributes:
        places: 1 or more.
        drop: who loses when it is full; with ``never`` whoever brings a frame waits, and over a link the sender begins
            none that would have no place.
        messages: places are taken by the messages that a frame was divided into, as in the DNN-slicing paper (ADR 4);
            only before a stage behind a hop, and only with ``newest``.
    """

    places: int = 2
    drop: Drop = Drop.NEWEST
    messages: bool = False

    def __post_init__(self) -> None:
        """Refuse a queue that no agent has.

        Raises:
            SpecError: says why.
        """
        if self.places < 1:
            raise SpecError(f"a queue of {self.places} places", mend="a queue has at least one place")
        if self.messages and self.drop is not Drop.NEWEST:
            raise SpecError(f"a queue of messages that drops {self.drop.value}", mend="it drops the newest")


@dataclass(frozen=True)
class Throttle:
    """A limit of processor time, which makes a host stand still for a part of every period.

    Attributes:
        share: of the processor time that its work could use: below 1.
        period_s: over which that is counted.
    """

    share: float
    period_s: float

    @property
    def pause_s(self) -> float:
        """How long it stands still at once."""
        return (1 - self.share) * self.period_s

    @property
    def stretch(self) -> float:
        """What a second of its processor time takes besides, in seconds."""
        return 1 / self.share - 1


@dataclass(frozen=True)
class Stage:
    """A stage on its host.

    Attributes:
        name: as in the layout: "transformer", "slice", "slice2", "classifier".
        host: whose speed it depends on; uncertainty and correction are the host's, so hosts of one name are one.
        time: of computing a frame (a batch), without decoding.
        queue: before it; of the line's first step the camera's counts instead.
        overhead_ratio: sleep behind it, in multiples of what it computed.
        kind: slices make a measure's ``compute_s``, the sum of each host's.
        throttle: the host's; None where nothing limits its processor time.
    """

    name: str
    host: str
    time: Times
    queue: QueueModel = QueueModel()
    overhead_ratio: float = 0.0
    kind: StageKind = StageKind.SLICE
    throttle: Throttle | None = None


@dataclass(frozen=True)
class Hop:
    """A link that frames cross, with the sender before it.

    Attributes:
        sender: host that encodes and sends.
        receiver: host that decodes, in its next stage's thread.
        bytes: of a frame (a batch) as it is sent, behind the codec.
        rate_bit_per_s: counted on Ethernet frames, as a testbed file does; of this direction. 0: nothing limits it, or
            nobody says.
        delay_s: one way, of a packet, without the rate.
        jitter_s: standard deviation of that.
        back_delay_s: of the other direction, by which answers and credit come.
        encode: of a frame.
        decode: of a frame.
        queue: before the sender; of the line's first step the camera's counts instead.
        max_message_bytes: a longer frame is divided; 0: as suits the transport.
        back_jitter_s: None: as `jitter_s`.
        bucket_s: what the shaper lets pass at once after a pause, in seconds of its rate.
        slow_restart: TCP begins slowly again after a pause: the hosts' TCP is not set for streaming.
        send_buffer_bytes: the sender's largest socket buffer, the third value of ``tcp_wmem``.
    """

    sender: str
    receiver: str
    bytes: int
    rate_bit_per_s: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    back_delay_s: float = 0.0
    encode: Times = NOTHING
    decode: Times = NOTHING
    queue: QueueModel = QueueModel()
    max_message_bytes: int = 0
    back_jitter_s: float | None = None
    bucket_s: float = 0.010
    slow_restart: bool = False
    send_buffer_bytes: int = 4 * 1024 * 1024

    @property
    def messages(self) -> int:
        """What a frame is divided into."""
        return max(1, -(-self.bytes // (self.max_message_bytes or TRANSPORT_MESSAGE_BYTES)))


@dataclass(frozen=True)
class Line:
    """What a candidate's frames pass.

    Attributes:
        steps: in order; a hop leads to a stage on its receiver.
        camera: the queue behind the camera, before the first step: ``newest`` or ``oldest``.
    """

    steps: tuple[Stage | Hop, ...]
    camera: QueueModel = QueueModel()

    def __post_init__(self) -> None:
        """Refuse a line that no run has.

        Raises:
            SpecError: says why.
        """
        if not self.steps or isinstance(self.steps[-1], Hop):
            raise SpecError("a line that does not end in a stage", mend="the last host answers")
        if self.camera.drop is Drop.NEVER or self.camera.messages:
            raise SpecError("a camera that waits", mend="its queue drops the newest or the oldest frame")
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if isinstance(before, Stage) and isinstance(after, Hop) and before.host != after.sender:
                raise SpecError(f"a link from {after.sender} behind {before.host}", mend="the stage before it sends")
            if isinstance(before, Hop) and (not isinstance(after, Stage) or after.host != before.receiver):
                raise SpecError(f"no stage on {before.receiver} behind its link", mend="a hop leads to a stage")
            if not isinstance(before, Hop) and isinstance(after, Stage) and after.queue.messages:
                raise SpecError(f"messages before {after.name}, without a link", mend="count frames there")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those with slices, first to last, as ``Candidate.hosts`` has them."""
        return tuple(dict.fromkeys(step.host for step in self.stages if step.kind is StageKind.SLICE))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Without the hops."""
        return tuple(step for step in self.steps if isinstance(step, Stage))

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Without the stages."""
        return tuple(step for step in self.steps if isinstance(step, Hop))


@dataclass(frozen=True)
class Source:
    """A camera that never waits.

    Attributes:
        rate_per_s: frames (batches) a second, above 0.
        frames: captured in a run, 1 or more.
    """

    rate_per_s: float
    frames: int

    def __post_init__(self) -> None:
        """Refuse a camera that captures nothing.

        Raises:
            SpecError: says why.
        """
        if not self.rate_per_s > 0 or self.frames < 1:
            raise SpecError(f"{self.frames} frames at {self.rate_per_s} a second", mend="both are above 0")
