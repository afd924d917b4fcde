"""What a running stream does, in figures: from two answers of every agent, one interval apart; pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

from slicebed.run.said import reason_of
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_UNRATED: Final = (
    "auto stays raw: the testbed gives the link no rate, and no frame of 256 KiB or more has crossed it to measure one"
)


@dataclass(frozen=True)
class StageFigures:
    """A stage in the last interval; totals say so.

    Attributes:
        frames: in total.
        frames_per_s: that it finished.
        queued: frames that wait now.
        queue_wait_ms: mean of a frame; None where none came.
        compute_ms: mean of a frame; None where none came.
        dropped: in total, from its queue.
        failed: in total.
    """

    name: str
    frames: int
    frames_per_s: float
    queued: int
    queue_wait_ms: float | None
    compute_ms: float | None
    dropped: int
    failed: int


@dataclass(frozen=True)
class LinkFigures:
    """A link in the last interval; totals say so.

    Attributes:
        peer: the next host.
        rate_bit_per_s: of its large transfers; 0 as long as nobody knows.
        send_ms: mean of a frame; None where none was sent.
        round_trip_ms: of small messages, the smallest of the last minute; 0 as long as nobody knows.
        clock_offset_ms: the next host's clock less this one's.
        clock_bound_ms: how far that may be off.
        codec: as the experiment calls it.
        bytes_before: mean of a frame, as arrays; 0 where none was sent.
        bytes_after: mean of a frame, encoded; 0 where none was sent.
        queued: frames that wait for the sender now.
        dropped: in total, before the sender.
        reconnects: in total.
        note: what the reader of the table should know of it; empty where there is nothing.
    """

    peer: str
    connected: bool
    frames_per_s: float
    rate_bit_per_s: int
    send_ms: float | None
    round_trip_ms: float
    clock_offset_ms: float
    clock_bound_ms: float
    codec: str
    bytes_before: int
    bytes_after: int
    queued: int
    dropped: int
    reconnects: int
    note: str = ""


@dataclass(frozen=True)
class HostFigures:
    """An agent: its stages and its link in the last interval.

    Attributes:
        trouble: why it does not answer or failed; empty while all is well.
        cpu_percent: of one core, by its container; None where that is not known.
        memory_bytes: of its container; 0 where that is not known.
    """

    host: str
    trouble: str = ""
    stages: tuple[StageFigures, ...] = ()
    link: LinkFigures | None = None
    cpu_percent: float | None = None
    memory_bytes: int = 0


@dataclass(frozen=True)
class StreamFigures:
    """The whole stream: totals of the first agent, latencies of the last seconds."""

    cut: str
    since_s: float
    captured: int = 0
    completed: int = 0
    dropped: int = 0
    failed: int = 0
    early: int = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    hosts: tuple[HostFigures, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it; stable."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` gave; other keys are passed over."""
        own = {each.name: plain[each.name] for each in fields(cls)}
        return cls(**{**own, "hosts": tuple(_host_from_plain(host) for host in plain["hosts"])})


def _host_from_plain(plain: Mapping[str, Any]) -> HostFigures:
    stages = tuple(StageFigures(**stage) for stage in plain["stages"])
    return HostFigures(
        **{**plain, "stages": stages, "link": None if plain["link"] is None else LinkFigures(**plain["link"])}
    )


@dataclass(frozen=True)
class Look:
    """What the agents answered at one moment.

    Attributes:
        at_s: when.
        answers: by host; who did not answer is missing.
        troubles: of those: why.
        strangers: of those: who is there and does not know the run.
    """

    at_s: float
    answers: Mapping[str, agent_pb2.StatusReply]
    troubles: Mapping[str, str] = field(default_factory=dict)
    strangers: frozenset[str] = frozenset()


def unrated(configs: Iterable[tuple[str, agent_pb2.RunConfig]]) -> frozenset[str]:
    """The hosts whose link has the codec `auto` and no rate that anybody gave."""
    return frozenset(
        host
        for host, config in configs
        if config.HasField("link") and config.link.codec == agent_pb2.CODEC_AUTO and not config.link.rate_bit_per_s
    )


def figures_of(  # noqa: PLR0913 - two looks, and what the control machine knows beside them
    before: Look | None,
    now: Look,
    hosts: Sequence[str],
    cut: str,
    begun_s: float,
    *,
    unrated: Collection[str] = (),
) -> StreamFigures:
    """Compare two looks at the same run.

    Args:
        before: the earlier one; None at first, when everything counts from the beginning.
        now: the later one.
        hosts: of the chain, in order.
        cut: label of the cut in use.
        begun_s: when the stream began, on the clock of the looks.
        unrated: hosts whose link has the codec `auto` and a rate that only its transfers can tell.
    """
    first = now.answers.get(hosts[0])
    rows = tuple(_noted(_host(host, before, now), unrated) for host in hosts)
    if first is None:
        return StreamFigures(cut, now.at_s - begun_s, hosts=rows)
    return StreamFigures(
        cut,
        now.at_s - begun_s,
        captured=first.captured,
        completed=first.completed,
        dropped=first.dropped,
        failed=first.failed,
        early=first.early,
        latency_p50_ms=first.latency_p50_ns / 1e6 or None,
        latency_p95_ms=first.latency_p95_ns / 1e6 or None,
        hosts=rows,
    )


def _host(host: str, before: Look | None, now: Look) -> HostFigures:
    reply = now.answers.get(host)
    if reply is None:
        return HostFigures(host, now.troubles.get(host, "no answer"))
    earlier = None if before is None else before.answers.get(host)
    if earlier is not None and _began_anew(earlier, reply):
        earlier = None
    interval_s = now.at_s - before.at_s if earlier is not None and before is not None else 0.0
    stages_before = {} if earlier is None else {stage.name: stage for stage in earlier.stages}
    failed = reply.phase == agent_pb2.RUN_PHASE_FAILED
    return HostFigures(
        host,
        trouble=_trouble(host, reply) if failed else now.troubles.get(host, ""),
        stages=tuple(_stage(stage, stages_before.get(stage.name), interval_s) for stage in reply.stages),
        link=_link(reply.link, None if earlier is None else earlier.link, interval_s)
        if reply.HasField("link")
        else None,
        cpu_percent=_cpu(reply, earlier, interval_s),
        memory_bytes=reply.usage.memory_bytes,
    )


def _noted(host: HostFigures, unrated: Collection[str]) -> HostFigures:
    link = host.link
    if link is None or host.host not in unrated or link.rate_bit_per_s or link.codec != "raw":
        return host
    return replace(host, link=replace(link, note=_UNRATED))


def _trouble(host: str, reply: agent_pb2.StatusReply) -> str:
    """Stage and reason; the host before them where it is another one, whose trouble came along the chain."""
    elsewhere = reply.error_host if reply.error_host != host else ""
    return ": ".join(filter(None, (elsewhere, reply.error_stage, reason_of(reply))))


def _began_anew(earlier: agent_pb2.StatusReply, now: agent_pb2.StatusReply) -> bool:
    """Whether the agent was prepared again between: its totals start from nothing."""
    frames = {stage.name: stage.frames for stage in earlier.stages}
    return earlier.run_id != now.run_id or any(stage.frames < frames.get(stage.name, 0) for stage in now.stages)


def _stage(now: agent_pb2.StageStatus, before: agent_pb2.StageStatus | None, interval_s: float) -> StageFigures:
    earlier = agent_pb2.StageStatus() if before is None else before
    frames = now.frames - earlier.frames
    return StageFigures(
        now.name,
        now.frames,
        frames / interval_s if interval_s > 0 else 0.0,
        now.queued,
        _mean_ms(now.queue_wait_ns - earlier.queue_wait_ns, frames),
        _mean_ms(now.compute_ns - earlier.compute_ns, frames),
        now.dropped,
        now.failed,
    )


def _link(now: agent_pb2.LinkStatus, before: agent_pb2.LinkStatus | None, interval_s: float) -> LinkFigures:
    earlier = agent_pb2.LinkStatus() if before is None else before
    frames = now.frames - earlier.frames
    return LinkFigures(
        now.next_host,
        now.connected,
        frames / interval_s if interval_s > 0 else 0.0,
        now.rate_bit_per_s,
        _mean_ms(now.send_ns - earlier.send_ns, frames),
        now.round_trip_ns / 1e6,
        now.clock_offset_ns / 1e6,
        now.clock_bound_ns / 1e6,
        agent_pb2.Codec.Name(now.codec).removeprefix("CODEC_").replace("_", "").lower(),
        _mean(now.bytes_before - earlier.bytes_before, frames),
        _mean(now.bytes_after - earlier.bytes_after, frames),
        now.queued,
        now.dropped,
        now.reconnects,
    )


def _cpu(now: agent_pb2.StatusReply, before: agent_pb2.StatusReply | None, interval_s: float) -> float | None:
    if before is None or interval_s <= 0 or not now.usage.cpu_ns:
        return None
    return (now.usage.cpu_ns - before.usage.cpu_ns) / 1e7 / interval_s


def _mean_ms(total_ns: int, frames: int) -> float | None:
    return total_ns / 1e6 / frames if frames > 0 else None


def _mean(total: int, frames: int) -> int:
    return round(total / frames) if frames > 0 else 0
