"""Run the planned measurements over the channels to the hosts, and judge what comes back."""

from __future__ import annotations

import contextlib
import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from slicebed.errors import SlicebedError, SpecError, VerdictError
from slicebed.testbed.verify.answers import read_probe, read_session, read_stream
from slicebed.testbed.verify.judge import Probed, is_blurred, judge_link, judge_stream
from slicebed.testbed.verify.plan import plan_base, plan_verification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slicebed.testbed.verify.answers import ProbeAnswer, StreamAnswer
    from slicebed.testbed.verify.ask import Channel, LinkAsk
    from slicebed.testbed.verify.plan import LinkPlan, ProbeWish, StreamPlan
    from slicebed.testbed.verify.verdict import Verdict

Item = TypeVar("Item")
Result = TypeVar("Result")
# Beyond what a measurement takes: the way to the host and back, and a busy host.
_MARGIN_S = 30.0
_LONGEST_LIFETIME_S = 3600.0
_MOST_AT_ONCE = 16
_MOST_STREAMS = 3
# Unlike cubic, BBR does not leave a link idle after it has filled its queue; the verdict names what was used.
_CONGESTION = ("bbr", "cubic")


def verify_links(
    channels: Mapping[str, Channel],
    links: Sequence[LinkAsk],
    *,
    base_us: Mapping[tuple[str, str], float] | None = None,
    goodput: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Verdict]:
    """Measure every link and judge it.

    Args:
        channels: one per host named in `links`.
        links: what to measure.
        base_us: round trips before shaping, by (a, b), as `measure_base` gives them; they go into the verdicts.
        goodput: whether rates are measured as well.
        progress: told in one line what is measured now.

    Returns:
        The verdicts in the order of `links`, per link its round trip first and its rates last.

    Raises:
        SpecError: a host has no channel.
        VerdictError: a peer is unreachable over its link.
        SlicebedError: what a channel raises.
    """
    _check_channels(channels, links)
    plan = plan_verification(links, goodput=goodput)
    bases = base_us or {}

    def probed(one: LinkPlan) -> list[Verdict]:
        return judge_link(_measure(channels, one, bases.get((one.link.a, one.link.b))))

    found: dict[int, list[Verdict]] = {id(link): [] for link in links}
    for number, probes in enumerate(plan.probes, start=1):
        progress(f"round trips and loss, {number} of {len(plan.probes)}: {', '.join(one.link.name for one in probes)}")
        for one, verdicts in zip(probes, _at_once(probed, probes), strict=True):
            found[id(one.link)] += verdicts
    for number, streams in enumerate(plan.streams, start=1):
        progress(f"goodput, {number} of {len(plan.streams)}: {', '.join(stream.name for stream in streams)}")
        for stream, verdict in zip(streams, _at_once(lambda one: _stream(channels, one), streams), strict=True):
            found[id(stream.link)].append(verdict)
    return [verdict for link in links for verdict in found[id(link)]]


def measure_base(
    channels: Mapping[str, Channel], links: Sequence[LinkAsk], *, progress: Callable[[str], None] = lambda _: None
) -> dict[tuple[str, str], float]:
    """Measure the round trip of links that are not shaped yet.

    The median, in us, by (a, b): a busy host delays a few of the probes by much, and the shaped link will not repeat
    just those.

    Raises:
        SpecError: a host has no channel.
        VerdictError: a peer is unreachable over its link.
        SlicebedError: what a channel raises.
    """
    _check_channels(channels, links)

    def base(one: LinkPlan) -> float:
        wish = one.round_trips
        answer = None if wish is None else _probe(channels, one.link, wish)
        if answer is None or not answer.rtt_us:
            raise VerdictError(
                f"{one.link.address_b} does not answer {one.link.address_a}",
                where=one.link.name,
                mend="check the cable, the addresses and that no firewall drops UDP on the link",
            )
        return statistics.median(answer.rtt_us)

    measured = {}
    for probes in plan_base(links):
        progress(f"base round trips: {', '.join(one.link.name for one in probes)}")
        for one, median_us in zip(probes, _at_once(base, probes), strict=True):
            measured[one.link.a, one.link.b] = median_us
    return measured


def _measure(channels: Mapping[str, Channel], plan: LinkPlan, base_us: float | None) -> Probed:
    round_trips = None if plan.round_trips is None else _probe(channels, plan.link, plan.round_trips)
    # An unreachable peer is known by now; its train would only take time.
    reachable = round_trips is None or round_trips.backward_received
    train = _probe(channels, plan.link, plan.train) if plan.train is not None and reachable else None
    return Probed(plan.link, round_trips, train, plan.train.interval_us if plan.train else 0, base_us)


def _probe(channels: Mapping[str, Channel], link: LinkAsk, wish: ProbeWish) -> ProbeAnswer:
    near, far = channels[link.a], channels[link.b]
    lifetime_s = min(wish.longest_s + _MARGIN_S, _LONGEST_LIFETIME_S)
    request = {
        "source": link.address_a,
        "destination": link.address_b,
        "count": wish.count,
        "interval_us": wish.interval_us,
        "timeout_us": wish.timeout_us,
        "pace": wish.pace,
        "give_up_after": wish.give_up_after,
    }
    opened = far.call("start_responder", {"address": link.address_b, "lifetime_s": lifetime_s}, _MARGIN_S)
    session = read_session(opened, f"{link.name}: {link.b}")
    with _closing(far, "stop_responder", session.token):
        probed = near.call(
            "run_probe", {**request, "port": session.port, "token": session.token}, lifetime_s + _MARGIN_S
        )
    return read_probe(probed, far.call("stop_responder", {"token": session.token}, _MARGIN_S), link.name)


def _stream(channels: Mapping[str, Channel], stream: StreamPlan) -> Verdict:
    """Judge one direction's rate; where jitter blurs it, from more than one stream."""
    answers = [_fill(channels, stream)]
    while is_blurred(verdict := judge_stream(stream, answers)) and len(answers) < _MOST_STREAMS:
        answers.append(_fill(channels, stream))
    return verdict


def _fill(channels: Mapping[str, Channel], stream: StreamPlan) -> StreamAnswer:
    link = stream.link
    near, far = (link.b, link.a) if stream.backward else (link.a, link.b)
    source, destination = (link.address_b, link.address_a) if stream.backward else (link.address_a, link.address_b)
    seconds = stream.settle_s + stream.counted_s
    opened = channels[far].call(
        "start_sink", {"address": destination, "lifetime_s": seconds + 2 * _MARGIN_S}, _MARGIN_S
    )
    session = read_session(opened, f"{stream.name}: {far}")
    request: dict[str, Any] = {
        "source": source,
        "destination": destination,
        "port": session.port,
        "token": session.token,
        # The sink leaves its last window out, and its first begins a one-way delay later.
        "seconds": seconds + 0.5,
        "streams": stream.streams,
        "congestion": list(_CONGESTION),
    }
    with _closing(channels[far], "finish_sink", session.token):
        report = channels[near].call("run_source", request, seconds + 2 * _MARGIN_S)
    counts = channels[far].call("finish_sink", {"token": session.token}, _MARGIN_S)
    return read_stream(report, counts, stream.name)


@contextlib.contextmanager
def _closing(channel: Channel, verb: str, token: str) -> Iterator[None]:
    """After an error, close the far end too; the first error is the one that counts."""
    try:
        yield
    except SlicebedError:
        with contextlib.suppress(SlicebedError):
            channel.call(verb, {"token": token}, _MARGIN_S)
        raise


def _at_once(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    with ThreadPoolExecutor(max_workers=min(len(items), _MOST_AT_ONCE)) as pool:
        return list(pool.map(work, items))


def _check_channels(channels: Mapping[str, Channel], links: Sequence[LinkAsk]) -> None:
    for link in links:
        for host in (link.a, link.b):
            if host not in channels:
                raise SpecError(f"host {host} has no connection", where=link.name, mend="name a host of the testbed")
