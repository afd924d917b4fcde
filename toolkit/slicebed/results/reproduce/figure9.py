"""Couper's Figure 9: the best sliced result of every model beside the whole model in the cloud; and its Figure 2."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from slicebed.results.reproduce.intervals import difference, ratio, scaled
from slicebed.results.reproduce.measured import fastest, least_dropped, measured, problem_title
from slicebed.results.reproduce.names import EDGES, TITLES
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import (
    SAME_LATENCY,
    Fact,
    Statement,
    Verdict,
    all_of,
    any_of,
    less,
    of_every,
    unmeasured,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from slicebed.results.reproduce.intervals import Estimate
    from slicebed.results.reproduce.measured import CutFigures, Searches

# The least improvements that the paper reports over all models.
_LEAST_LATENCY, _LEAST_DROPS = 0.40, 0.60
_SMALL = frozenset({"MobileNet V2 1.4", "VGG 16"})
# Drop rates of the figure's bars that one would read as the same.
_SAME_RATE = 0.10
_FIGURE_9 = "Couper, section 7, End-to-end performance, Figure 9"
_FIGURE_2 = "Couper, section 3, Figure 2"
_NO_PAIRS = "no model was run both sliced and whole in the cloud under one edge"
_NO_CLOUD = "fewer than two models were run whole in the cloud on the same links"
_NO_EDGE = "no model was run whole on the edge and in the cloud under one condition"

Pairs = dict[tuple[str, str], tuple["CutFigures", "CutFigures"]]


def figure9(searches: Searches) -> pd.DataFrame:
    """A row for each model and edge that was run sliced and whole in the cloud.

    ``sliced_by`` is the method whose choice is shown: hybrid as in the figure, where its choice was measured, else the
    fastest cut measured; with ``, stopped`` where a budget ended the search for it, so that there may be better. The
    drop rate is that of the least dropping cut measured, as the figure's two bars have a best split point each.
    """
    rows = []
    drops = _pairs(searches, least_dropped)
    for problem, (best, cloud) in _pairs(searches, fastest).items():
        chosen = searches.chosen(problem, "hybrid")
        shown = chosen or best
        latency = ratio(shown.latency_ms, cloud.latency_ms)
        share = ratio(drops[problem][0].drop_rate, cloud.drop_rate)
        rows.append(
            {
                "model": problem[0],
                "condition": problem[1],
                "sliced_by": ("hybrid" if chosen else "best") + ", stopped" * searches.is_cut_short(problem),
                "cut": shown.cut,
                "latency_ms": shown.latency_ms.value,
                "cloud_latency_ms": cloud.latency_ms.value,
                "latency_of_cloud": latency.value,
                "latency_of_cloud_low": latency.low,
                "latency_of_cloud_high": latency.high,
                "drop_rate": drops[problem][0].drop_rate.value,
                "cloud_drop_rate": cloud.drop_rate.value,
                "drop_rate_of_cloud": share.value,
                "published_latency_of_cloud": "0.10 to 0.60",
                "published_drop_rate_of_cloud": "0.01 to 0.40",
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def section_figure9(searches: Searches) -> Section:
    """Figure 9, with Figure 2's comparison of cloud and edge, and what the paper says of them."""
    return Section(
        target="couper-fig9",
        name="couper_fig9",
        title="Couper, Figure 9 (and 2): sliced, normalised by the whole model in the cloud",
        table=figure9(searches),
        comparable="The ratio of sliced to cloud-only, of models on the same hosts and links.",
        not_comparable=(
            "How large the improvement is: it follows from how much faster the cloud computes and how slow the way"
            " to it is."
            " No lab host has an accelerator. Of the figure only the spans in the text are published as numbers."
        ),
        statements=(*judge_figure9(searches), *judge_figure2(searches)),
    )


def judge_figure9(searches: Searches) -> tuple[Statement, ...]:
    """The paper's statements about its Figure 9."""
    fast, kept = _pairs(searches, fastest), _pairs(searches, least_dropped)
    short = frozenset(problem for problem in fast if searches.is_cut_short(problem))
    return (
        _improves(
            "Sliced, every model is faster than whole in the cloud.",
            fast,
            short,
            _latency_ratio,
            1.0,
            "best cut's latency of cloud-only's",
        ),
        _improves(
            "The improvement of latency is 40 % to 90 %.",
            fast,
            short,
            _latency_ratio,
            1 - _LEAST_LATENCY,
            "best cut's latency of cloud-only's",
        ),
        _improves(
            "Sliced, every model drops fewer frames than whole in the cloud.",
            kept,
            short,
            _drop_difference,
            0.0,
            "least drop rate less cloud-only's",
        ),
        _improves(
            "60 % to 99 % fewer frames are dropped.",
            kept,
            short,
            _drop_excess,
            0.0,
            "least drop rate less 0.4 of cloud-only's",
        ),
        _no_best_edge(searches),
    )


def judge_figure2(searches: Searches) -> tuple[Statement, ...]:
    """The paper's statements about whole models on the edge and in the cloud (Figure 2b and c)."""
    edge, cloud = searches.whole("edge"), searches.whole("cloud")
    return _constant_drops(cloud), _edge_drops_less(edge, cloud), _edge_as_fast(edge, cloud)


_COLUMNS = (
    "model", "condition", "sliced_by", "cut", "latency_ms", "cloud_latency_ms", "latency_of_cloud",
    "latency_of_cloud_low", "latency_of_cloud_high", "drop_rate", "cloud_drop_rate", "drop_rate_of_cloud",
    "published_latency_of_cloud", "published_drop_rate_of_cloud",
)  # fmt: skip


def _pairs(searches: Searches, best: Callable[[Sequence[CutFigures]], CutFigures | None]) -> Pairs:
    """The best slices and the whole model in the cloud, of every problem that has both."""
    cloud = searches.whole("cloud")
    pairs: Pairs = {}
    for problem, cuts in searches.problems().items():
        found = best(measured(cuts))
        if found is not None and problem in cloud:
            pairs[problem] = (found, cloud[problem])
    return pairs


def _latency_ratio(sliced: CutFigures, cloud: CutFigures, among: int) -> Estimate:
    return ratio(sliced.latency_ms, cloud.latency_ms, among)


def _drop_difference(sliced: CutFigures, cloud: CutFigures, among: int) -> Estimate:
    return difference(sliced.drop_rate, cloud.drop_rate, among)


def _drop_excess(sliced: CutFigures, cloud: CutFigures, among: int) -> Estimate:
    """What is dropped above 40 % of cloud-only's, which has an interval at 0 too, where the ratio has none."""
    return difference(sliced.drop_rate, scaled(cloud.drop_rate, 1 - _LEAST_DROPS), among)


def _improves(  # noqa: PLR0913, PLR0917 - a statement has so many sides
    text: str,
    pairs: Pairs,
    short: Container[tuple[str, str]],
    figure: Callable[[CutFigures, CutFigures, int], Estimate],
    bound: float,
    what: str,
) -> Statement:
    """Whether a figure of sliced beside cloud-only is below a bound for every model, in the best of its conditions.

    The paper shows each model with an edge that suffices for it. Where a budget cut the search ``short``, that its best
    is not good enough says nothing of what it would have found.
    """
    if not pairs:
        return unmeasured(text, _FIGURE_9, _NO_PAIRS)
    by_model: dict[str, list[Verdict]] = {}
    facts = []
    for problem, (sliced, cloud) in pairs.items():
        estimate = figure(sliced, cloud, len(pairs))
        verdict = less(estimate, bound)
        unsure = verdict is Verdict.FAILS and problem in short
        by_model.setdefault(problem[0], []).append(Verdict.OPEN if unsure else verdict)
        facts.append(Fact(f"{problem_title(problem)}: {what}", estimate))
    best = {model: any_of(verdicts) for model, verdicts in by_model.items()}
    kept = sum(verdict is Verdict.HOLDS for verdict in best.values())
    stopped = sum(problem in short for problem in pairs)
    beside = f"; a budget ended the search in {stopped} of {len(pairs)}, where there may be better" if stopped else ""
    why = f"So with some edge for {kept} of {len(best)} models (below {bound:g} with the whole interval){beside}."
    verdict, missing = of_every(best.values(), len(TITLES))
    return Statement(text, _FIGURE_9, verdict, f"{why}{missing}", tuple(facts))


def _no_best_edge(searches: Searches) -> Statement:
    text = "There is no single edge configuration that is optimal for all models."
    best: dict[str, dict[str, CutFigures]] = {}
    for (model, condition), cuts in searches.problems().items():
        found = fastest(measured(cuts))
        if found is not None and condition in EDGES:
            best.setdefault(model, {})[condition] = found
    # A model of which not every edge's best is known could only show that an edge is not optimal.
    short = {model for model, condition in searches.problems() if searches.is_cut_short((model, condition))}
    edges = {model: found for model, found in best.items() if len(found) > 1 and model not in short}
    stopped = f"a budget ended the search for the best of {', '.join(sorted(short))}"
    if len(edges) < 2:
        missing = "fewer than two models were run sliced under several edges"
        return unmeasured(text, _FIGURE_9, f"{missing}; {stopped}" if short else missing)
    winners = {model: min(found.values(), key=lambda cut: cut.latency_ms.value) for model, found in edges.items()}
    facts = tuple(Fact(f"{cut.title}: best latency", cut.latency_ms, "ms") for cut in winners.values())
    common = set.intersection(*(set(found) for found in edges.values()))
    rivals = sum(len(found) - 1 for found in edges.values())
    beaten = {
        edge: [
            ratio(found[edge].latency_ms, other.latency_ms, rivals)
            for found in edges.values()
            for name, other in found.items()
            if name != edge
        ]
        for edge in common
    }
    optimal = [edge for edge, found in beaten.items() if all(each.high < SAME_LATENCY for each in found)]
    slower = [edge for edge, found in beaten.items() if any(each.low > 1 for each in found)]
    if optimal:
        verdict = Verdict.OPEN if short else Verdict.FAILS
    else:
        verdict = Verdict.HOLDS if len(slower) == len(common) else Verdict.OPEN
    why = (
        f"No edge is faster than {', '.join(EDGES[each] for each in optimal)}, within {SAME_LATENCY - 1:.0%}."
        if optimal
        else f"Surely slower than another one for some model: {len(slower)} of {len(common)} edges."
    )
    why += f" Left out: {stopped}." if short else ""
    return Statement(text, _FIGURE_9, verdict, why, facts)


def _constant_drops(cloud: Mapping[tuple[str, str], CutFigures]) -> Statement:
    text = "In the cloud the drop rate does not depend on the model: the network is the bottleneck."
    by_condition: dict[str, list[CutFigures]] = {}
    for (_, condition), cut in cloud.items():
        by_condition.setdefault(condition, []).append(cut)
    groups = {condition: cuts for condition, cuts in by_condition.items() if len(cuts) > 1}
    if not groups:
        return unmeasured(text, _FIGURE_2, _NO_CLOUD)
    verdicts, facts = [], []
    among = sum(math.comb(len(cuts), 2) for cuts in groups.values())
    for cuts in groups.values():
        low, *_, high = sorted(cuts, key=lambda cut: cut.drop_rate.value)
        spread = difference(high.drop_rate, low.drop_rate, among)
        facts += [Fact(f"{cut.title}: drop rate", cut.drop_rate) for cut in cuts]
        facts.append(Fact(f"{high.model} less {low.model}", spread))
        spreads = [difference(a.drop_rate, b.drop_rate, among) for a, b in combinations(cuts, 2)]
        verdicts += [within(each, -_SAME_RATE, _SAME_RATE) for each in spreads]
    why = f"The same: every two models differ by less than {_SAME_RATE:g}, with the whole interval of the difference."
    return Statement(text, _FIGURE_2, all_of(verdicts), why, tuple(facts))


def _edge_drops_less(
    edge: Mapping[tuple[str, str], CutFigures], cloud: Mapping[tuple[str, str], CutFigures]
) -> Statement:
    text = "Whole on the edge, fewer frames are dropped than whole in the cloud: the camera is nearer."
    both = [(edge[problem], cloud[problem]) for problem in edge if problem in cloud]
    if not both:
        return unmeasured(text, _FIGURE_2, _NO_EDGE)
    found = [(near, difference(near.drop_rate, far.drop_rate, len(both))) for near, far in both]
    facts = tuple(Fact(f"{near.title}: drop rate less cloud-only's", each) for near, each in found)
    verdicts = [less(each, 0.0) for _, each in found]
    kept = sum(verdict is Verdict.HOLDS for verdict in verdicts)
    return Statement(text, _FIGURE_2, all_of(verdicts), f"So in {kept} of {len(found)} cases.", facts)


def _edge_as_fast(edge: Mapping[tuple[str, str], CutFigures], cloud: Mapping[tuple[str, str], CutFigures]) -> Statement:
    text = (
        "Where the edge infers as fast as the cloud (MobileNet, VGG), it gives both a lower latency and a lower"
        " drop rate."
    )
    both = [(edge[each], cloud[each]) for each in edge if each in cloud and each[0] in _SMALL]
    if not both:
        return unmeasured(text, _FIGURE_2, _NO_EDGE)
    verdicts: dict[str, list[Verdict]] = {}
    facts = []
    for near, far in both:
        latency = ratio(near.latency_ms, far.latency_ms, 2 * len(both))
        drops = difference(near.drop_rate, far.drop_rate, 2 * len(both))
        verdicts.setdefault(near.model, []).append(all_of((less(latency, 1.0), less(drops, 0.0))))
        facts += [Fact(f"{near.title}: latency of cloud-only's", latency), Fact("drop rate less cloud-only's", drops)]
    verdict, missing = of_every(map(all_of, verdicts.values()), len(_SMALL))
    return Statement(text, _FIGURE_2, verdict, f"Both must be lower.{missing}", tuple(facts))
