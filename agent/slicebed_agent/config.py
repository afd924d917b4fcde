"""The edge of the agent: what Prepare and PrepareCut ask for, checked and turned into the agent's own words."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from slicebed_agent import checks, film
from slicebed_agent.media.transform import Transform
from slicebed_agent.model.held import Cut
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import (
    DEFAULT_PART_BYTES,
    At,
    LinkPlan,
    QueuePlan,
    RunPlan,
    StagePlan,
)
from slicebed_agent.pipeline.parts import MAX_PART_BYTES
from slicebed_agent.pipeline.queues import Policy
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.film import Film

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_PLACES: Final = 1_000_000
_MAX_STAGES: Final = 32
_MAX_TOP: Final = 1000
_MAX_BATCH: Final = 65536
_MAX_RECONNECT_S: Final = 86400.0
_MAX_VERSION: Final = 2**31 - 1
_POLICIES: Final = {
    agent_pb2.QUEUE_POLICY_NEWEST: Policy.NEWEST,
    agent_pb2.QUEUE_POLICY_OLDEST: Policy.OLDEST,
    agent_pb2.QUEUE_POLICY_BLOCK: Policy.BLOCK,
}
_CODECS: Final = {
    agent_pb2.CODEC_TENSOR_PROTO: Codec.TENSOR_PROTO,
    agent_pb2.CODEC_RAW: Codec.RAW,
    agent_pb2.CODEC_LOSSLESS: Codec.LOSSLESS,
    agent_pb2.CODEC_FP16: Codec.FP16,
    agent_pb2.CODEC_UINT8: Codec.UINT8,
    agent_pb2.CODEC_AUTO: Codec.AUTO,
}


@dataclasses.dataclass(frozen=True)
class Exit:
    """An early exit: the slice that judges a boundary, and how sure it must be of every image of a frame."""

    head: Cut
    threshold: float


@dataclasses.dataclass(frozen=True)
class Classify:
    """Answers as labels: how many of the most likely classes are told."""

    top: int


Kind = Transform | Cut | Exit | Classify
"""What a stage does."""


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A checked `RunConfig`: the pipeline's plan, and what the other floors need.

    Attributes:
        plan: the pipeline's.
        kinds: what each stage does, by its name.
        codec: of the link.
        film: what the camera shows; the first agent only.
        warm_batch: images at a time when slices are made ready.
    """

    plan: RunPlan
    kinds: Mapping[str, Kind]
    codec: Codec
    film: Film | None
    warm_batch: int

    @property
    def cuts(self) -> dict[str, Cut]:
        """The slices to prepare, by their stages' names; of an early exit its head."""
        found = {name: kind.head if isinstance(kind, Exit) else kind for name, kind in self.kinds.items()}
        return {name: kind for name, kind in found.items() if isinstance(kind, Cut)}


def read(message: agent_pb2.RunConfig, host: str) -> Assignment:
    """Check what Prepare asks of this agent; whether the model has such tensors is left to it.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    if not _NAME.fullmatch(message.run_id):
        raise checks.wrong(
            "run_id", repr(message.run_id), "letters, digits, '.', '_' and '-', at most 128, as a file name"
        )
    if message.host != host:
        raise checks.wrong("host", repr(message.host), f"this agent serves {host!r}: check the inventory's addresses")
    shown = film.read(message.source) if message.HasField("source") else None
    if (shown is None) is not bool(message.previous_host):
        raise checks.wrong(
            "previous_host", repr(message.previous_host), "give it or source, not both: the camera's agent is the first"
        )
    if not message.stages and not (shown is not None and message.HasField("link")):
        raise checks.wrong("stages", "none", "one or more where there is not both a source and a link")
    if len(message.stages) > _MAX_STAGES:
        raise checks.wrong("stages", f"{len(message.stages)} stages", f"at most {_MAX_STAGES}")
    stages = tuple(_stage(stage, place) for place, stage in enumerate(message.stages))
    link = _link(message.link) if message.HasField("link") else None
    _check_queues(stages, link, behind_camera=shown is not None)
    plan = RunPlan(
        run_id=message.run_id,
        host=host,
        previous_host=message.previous_host or None,
        source=shown.plan if shown is not None else None,
        stages=stages,
        link=link,
        reconnect_s=checks.number("reconnect_s", message.reconnect_s, 0.0, _MAX_RECONNECT_S),
        version=checks.within("version", message.version, 0, _MAX_VERSION),
    )
    return Assignment(
        plan=plan,
        kinds={stage.name: _kind(stage, place) for place, stage in enumerate(message.stages)},
        codec=codec("link.codec", message.link.codec) if link is not None else Codec.TENSOR_PROTO,
        film=shown,
        warm_batch=checks.within("warm_batch", message.warm_batch, 0, _MAX_BATCH)
        or (shown.plan.batch_size if shown else 1),
    )


def cuts(message: agent_pb2.CutConfig, kinds: Mapping[str, Kind], latest: int) -> dict[str, Cut]:
    """Check the slices of a change of the cut.

    Args:
        message: what PrepareCut asks for.
        kinds: of the run's stages on this agent.
        latest: the newest version that the run knows.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    checks.within("version", message.version, latest + 1, _MAX_VERSION)
    with_slices = [name for name, kind in kinds.items() if isinstance(kind, Cut | Exit)]
    for name in message.slices:
        if name not in with_slices:
            raise checks.wrong(
                "slices", repr(name), f"this agent's stages with a slice: {', '.join(with_slices) or 'none'}"
            )
    return {name: _cut(each, f"slices[{name}]") for name, each in message.slices.items()}


def model_file(message: agent_pb2.ModelFile) -> tuple[str, int]:
    """Hash and size of an announced file.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    if not message.size_bytes:
        raise checks.wrong("size_bytes", 0, "1 or more")
    return checks.sha256("sha256", message.sha256), message.size_bytes


def codec(field: str, value: agent_pb2.Codec) -> Codec:
    """A codec by its number.

    Raises:
        AgentConfigError: there is none.
    """
    found = _CODECS.get(value)
    if found is None:
        raise checks.wrong(field, value, ", ".join(agent_pb2.Codec.keys()[1:]))
    return found


def _stage(message: agent_pb2.StageConfig, place: int) -> StagePlan:
    where = f"stages[{place}]"
    if not _NAME.fullmatch(message.name) or message.name in set(At):
        raise checks.wrong(
            f"{where}.name", repr(message.name), f"letters, digits, '.', '_' and '-', and none of {', '.join(At)}"
        )
    return StagePlan(
        name=message.name,
        queue=_queue(message.queue, f"{where}.queue"),
        overhead_ratio=checks.number(f"{where}.overhead_ratio", message.overhead_ratio, 0.0),
    )


def _kind(message: agent_pb2.StageConfig, place: int) -> Kind:
    where = f"stages[{place}]"
    kind = message.WhichOneof("kind")
    if kind == "slice":
        return _cut(message.slice, f"{where}.slice")
    if kind == "transform":
        return film.transform(f"{where}.transform", message.transform)
    if kind == "exit":
        threshold = checks.number(f"{where}.exit.threshold", message.exit.threshold, 0.0)
        return Exit(_cut(message.exit.head, f"{where}.exit.head"), threshold)
    if kind == "classify":
        return Classify(checks.within(f"{where}.classify.top", message.classify.top, 1, _MAX_TOP))
    raise checks.wrong(where, "a stage without a kind", "transform, slice, exit or classify")


def _cut(message: agent_pb2.SliceConfig, where: str) -> Cut:
    return Cut(
        checks.sha256(f"{where}.model_sha256", message.model_sha256),
        checks.tensors(f"{where}.feeds", message.feeds),
        checks.tensors(f"{where}.fetches", message.fetches),
    )


def _queue(message: agent_pb2.QueueConfig, where: str) -> QueuePlan:
    policy = _POLICIES.get(message.policy)
    if policy is None:
        raise checks.wrong(f"{where}.policy", message.policy, "QUEUE_POLICY_NEWEST, _OLDEST or _BLOCK")
    return QueuePlan(checks.within(f"{where}.places", message.places, 1, _MAX_PLACES), policy, message.messages)


def _check_queues(stages: tuple[StagePlan, ...], link: LinkPlan | None, *, behind_camera: bool) -> None:
    queues = [(f"stages[{place}].queue", stage.queue) for place, stage in enumerate(stages)]
    if link is not None:
        queues.append(("link.queue", link.queue))
    for place, (where, plan) in enumerate(queues):
        behind_link = place == 0 and not behind_camera
        if plan.messages and not (behind_link and plan.policy is Policy.NEWEST):
            raise checks.wrong(
                f"{where}.messages", "a queue of messages", "behind a link only, and with QUEUE_POLICY_NEWEST"
            )
        if place == 0 and behind_camera and plan.policy is Policy.BLOCK:
            raise checks.wrong(
                f"{where}.policy", "QUEUE_POLICY_BLOCK", "NEWEST or OLDEST behind the camera, which never waits"
            )
    names = [stage.name for stage in stages]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise checks.wrong(f"stages[{place}].name", repr(name), "each name once")


def _link(message: agent_pb2.LinkConfig) -> LinkPlan:
    host, _, port = message.next_address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise checks.wrong("link.next_address", repr(message.next_address), "host:port of the next agent's data plane")
    if not message.next_host:
        raise checks.wrong("link.next_host", "''", "the name of the next agent's host")
    codec("link.codec", message.codec)
    return LinkPlan(
        next_host=message.next_host,
        next_address=message.next_address,
        max_message_bytes=checks.within("link.max_message_bytes", message.max_message_bytes, 0, MAX_PART_BYTES)
        or DEFAULT_PART_BYTES,
        queue=_queue(message.queue, "link.queue"),
        rate_bit_per_s=message.rate_bit_per_s,
        frames_per_s=checks.number("link.frames_per_s", message.frames_per_s, 0.0),
    )
