"""Generated answers of two hosts, for the judgement of links: seeded, so that a verdict is always the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slicebed.testbed.verify.answers import ProbeAnswer
from slicebed.testbed.verify.ask import LinkAsk
from slicebed_agent.host.wish import LinkCondition


def ask(forward=None, backward=None, *, a="edge", b="cloud", **changed) -> LinkAsk:
    """A link asked for; the round trip and its jitter follow from the conditions unless they are given."""
    forward = forward or LinkCondition(delay_us=20_000, jitter_us=2_000)
    backward = backward or forward
    plain = LinkAsk(
        a=a,
        b=b,
        address_a="192.0.2.1",
        address_b="192.0.2.2",
        forward=forward,
        backward=backward,
        rtt_us=forward.delay_us + backward.delay_us,
        rtt_jitter_us=round(float(np.hypot(forward.jitter_us, backward.jitter_us))),
        interface_a=f"to-{b}",
        interface_b=f"to-{a}",
    )
    return replace(plain, **changed)


def delays(condition: LinkCondition, count: int, generator: np.random.Generator) -> np.ndarray:
    held = np.maximum(condition.delay_us + condition.jitter_us * generator.standard_normal(count), 0.0)
    return np.where(generator.random(count) < condition.reorder, 0.0, held) if condition.reorder else held


def round_trips(link: LinkAsk, count: int = 2000, *, seed: int = 1, add_us: float = 0.0, clock_us: float = 0.0):
    """What two hosts report of a link that is as asked, plus `add_us`; their clocks differ by `clock_us` and drift."""
    generator = np.random.default_rng(seed)
    there, back = delays(link.forward, count, generator), delays(link.backward, count, generator)
    sent = np.arange(count) * 50_000.0
    return answer(
        sent=count,
        sent_us=tuple(sent),
        rtt_us=tuple(there + back + add_us),
        forward_us=tuple(there + clock_us + 40e-6 * sent),
    )


def exactly(mean_us: float, deviation_us: float = 0.0, count: int = 1000) -> ProbeAnswer:
    """Round trips of exactly this mean and standard deviation."""
    half = deviation_us * np.sqrt((count - 1) / count)
    rtt = np.where(np.arange(count) % 2 == 0, mean_us - half, mean_us + half)
    return answer(sent=count, sent_us=tuple(np.arange(count) * 1e4), rtt_us=tuple(rtt), forward_us=tuple(rtt / 2))


def answer(sent: int = 2000, **changed) -> ProbeAnswer:
    """Both ends' account of `sent` probes of which nothing was lost, unless `changed` says so."""
    perfect = ProbeAnswer(
        sent=sent,
        forward_received=sent,
        forward_duplicates=0,
        forward_overtakings=0,
        backward_sent=sent,
        backward_received=sent,
        backward_duplicates=0,
        backward_overtakings=0,
        forward_overflowed=0,
        backward_overflowed=0,
        sent_us=(),
        rtt_us=(),
        forward_us=(),
    )
    return replace(perfect, **changed)
