"""Couper's Figures 10 to 12: which split points the methods find, across edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from slicebed.results.reproduce.intervals import Estimate, difference, exact, ratio
from slicebed.results.reproduce.measured import (
    fastest,
    is_exhausted,
    least_dropped,
    measured,
    problem_title,
)
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import (
    Fact,
    Statement,
    Verdict,
    all_of,
    any_of,
    greater,
    less,
    truth,
    unmeasured,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slicebed.results.reproduce.measured import CutFigures, Searches

FIGURES = {"Inception V3": 10, "Inception ResNet V2": 11, "PNASNet 331": 12}
METHODS = ("strongman", "comm-slim", "early-stop", "hybrid", "predict")
# "Relatively good performance": within a quarter of the best.
_GOOD = 1.25
_TWICE = 2.0
_ITERATIONS = 3
_SOURCE = "Couper, section 7, Quality-of-Slice"
_NOT_ALL = "of no model and edge was every split point measured, so that no best one is known"
_LIMITED = ("low", "mid", "high")


def figures10_12(searches: Searches) -> pd.DataFrame:
    """A row for each model, edge and method: what it chose, beside the best for latency and for drop rate.

    ``all_measured`` is 1 where every split point was, so that the best is known; else it is the best of those measured.
    """
    rows = []
    for problem, cuts in _problems(searches):
        fast, kept = fastest(measured(cuts)), least_dropped(measured(cuts))
        if fast is None or kept is None:
            continue
        for method in METHODS:
            decision, chosen = searches.decision(problem, method), searches.chosen(problem, method)
            if decision is None:
                continue
            regret = math.nan if chosen is None else chosen.latency_ms.value / fast.latency_ms.value - 1
            rows.append(
                {
                    "figure": FIGURES[problem[0]],
                    "model": problem[0],
                    "edge": problem[1],
                    "all_measured": int(is_exhausted(cuts)),
                    "method": method,
                    "runs": decision.candidates,
                    "testbed_s": decision.testbed_s,
                    "chosen": "" if chosen is None else chosen.cut,
                    "latency_ms": math.nan if chosen is None else chosen.latency_ms.value,
                    "above_best": regret,
                    "best_for_latency": fast.cut,
                    "best_latency_ms": fast.latency_ms.value,
                    "best_for_drops": kept.cut,
                    "least_drop_rate": kept.drop_rate.value,
                }
            )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def section_figures10_12(searches: Searches) -> Section:
    """Figures 10 to 12 and what the paper says of them."""
    return Section(
        target="couper-fig10-12",
        name="couper_fig10_12",
        title="Couper, Figures 10 to 12: split points found by method, across edges",
        table=figures10_12(searches),
        comparable=(
            "Whether a method finds the best split point or how far it is from it, and whether both objectives agree."
        ),
        not_comparable=(
            "Which split point is the best: that is a property of hosts and links. Figure 12d needs an accelerator"
            " on the"
            " edge, which no lab host has. The paper gives the figures as pictures without numbers."
        ),
        statements=judge_figures10_12(searches),
    )


def judge_figures10_12(searches: Searches) -> tuple[Statement, ...]:
    """The paper's statements about its Figures 10 to 12."""
    return (
        _objectives_differ(searches),
        _twice_slower(searches),
        _hybrid_matches(searches),
        _hybrid_is_good(searches),
        _hybrid_is_quickest(searches),
        _early_stop(searches),
        unmeasured(
            "With an accelerator on the edge (Figure 12d) hybrid finds better split points than early-stop, and"
            " comm-slim the"
            " same as strongman.",
            f"{_SOURCE}, Figure 12d",
            (
                "No lab host has an accelerator; with hosts that have one, search"
                " experiments/reproduce/couper_fig12.yml there."
            ),
        ),
    )


_COLUMNS = (
    "figure", "model", "edge", "all_measured", "method", "runs", "testbed_s", "chosen", "latency_ms", "above_best",
    "best_for_latency", "best_latency_ms", "best_for_drops", "least_drop_rate",
)  # fmt: skip


def _problems(searches: Searches) -> Iterator[tuple[tuple[str, str], tuple[CutFigures, ...]]]:
    """Those of the figures' models."""
    return ((problem, cuts) for problem, cuts in searches.problems().items() if problem[0] in FIGURES)


def _bests(searches: Searches) -> list[tuple[CutFigures, CutFigures]]:
    """The best for latency and for drop rate of each problem whose split points were all measured."""
    pairs = ((fastest(cuts), least_dropped(cuts)) for _, cuts in _problems(searches) if is_exhausted(cuts))
    return [(fast, kept) for fast, kept in pairs if fast is not None and kept is not None]


def _objectives_differ(searches: Searches) -> Statement:
    text = "The best split point for latency may not be the best one for drop rate."
    source = f"{_SOURCE}, Figures 10 to 12"
    pairs = _bests(searches)
    if not pairs:
        return unmeasured(text, source, _NOT_ALL)
    verdicts, facts = [], []
    for fast, kept in pairs:
        if fast.key == kept.key:
            verdicts.append(Verdict.FAILS)
            continue
        gain = difference(fast.drop_rate, kept.drop_rate)
        # Another split point with the same drop rate, as far as one can tell, is no other answer.
        verdicts.append(greater(gain, 0.0))
        facts.append(Fact(f"{fast.title}: drop rate at the fastest ({fast.cut}) less at the best ({kept.cut})", gain))
    differ = sum(fast.key != kept.key for fast, kept in pairs)
    surely = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    why = f"Two split points in {differ} of {len(pairs)} cases, with a drop rate that surely differs in {surely}."
    return Statement(text, source, any_of(verdicts), why, tuple(facts))


def _twice_slower(searches: Searches) -> Statement:
    text = "The split point with the lowest drop rate can have twice the latency of the fastest one."
    source = f"{_SOURCE}, Figure 11a"
    pairs = _bests(searches)
    if not pairs:
        return unmeasured(text, source, _NOT_ALL)
    found = [
        (fast, kept, exact(1.0) if fast.key == kept.key else ratio(kept.latency_ms, fast.latency_ms))
        for fast, kept in pairs
    ]
    facts = tuple(Fact(f"{fast.title}: latency at {kept.cut} of {fast.cut}'s", each) for fast, kept, each in found)
    verdicts = [_as_much(each, _TWICE) for _, _, each in found]
    most = max(each.value for _, _, each in found)
    return Statement(text, source, any_of(verdicts), f"Here it has up to {most:.2g} times.", facts)


def _hybrid_matches(searches: Searches) -> Statement:
    text = (
        "For latency hybrid finds what strongman finds, with the mid-end and the high-end edge (Figures 10b, c,"
        " 11b, c)."
    )
    source = f"{_SOURCE}, Figures 10 and 11"
    wanted = [
        (problem, cuts)
        for problem, cuts in _problems(searches)
        if problem[0] != "PNASNet 331" and problem[1] in {"mid", "high"} and is_exhausted(cuts)
    ]
    return _near_the_best(searches, wanted, 1.0, text, source)


def _hybrid_is_good(searches: Searches) -> Statement:
    text = "Even where hybrid does not find the best split point, what it finds performs well."
    source = f"{_SOURCE}, Figures 10a and 12d"
    every = [(problem, cuts) for problem, cuts in _problems(searches) if is_exhausted(cuts)]
    return _near_the_best(searches, every, _GOOD, text, source)


def _near_the_best(
    searches: Searches,
    problems: Sequence[tuple[tuple[str, str], tuple[CutFigures, ...]]],
    allowed: float,
    text: str,
    source: str,
) -> Statement:
    """Whether the latency of hybrid's choice is at most so many times the best one's; surely more fails."""
    verdicts, facts = [], []
    for problem, cuts in problems:
        best, chosen = fastest(cuts), searches.chosen(problem, "hybrid")
        if best is None or chosen is None:
            continue
        above = exact(1.0) if best.key == chosen.key else ratio(chosen.latency_ms, best.latency_ms)
        facts.append(Fact(f"{problem_title(problem)}: latency at {chosen.cut} of {best.cut}'s", above))
        if best.key == chosen.key:
            verdicts.append(Verdict.HOLDS)
        else:
            verdicts.append(_within(above, allowed))
    if not verdicts:
        return unmeasured(text, source, _NOT_ALL)
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    same = sum(fact.estimate.value == 1 for fact in facts)
    why = f"The same split point in {same} of {len(facts)} cases, "
    why += f"within {allowed - 1:.0%}" if allowed > 1 else "as fast, as far as one can tell,"
    return Statement(text, source, all_of(verdicts), f"{why} in {kept}.", tuple(facts))


def _within(above: Estimate, allowed: float) -> Verdict:
    """At most `allowed` by the value, and not surely more; where 1 is allowed, anything not surely above it."""
    if above.low > allowed:
        return Verdict.FAILS
    if allowed == 1:
        return Verdict.OPEN if math.isnan(above.low) else Verdict.HOLDS
    return Verdict.HOLDS if above.value <= allowed else Verdict.OPEN


def _as_much(found: Estimate, wanted: float) -> Verdict:
    """At least `wanted` by the value, and surely above 1; fails where it surely is less."""
    if less(found, wanted) is Verdict.HOLDS:
        return Verdict.FAILS
    return Verdict.HOLDS if found.value >= wanted and found.low > 1 else Verdict.OPEN


def _hybrid_is_quickest(searches: Searches) -> Statement:
    text = "Of the paper's four methods hybrid has the lowest time to slice."
    source = f"{_SOURCE}, Figures 10 to 12"
    verdicts, facts = [], []
    for problem, _ in _problems(searches):
        found = {method: searches.decision(problem, method) for method in METHODS[:4]}
        times = {method: each.testbed_s for method, each in found.items() if each is not None}
        hybrid = times.pop("hybrid", None)
        if hybrid is None or not times:
            continue
        quickest = min(times, key=lambda method: times[method])
        facts.append(Fact(f"{problem_title(problem)}: share of {quickest}'s time", exact(hybrid / times[quickest])))
        verdicts.append(truth(hybrid <= times[quickest]))
    if not verdicts:
        return unmeasured(text, source, "hybrid was run beside no other of the four methods")
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    return Statement(text, source, all_of(verdicts), f"So in {kept} of {len(verdicts)} cases.", tuple(facts))


def _early_stop(searches: Searches) -> Statement:
    text = "Early-stop finds strongman's split point with a limited edge, within three iterations (PNASNet)."
    source = f"{_SOURCE}, Figures 12a to c"
    verdicts, facts = [], []
    for problem, cuts in _problems(searches):
        decision, chosen = searches.decision(problem, "early-stop"), searches.chosen(problem, "early-stop")
        best = fastest(cuts) if problem[0] == "PNASNet 331" and problem[1] in _LIMITED and is_exhausted(cuts) else None
        if best is None or decision is None or chosen is None:
            continue
        above = exact(1.0) if best.key == chosen.key else ratio(chosen.latency_ms, best.latency_ms)
        same = Verdict.HOLDS if best.key == chosen.key else _within(above, 1.0)
        verdicts.append(all_of((same, truth(decision.candidates <= _ITERATIONS))))
        facts.append(Fact(f"{problem_title(problem)}: latency at {chosen.cut} of {best.cut}'s", above))
        facts.append(Fact("split points evaluated", exact(decision.candidates)))
    if not verdicts:
        return unmeasured(
            text, source, "PNASNet's split points were not all measured, or early-stop was not run on them"
        )
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    return Statement(text, source, all_of(verdicts), f"Both so in {kept} of {len(verdicts)} cases.", tuple(facts))
