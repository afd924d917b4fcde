"""Couper's Figures 10 to 12: which split points the methods find, across edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from slicebed.results.reproduce.intervals import Estimate, difference, exact, quotient, ratio
from slicebed.results.reproduce.measured import (
    fastest,
    is_exhausted,
    least_dropped,
    measured,
    problem_title,
)
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import (
    SAME_LATENCY,
    Fact,
    Statement,
    Verdict,
    all_of,
    any_of,
    at_most,
    greater,
    less,
    of_every,
    unmeasured,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from slicebed.results.reproduce.measured import CutFigures, Decision, Searches

    Excess = Callable[[CutFigures, Sequence[CutFigures], int], Estimate]

_PNASNET = "PNASNet 331"
FIGURES = {"Inception V3": 10, "Inception ResNet V2": 11, _PNASNET: 12}
METHODS = ("strongman", "comm-slim", "early-stop", "hybrid", "predict")
# "Relatively good performance": within a quarter of the best.
_GOOD = 1.25
_TWICE = 2.0
_ITERATIONS = 3
_SOURCE = "Couper, section 7, Quality-of-Slice"
_NOT_ALL = "of no model and edge was every split point measured, so that no best one is known"
_LIMITED = ("low", "mid", "high")
_CASES = len(FIGURES) * len(_LIMITED)


def figures10_12(searches: Searches) -> pd.DataFrame:
    """A row for each model, edge and method: what it chose, beside the best for latency and for drop rate.

    ``all_measured`` is 1 where every split point was, so that the best is known; else it is the best of those measured.
    ``stopped_by_budget`` is 1 where by itself the method would have measured more.
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
                    "stopped_by_budget": int(decision.stopped_by_budget),
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
        at_least=dict.fromkeys(("runs", "testbed_s"), "stopped_by_budget"),
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
    "figure", "model", "edge", "all_measured", "method", "runs", "testbed_s", "stopped_by_budget", "chosen",
    "latency_ms", "above_best", "best_for_latency", "best_latency_ms", "best_for_drops", "least_drop_rate",
)  # fmt: skip


def _problems(searches: Searches) -> Iterator[tuple[tuple[str, str], tuple[CutFigures, ...]]]:
    """Those of the figures' models."""
    return ((problem, cuts) for problem, cuts in searches.problems().items() if problem[0] in FIGURES)


def _exhausted(searches: Searches) -> list[list[CutFigures]]:
    """The split points of each problem whose split points were all measured; without those that completed nothing."""
    every = [cuts for _, cuts in _problems(searches) if is_exhausted(cuts)]
    known = [[each for each in cuts if not math.isnan(each.latency_ms.value)] for cuts in every]
    return [cuts for cuts in known if cuts]


def _slower(cut: CutFigures, cuts: Sequence[CutFigures], among: int) -> Estimate:
    """How much longer it takes than the fastest, as a share of that; 0 of the fastest itself."""
    other = fastest(each for each in cuts if each.key != cut.key)
    return exact(0.0) if other is None else _above(ratio(cut.latency_ms, other.latency_ms, among), 1.0)


def _drops_more(cut: CutFigures, cuts: Sequence[CutFigures], among: int) -> Estimate:
    """How much higher its drop rate is than the least; 0 of the least dropping one itself."""
    other = least_dropped(each for each in cuts if each.key != cut.key)
    return exact(0.0) if other is None else _above(difference(cut.drop_rate, other.drop_rate, among), 0.0)


def _above(found: Estimate, least: float) -> Estimate:
    """What is above the least value that there can be; without an interval it may be anything."""
    high = math.inf if math.isnan(found.high) else found.high
    value, low, high = (max(0.0, each - least) for each in (found.value, found.low, high))
    return Estimate(value, low, high, found.n)


def _at_best(cuts: Sequence[CutFigures], best: CutFigures, by: Excess, of: Excess, among: int) -> Estimate:
    """An excess at the split point that is best by another figure, over all that may be the best by it."""
    spans = [of(each, cuts, among) for each in cuts if by(each, cuts, among).low <= 0]
    low, high = min(each.low for each in spans), max(each.high for each in spans)
    return of(best, cuts, among)._replace(low=low, high=high)


def _objectives_differ(searches: Searches) -> Statement:
    text = "The best split point for latency may not be the best one for drop rate."
    return _at_bests(searches, text, f"{_SOURCE}, Figures 10 to 12", (_slower, _drops_more), 0.0)


def _twice_slower(searches: Searches) -> Statement:
    text = "The split point with the lowest drop rate can have twice the latency of the fastest one."
    return _at_bests(searches, text, f"{_SOURCE}, Figure 11a", (_drops_more, _slower), _TWICE - 1)


def _at_bests(searches: Searches, text: str, source: str, figures: tuple[Excess, Excess], bound: float) -> Statement:
    """Whether in some case the second figure is above a bound at the best split point by the first."""
    every = _exhausted(searches)
    if not every:
        return unmeasured(text, source, _NOT_ALL)
    by, of = figures
    found = []
    for cuts in every:
        best = min(cuts, key=lambda each: (by(each, cuts, 1).value, of(each, cuts, 1).value))
        found.append((best, _at_best(cuts, best, by, of, len(every))))
    verdicts = [greater(each, bound) for _, each in found]
    what = "drop rate above the least" if of is _drops_more else "latency above the fastest's, as a share of it"
    facts = tuple(Fact(f"{best.title}: at {best.cut} {what}", each) for best, each in found)
    surely = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    most = max(each.value for _, each in found)
    return Statement(text, source, any_of(verdicts), f"Surely in {surely} of {len(every)}; at most {most:.2g}.", facts)


def _hybrid_matches(searches: Searches) -> Statement:
    text = (
        "For latency hybrid finds what strongman finds, with the mid-end and the high-end edge (Figures 10b, c,"
        " 11b, c)."
    )
    source = f"{_SOURCE}, Figures 10 and 11"
    wanted = {(model, edge) for model in FIGURES if model != _PNASNET for edge in ("mid", "high")}
    return _near_the_best(text, source, _chosen(searches, "hybrid", wanted), SAME_LATENCY, len(wanted))


def _hybrid_is_good(searches: Searches) -> Statement:
    text = "Even where hybrid does not find the best split point, what it finds performs well."
    found = _chosen(searches, "hybrid", {problem for problem, _ in _problems(searches)})
    return _near_the_best(text, f"{_SOURCE}, Figures 10a and 12d", found, _GOOD, _CASES)


def _near_the_best(
    text: str, source: str, found: Sequence[tuple[Decision, Fact]], allowed: float, published: int
) -> Statement:
    """Whether the latency of every choice is less than so many times the best one's, in so many cases of the paper."""
    if not found:
        return unmeasured(text, source, _NOT_ALL)
    verdicts = [less(fact.estimate, allowed - 1) for _, fact in found]
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    same = sum(fact.estimate.high == 0 for _, fact in found)
    why = f"The same split point in {same} of {len(found)} cases, surely within {allowed - 1:.0%} in {kept}."
    verdict, missing = of_every(verdicts, published)
    return Statement(text, source, verdict, f"{why}{missing}", tuple(fact for _, fact in found))


def _chosen(searches: Searches, method: str, problems: Container[tuple[str, str]]) -> list[tuple[Decision, Fact]]:
    """What a method decided, and how much longer its choice takes than the best one, where that is known."""
    known = [
        (decision, chosen, cuts)
        for cuts in _exhausted(searches)
        if cuts[0].problem in problems
        and (decision := searches.decision(cuts[0].problem, method)) is not None
        and (chosen := searches.chosen(cuts[0].problem, method)) is not None
    ]
    found = []
    for decision, chosen, cuts in known:
        best = fastest(cuts)
        same = best is not None and best.key == chosen.key
        # The choice was picked too, among those that the method measured.
        above = exact(0.0) if same else _slower(chosen, cuts, len(known) * max(1, decision.candidates))
        if decision.stopped_by_budget:
            # What it would have measured more could but have made its choice better.
            above = above._replace(low=0.0)
        what = f"{chosen.title}: latency at {chosen.cut} above the fastest's, as a share of it"
        found.append((decision, Fact(what, above)))
    return found


def _hybrid_is_quickest(searches: Searches) -> Statement:
    text = "Of the paper's four methods hybrid has the lowest time to slice."
    source = f"{_SOURCE}, Figures 10 to 12"
    verdicts, facts = [], []
    for problem, _ in _problems(searches):
        found = {method: searches.decision(problem, method) for method in METHODS[:4]}
        times = {method: each.time_s for method, each in found.items() if each is not None}
        hybrid = times.pop("hybrid", None)
        if hybrid is None or not times:
            continue
        quickest = min(times, key=lambda method: times[method].value)
        facts.append(Fact(f"{problem_title(problem)}: share of {quickest}'s time", quotient(hybrid, times[quickest])))
        verdicts.append(all_of(at_most(hybrid, each) for each in times.values()))
    if not verdicts:
        return unmeasured(text, source, "hybrid was run beside no other of the four methods")
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    verdict, missing = of_every(verdicts, _CASES)
    return Statement(text, source, verdict, f"So in {kept} of {len(verdicts)} cases.{missing}", tuple(facts))


def _early_stop(searches: Searches) -> Statement:
    text = "Early-stop finds strongman's split point with a limited edge, within three iterations (PNASNet)."
    source = f"{_SOURCE}, Figures 12a to c"
    found = _chosen(searches, "early-stop", {(_PNASNET, edge) for edge in _LIMITED})
    if not found:
        return unmeasured(
            text, source, "PNASNet's split points were not all measured, or early-stop was not run on them"
        )
    counts = [at_most(decision.count, exact(_ITERATIONS)) for decision, _ in found]
    verdicts = [
        all_of((less(fact.estimate, SAME_LATENCY - 1), few)) for (_, fact), few in zip(found, counts, strict=True)
    ]
    facts = [each for decision, fact in found for each in (fact, Fact("split points evaluated", decision.count))]
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    verdict, missing = of_every(verdicts, len(_LIMITED))
    return Statement(text, source, verdict, f"Both so in {kept} of {len(found)} cases.{missing}", tuple(facts))
