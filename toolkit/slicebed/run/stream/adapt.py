"""Which of several cuts to run, decided again whenever the links or the hosts are measured; pure.

A candidate's latency is predicted from what was just measured under the cut in use: the hosts' speed on the slices that
they run now, each link's round trip and rate, and what the codec makes of the bytes. A cut that was in use before is
predicted by the times that its own slices took then: floating-point work says less of them.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GAIN: Final = 0.20
"""How much shorter a cut's predicted latency must be. Predictions of two equal cuts, each off by up to 10 %, differ by
at most 1 - 0.9 / 1.1 = 18 %: noise of that size cannot make the choice go back and forth."""
IN_A_ROW: Final = 3
"""Evaluations, one after the other, in which it must be so."""
REST_S: Final = 10.0
"""Seconds after a change (or the start) in which there is no other."""


@dataclass(frozen=True)
class Candidate:
    """A cut that may be run.

    Attributes:
        label: as results name it.
        boundary_bytes: of a frame, as arrays, for each boundary between two slices.
        flops: of a frame, for each slice.
    """

    label: str
    boundary_bytes: tuple[int, ...]
    flops: tuple[int, ...]


@dataclass(frozen=True)
class LinkState:
    """A link as it is now.

    Attributes:
        round_trip_s: of a small message.
        rate_bit_per_s: of large transfers; 0 as long as nobody knows.
        ratio: bytes behind the codec per byte before it.
    """

    round_trip_s: float
    rate_bit_per_s: int
    ratio: float = 1.0


@dataclass(frozen=True)
class Measured:
    """What the last interval showed under the cut in use.

    Attributes:
        links: by the boundary that crosses it: between slice i and i + 1; None where both are on one host.
        compute_s: mean of a frame, for each slice.
    """

    links: tuple[LinkState | None, ...]
    compute_s: tuple[float, ...]


class Verdict(StrEnum):
    """What came of an evaluation."""

    STAY = "stay"
    WAIT = "wait"
    SWITCH = "switch"


@dataclass(frozen=True)
class Decision:
    """One evaluation.

    Attributes:
        cut: the label to switch to, or that waits for its time; the current one where nothing is better.
        reason: in a line.
        predicted_ms: latency of every candidate.
    """

    verdict: Verdict
    cut: str
    reason: str
    predicted_ms: Mapping[str, float]


@dataclass(frozen=True)
class Patience:
    """What is remembered from one evaluation to the next.

    Attributes:
        changed_s: when the cut was last changed, or the stream began.
        streaks: in how many evaluations in a row each candidate was clearly better.
        compute_s: of every cut that was in use: what its slices took last.
    """

    changed_s: float
    streaks: Mapping[str, int] = field(default_factory=dict)
    compute_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def predict_s(
    candidate: Candidate, current: Candidate, measured: Measured, known_s: Sequence[float] | None = None
) -> float:
    """Seconds from the first slice to the answer: compute of every slice, transfer and way of every link.

    Args:
        candidate: the cut.
        current: the cut in use.
        measured: under that one.
        known_s: what each of the candidate's own slices took when it was in use.
    """
    total = sum(_scaled_s(candidate, current, measured.compute_s) if known_s is None else known_s)
    for size_bytes, link in zip(candidate.boundary_bytes, measured.links, strict=True):
        if link is None:
            continue
        total += link.round_trip_s / 2
        if link.rate_bit_per_s:
            total += 8 * size_bytes * link.ratio / link.rate_bit_per_s
    return total


def _scaled_s(candidate: Candidate, current: Candidate, compute_s: Sequence[float]) -> list[float]:
    """By the hosts' speed on what they run now; of a slice without floating-point work, the median of the others."""
    speeds = [flops / seconds for flops, seconds in zip(current.flops, compute_s, strict=True) if flops and seconds > 0]
    middle = statistics.median(speeds) if speeds else None

    def scaled(now: int, then: int, seconds: float) -> float:
        if now > 0:
            return seconds * then / now
        return seconds if middle is None else then / middle

    return [scaled(*each) for each in zip(current.flops, candidate.flops, compute_s, strict=True)]


def decide(
    candidates: Mapping[str, Candidate], current: str, measured: Measured, patience: Patience, at_s: float
) -> tuple[Decision, Patience]:
    """Evaluate all candidates once.

    Args:
        candidates: by label, the current cut among them.
        current: label of the cut in use.
        measured: under that cut.
        patience: from the evaluation before.
        at_s: now, on the clock of ``patience.changed_s``.

    Returns:
        The decision, and what to remember. Whoever carries out a switch says so with `changed`.
    """
    known = {**patience.compute_s, current: measured.compute_s}
    predicted = {
        label: predict_s(each, candidates[current], measured, known.get(label)) for label, each in candidates.items()
    }
    bar = (1 - GAIN) * predicted[current]
    streaks = {
        label: patience.streaks.get(label, 0) + 1
        for label, latency in predicted.items()
        if label != current and latency <= bar
    }
    patience = replace(patience, streaks=streaks, compute_s=known)
    shown = {label: round(1000 * latency, 3) for label, latency in predicted.items()}
    if not streaks:
        return Decision(Verdict.STAY, current, f"no cut is {GAIN:.0%} faster than {current}", shown), patience
    best = min(streaks, key=lambda label: (streaks[label] < IN_A_ROW, predicted[label]))
    gain = 1 - predicted[best] / predicted[current]
    reason = (
        f"{best} is predicted {gain:.0%} faster: {shown[best]:.1f} ms, {current} {shown[current]:.1f} ms;"
        f" {streaks[best]} in a row"
    )
    rested_s = at_s - patience.changed_s
    if streaks[best] >= IN_A_ROW and rested_s >= REST_S:
        return Decision(Verdict.SWITCH, best, reason, shown), patience
    return Decision(Verdict.WAIT, best, reason, shown), patience


def changed(at_s: float, before: Patience | None = None) -> Patience:
    """What to remember when the cut has just been changed, by whomever, or the stream has begun."""
    return Patience(at_s, compute_s={} if before is None else before.compute_s)
