"""What the hosts answered, read strictly: a host is another machine, and its numbers decide verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 1 << 40
_MOST_VALUES = 1_000_000
_FEWEST_WINDOWS = 2


@dataclass(frozen=True)
class ProbeAnswer:
    """Both ends' account of one session of probes.

    Attributes:
        sent: probes sent.
        forward_received: different probes that reached the far end.
        forward_duplicates: further copies of them.
        forward_overtakings: those that came before one sent earlier.
        backward_sent: answers sent, one per copy received.
        backward_received: different answers that came back.
        backward_duplicates: further copies of them.
        backward_overtakings: those that came before one sent earlier.
        forward_overflowed: probes that the far end's full buffer lost, and not the link.
        backward_overflowed: answers that the near end's full buffer lost.
        sent_us: per sample, when its probe left.
        rtt_us: per sample, the round trip.
        forward_us: per sample, its forward part plus an unknown constant.
    """

    sent: int
    forward_received: int
    forward_duplicates: int
    forward_overtakings: int
    backward_sent: int
    backward_received: int
    backward_duplicates: int
    backward_overtakings: int
    forward_overflowed: int
    backward_overflowed: int
    sent_us: tuple[float, ...]
    rtt_us: tuple[float, ...]
    forward_us: tuple[float, ...]


@dataclass(frozen=True)
class StreamAnswer:
    """Both ends' account of one stream: bytes per window, and what its segments carried."""

    window_us: int
    windows: tuple[int, ...]
    mss_bytes: int
    timestamps: bool
    ip_version: int
    streams: int
    congestion: str
    retransmitted: int


@dataclass(frozen=True)
class QuotaAnswer:
    """What a host's workload gets of its processors: see DeliveredQuota on the host.

    Attributes:
        in_force: the limit that its kernel holds; None when it holds none.
        shares: per window, seconds of processor time per second.
        periods: the quota's periods that the kernel counted meanwhile.
        throttled_periods: those in which the quota was used up.
    """

    in_force: float | None
    shares: tuple[float, ...]
    periods: int
    throttled_periods: int


@dataclass(frozen=True)
class Session:
    """An open responder or sink."""

    port: int
    token: str


def read_session(plain: Mapping[str, Any], where: str) -> Session:
    """Read the answer to ``start_responder`` or ``start_sink``."""
    return Session(_whole(plain, "port", where), _text(plain, "token", where))


def read_probe(probe: Mapping[str, Any], responder: Mapping[str, Any], where: str) -> ProbeAnswer:
    """Join the answers to ``run_probe`` and ``stop_responder``.

    Raises:
        ProvisionError: a field is missing or of another type, or the two accounts contradict each other.
    """
    lists = {name: _numbers(probe, name, where) for name in ("sent_us", "rtt_us", "forward_us")}
    answer = ProbeAnswer(
        sent=_whole(probe, "sent", where),
        forward_received=_whole(responder, "received", where),
        forward_duplicates=_whole(responder, "duplicates", where),
        forward_overtakings=_whole(responder, "overtakings", where),
        backward_sent=_whole(responder, "answered", where),
        backward_received=_whole(probe, "answers", where),
        backward_duplicates=_whole(probe, "duplicates", where),
        backward_overtakings=_whole(probe, "overtakings", where),
        forward_overflowed=_whole(responder, "overflowed", where),
        backward_overflowed=_whole(probe, "overflowed", where),
        **lists,
    )
    lengths = {len(values) for values in lists.values()}
    if (
        len(lengths) != 1
        or answer.forward_received > answer.sent
        or answer.backward_received > answer.backward_sent
        or max(lengths) > answer.backward_received
        or (answer.rtt_us and min(answer.rtt_us) < 0)
    ):
        raise _contradiction("the two ends' accounts of the probes contradict each other", where)
    return answer


def read_stream(source: Mapping[str, Any], sink: Mapping[str, Any], where: str) -> StreamAnswer:
    """Join the answers to ``run_source`` and ``finish_sink``; raises ProvisionError as `read_probe` does."""
    windows = _numbers(sink, "windows", where)
    answer = StreamAnswer(
        window_us=_whole(sink, "window_us", where),
        windows=tuple(int(value) for value in windows),
        mss_bytes=_whole(source, "mss_bytes", where),
        timestamps=source.get("timestamps") is True,
        ip_version=_whole(source, "ip_version", where),
        streams=_whole(source, "streams", where),
        congestion=_text(source, "congestion", where),
        retransmitted=_whole(source, "retransmitted", where),
    )
    plausible = answer.window_us >= 1 and answer.mss_bytes >= 1 and answer.ip_version in {4, 6}
    if not plausible or not isinstance(source.get("timestamps"), bool) or any(value < 0 for value in windows):
        raise _contradiction("the account of the stream is not understood", where)
    return answer


def read_quota(plain: object, where: str) -> QuotaAnswer:
    """Read what ``limits`` says of the quota; raises ProvisionError as `read_probe` does."""
    if not isinstance(plain, dict):
        raise _contradiction(f"cpu_quota is {str(plain)[:40]}", where)
    in_force = plain.get("asked", "missing")
    answer = QuotaAnswer(
        in_force=None if in_force is None else _numbers({"asked": [in_force]}, "asked", where)[0],
        shares=_numbers(plain, "shares", where),
        periods=_whole(plain, "periods", where),
        throttled_periods=_whole(plain, "throttled_periods", where),
    )
    if len(answer.shares) < _FEWEST_WINDOWS or answer.throttled_periods > answer.periods:
        raise _contradiction("the account of the processor time is not understood", where)
    return answer


def _whole(plain: Mapping[str, Any], name: str, where: str) -> int:
    value = plain.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise _contradiction(f"{name} is {str(value)[:40]}", where)
    return value


def _text(plain: Mapping[str, Any], name: str, where: str) -> str:
    value = plain.get(name)
    if not isinstance(value, str) or len(value) > 100:
        raise _contradiction(f"{name} is {str(value)[:40]}", where)
    return value


def _numbers(plain: Mapping[str, Any], name: str, where: str) -> tuple[float, ...]:
    values = plain.get(name)
    if not isinstance(values, list) or len(values) > _MOST_VALUES:
        raise _contradiction(f"{name} is no list", where)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise _contradiction(f"{name} holds {str(value)[:40]}", where)
    return tuple(values)


def _contradiction(what: str, where: str) -> ProvisionError:
    return ProvisionError(what, where=where, mend="bring the hosts up to date: run slicebed apply again")
