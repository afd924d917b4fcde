"""A host's own conditions, asked against measured: clock under load, processor time, and the limits in force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slicebed.testbed.verify.answers import read_quota
from slicebed.testbed.verify.judge import judge_host
from slicebed.testbed.verify.verdict import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slicebed.testbed.verify.answers import QuotaAnswer
    from slicebed.testbed.verify.ask import Channel
    from slicebed.testbed.verify.verdict import Verdict

_TIMEOUT_S = 120.0
# A clock is sampled for this long on each core; the counters are read to the cycle.
_CLOCK_S = 0.2
_QUOTA_S = 2.0
_CLOCK_TOLERANCE = 0.02
_QUOTA_TOLERANCE = 0.05
# The kernel holds whole microseconds per period.
_SAME_QUOTA = 0.0001
_NEARLY_ALL = 0.9


def verify_hosts(
    channels: Mapping[str, Channel],
    wishes: Mapping[str, Mapping[str, Any]],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Verdict]:
    """Measure what the wishes ask of the hosts themselves and judge it; hosts one after the other.

    In the lab they share their processors, so that two at once would measure each other.

    Raises:
        SlicebedError: what a channel raises.
    """
    verdicts: list[Verdict] = []
    for host, wish in wishes.items():
        cpu, workload = wish.get("cpu") or {}, wish.get("workload") or {}
        if cpu or workload:
            progress(f"clocks and limits of {host}")
            verdicts += _clock(channels[host], host, cpu)
            verdicts += _limits(channels[host], host, workload)
    return verdicts


def _clock(channel: Channel, host: str, cpu: Mapping[str, Any]) -> Iterator[Verdict]:
    if "frequency_khz" not in cpu:
        return
    asked_mhz = cpu["frequency_khz"] / 1000
    answer = channel.call("delivered", {"seconds": _CLOCK_S}, _TIMEOUT_S)
    values = [float(each["mhz"]) for each in answer["frequencies"] if each["mhz"] is not None]
    said = {str(each["reason"]) for each in answer["frequencies"] if each["mhz"] is None}
    said |= {f"read from {each['source']}" for each in answer["frequencies"] if each["mhz"] is not None}
    said |= {"throttled for heat" for each in answer["frequencies"] if each["throttled"]}
    yield judge_host(
        host, Quantity.FREQUENCY, asked_mhz, values, _CLOCK_TOLERANCE * asked_mhz, detail="; ".join(sorted(said))
    )


def judge_quota(host: str, asked: float, answer: QuotaAnswer) -> Verdict:
    """Judge the processor time by its windows; the detail tells a wrong limit from a contended processor."""
    verdict = judge_host(host, Quantity.CPU_QUOTA, asked, answer.shares, _QUOTA_TOLERANCE * asked)
    if answer.in_force is None:
        return replace(verdict, detail="the kernel holds no limit: run slicebed apply again")
    said = [f"used up in {answer.throttled_periods} of {answer.periods} periods"]
    if abs(answer.in_force - asked) > _SAME_QUOTA:
        said.append(f"the kernel holds a limit of {answer.in_force:g}: run slicebed apply again")
    elif not verdict.passed and verdict.measured < asked:
        said.append(_shortage(answer))
    return replace(verdict, detail="; ".join(said))


def _shortage(answer: QuotaAnswer) -> str:
    """Say who took what is missing under a limit that is as asked."""
    if answer.throttled_periods < _NEARLY_ALL * answer.periods or not answer.periods:
        return (
            "the limit is as asked, but the processor is contended: others on the machine, or its hypervisor, left"
            " less than the limit allows; verify again while it rests"
        )
    return "the limit is as asked, but other processes in the workload's group used part of it; verify while it rests"


def _limits(channel: Channel, host: str, workload: Mapping[str, Any]) -> Iterator[Verdict]:
    if not set(workload) & {"cpu_quota", "memory_bytes", "cores"}:
        return
    answer = channel.call("limits", {"host": host, "seconds": _QUOTA_S}, _TIMEOUT_S)
    for verdict in _judged_limits(answer, host, workload):
        # As asked they may be, and hold for nobody: an agent that was started before them is outside.
        unused = [] if answer["processes"] else ["nothing runs under it yet: slicebed deploy starts the agent there"]
        yield replace(verdict, detail="; ".join(filter(None, (verdict.detail, *unused))))


def _judged_limits(answer: Mapping[str, Any], host: str, workload: Mapping[str, Any]) -> Iterator[Verdict]:
    if "cpu_quota" in workload:
        asked = float(workload["cpu_quota"])
        yield judge_quota(host, asked, read_quota(answer["cpu_quota"], host))
    if "memory_bytes" in workload:
        # The kernel counts memory in pages.
        asked = workload["memory_bytes"] // answer["page_bytes"] * answer["page_bytes"]
        found = answer["memory_bytes"]
        yield judge_host(host, Quantity.MEMORY, asked, [] if found is None else [found], 0)
    if "cores" in workload:
        same = answer["cores"] == sorted(workload["cores"])
        detail = "" if same else f"cores {answer['cores']} instead of {sorted(workload['cores'])}"
        found = len(answer["cores"]) if same else 0
        yield judge_host(host, Quantity.CORES, len(workload["cores"]), [found], 0, detail=detail)
