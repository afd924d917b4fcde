"""Apply with everything around it: base round trips before the first change, measuring after, verdicts kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError
from slicebed.testbed.channel import on_all, open_channels
from slicebed.testbed.host_tools import CHECKSUM, build_host_tools
from slicebed.testbed.target import verdict_file
from slicebed.testbed.verify.hosts import verify_hosts
from slicebed.testbed.verify.orchestrate import measure_base, verify_links
from slicebed.testbed.verify.store import read_verdicts, write_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slicebed.testbed.channel import HostChannel
    from slicebed.testbed.conditions import Outcome, Player
    from slicebed.testbed.target import Asked, Target
    from slicebed.testbed.verify.ask import LinkAsk
    from slicebed.testbed.verify.verdict import Verdict
    from slicebed_agent.host.wish import LinkCondition

BaseRtts = dict[tuple[str, str], float]
_CALL_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Applied:
    """What an apply changed and measured.

    Attributes:
        outcome: what was changed.
        verdicts: asked against measured; None when nothing was to be measured.
        measured_at: when; None likewise. Before this apply when it changed nothing.
    """

    outcome: Outcome
    verdicts: tuple[Verdict, ...] | None
    measured_at: datetime | None


def apply_target(player: Player, confirm_within_s: float, *, verify: bool) -> Applied:
    """Measure links that nothing shapes yet, apply, and measure what was asked.

    An apply that changes nothing measures nothing when the same wish was measured before.

    Raises:
        SpecError: what the testbed asks cannot be, with file:line.
        ProvisionError: a host refused; what it had done of this apply is undone.
        VerdictError: a peer does not answer at all.
    """
    target = player.target
    base = base_rtts(player) if "network" in target.parts and target.testbed.links else {}
    asked = target.asked(base)
    outcome = player.apply(asked, confirm_within_s)
    if not verify:
        return Applied(outcome, None, None)
    kept = verdict_file(target)
    if not outcome.changed and kept.is_file():
        before = read_verdicts(kept)
        if before.wish_digest == asked.digest:
            return Applied(outcome, before.verdicts, before.when)
    verdicts, when = measure(target, asked, base, player.say)
    return Applied(outcome, verdicts, when)


def verify_target(target: Target, say: Callable[[str], None]) -> tuple[Verdict, ...]:
    """Measure every directed pair, clocks and limits, and keep the verdicts for the runs that follow.

    Raises:
        ProvisionError: a host cannot be reached or has no host tools.
        VerdictError: a peer does not answer at all.
    """
    with open_channels(target.hosts) as channels:
        base = _kept_base(target, _summaries(channels))
    return measure(target, target.asked(base), base, say)[0]


def base_rtts(player: Player) -> BaseRtts:
    """Round trips before shaping by pair: those that the hosts keep, and those of links that nothing shapes yet.

    Raises:
        ProvisionError: a host cannot be reached.
        VerdictError: a peer does not answer.
    """
    target = player.target
    if not _has_tools(target):
        player.bring_tools()
    with open_channels(target.hosts) as channels:
        summaries = _summaries(channels)
        kept = _kept_base(target, summaries)
        changed = {name for name, summary in summaries.items() if "network" in summary["changed_parts"]}
        links = [
            link
            for link in link_asks(target)
            if (link.a, link.b) not in kept and not changed & {link.a, link.b} and not _is_delayed_wire(link)
        ]
        if not links:
            return kept
        measured = measure_base(channels, links, progress=player.say)
        for name, channel in channels.items():
            own = {b: rtt_us for (a, b), rtt_us in measured.items() if a == name}
            if own:
                channel.call("keep_base_rtt", {"rtt_us": own}, _CALL_TIMEOUT_S)
        return {**kept, **measured}


def kept_base_rtts(target: Target) -> BaseRtts:
    """The round trips that hosts keep, as far as any are needed: for links that compensate; none where none is kept."""
    if not target.uncompensated({}):
        return {}
    try:
        with open_channels(target.hosts) as channels:
            return _kept_base(target, _summaries(channels))
    except ProvisionError:
        # A host without the tools keeps nothing; one that is not reached is told of by what follows.
        return {}


def measure(
    target: Target, asked: Asked, base: Mapping[tuple[str, str], float], say: Callable[[str], None]
) -> tuple[tuple[Verdict, ...], datetime]:
    """Measure what is asked of links and hosts, and write the verdicts down."""
    with open_channels(target.hosts) as channels:
        verdicts: list[Verdict] = []
        if "network" in target.parts:
            verdicts += verify_links(channels, link_asks(target), base_us=base, progress=say)
        verdicts += verify_hosts(channels, asked.wishes, progress=say)
    when = datetime.now(UTC)
    write_verdicts(verdict_file(target), verdicts, asked.digest, when)
    return tuple(verdicts), when


def link_asks(target: Target) -> list[LinkAsk]:
    """The links of the testbed as verification takes them."""
    from slicebed.testbed.verify.ask import LinkAsk  # noqa: PLC0415 - type at run time only here

    asks = []
    for link in target.testbed.links:
        there, back = target.hosts[link.a].link_to(link.b), target.hosts[link.b].link_to(link.a)
        asks.append(
            LinkAsk(
                link.a,
                link.b,
                there.address,
                there.peer_address,
                _capped(link.forward, target.testbed.host(link.a).uplink_bit_per_s),
                _capped(link.backward, target.testbed.host(link.b).uplink_bit_per_s),
                link.asked.rtt_us or None,
                link.asked.rtt_jitter_us,
                there.wire,
                there.interface,
                back.interface,
            )
        )
    return asks


def _has_tools(target: Target) -> bool:
    """Whether every host has this version of the host tools: then no playbook is needed to speak with it."""
    checksum = (build_host_tools(target.checkout) / CHECKSUM).read_text()
    try:
        with open_channels(target.hosts) as channels:
            return all(summary["tools"] == checksum for summary in _summaries(channels).values())
    except ProvisionError:
        # Not there, or not reached: the playbook says which, with Ansible's own words.
        return False


def _capped(condition: LinkCondition, uplink_bit_per_s: int | None) -> LinkCondition:
    """The condition as one direction measured alone meets it: under the cap of what its sender sends."""
    rates = [rate for rate in (condition.rate_bit_per_s, uplink_bit_per_s) if rate is not None]
    return replace(condition, rate_bit_per_s=min(rates, default=None))


def _summaries(channels: Mapping[str, HostChannel]) -> dict[str, dict[str, Any]]:
    return on_all(channels, lambda _, channel: channel.call("summary", {}, _CALL_TIMEOUT_S))


def _kept_base(target: Target, summaries: Mapping[str, dict[str, Any]]) -> BaseRtts:
    kept: BaseRtts = {}
    for link in target.testbed.links:
        own = summaries[link.a]["base_rtt_us"]
        if link.b in own:
            kept[link.a, link.b] = float(own[link.b])
    return kept


def _is_delayed_wire(link: LinkAsk) -> bool:
    from slicebed.lab import WireSetting, read_wire  # noqa: PLC0415 - only the lab has such wires

    if link.wire == "netem":
        return False
    wire = read_wire(link.a, link.b)
    return WireSetting() not in (wire.forward, wire.backward) or wire.forward != wire.backward
