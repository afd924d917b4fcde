"""Couper's Figure 4: one model sliced at every candidate across edge and cloud, beside both extremes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from slicebed.results.reproduce.intervals import difference, exact, rank_correlation, ratio
from slicebed.results.reproduce.measured import fastest, least_dropped, measured
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import (
    SAME_LATENCY,
    Fact,
    Statement,
    Verdict,
    all_of,
    greater,
    less,
    unmeasured,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.results.reproduce.measured import CutFigures, Searches

PROBLEM = ("ResNet V2 50", "table3")
"""The model of the figure, on the network of the paper's Table 3."""
# What the paper reads off: pool5 against the whole model on the edge, and in the cloud.
_LESS_THAN_EDGE, _LESS_THAN_CLOUD = 0.10, 0.20
_LATE = 0.75
_SOURCE = "Couper, section 3, Figure 4"
_NO_SLICES = "ResNet V2 50 was not run sliced on the links of Table 3"
_NO_WHOLE = "ResNet V2 50 was not run both sliced and whole on the links of Table 3"


def figure4(searches: Searches) -> pd.DataFrame:
    """A row for each measured cut in the model's order; the whole model on the edge and in the cloud at the ends."""
    cuts, edge, cloud = _material(searches)
    ordered = [*([cloud] if cloud else []), *cuts, *([edge] if edge else [])]
    return pd.DataFrame([_row(each) for each in ordered], columns=list(_COLUMNS))


def section_figure4(searches: Searches) -> Section:
    """Figure 4 and what the paper says of it."""
    cuts, edge, cloud = _material(searches)
    return Section(
        target="couper-fig4",
        name="couper_fig4",
        title="Couper, Figure 4: ResNet V2 50 sliced across edge and cloud, network of Table 3",
        table=figure4(searches),
        comparable=(
            "The order of the cuts, how drop rate and data moved go along the model, and slices against both extremes."
        ),
        not_comparable=(
            "Milliseconds: other processors, no accelerator in the cloud, edge and cloud in one machine. The paper"
            " gives the"
            " figure as a picture without numbers; what it reads off in its text is in the statements."
        ),
        statements=judge_figure4(cuts, edge, cloud),
    )


def judge_figure4(
    cuts: Sequence[CutFigures], edge: CutFigures | None, cloud: CutFigures | None
) -> tuple[Statement, ...]:
    """The paper's statements about its Figure 4.

    Args:
        cuts: measured, along the model.
        edge: the whole model on the edge.
        cloud: the whole model in the cloud.
    """
    return (
        _early_cuts_pass_more(cuts),
        _passing_drops(cuts),
        _late_is_best(cuts),
        _better_than_edge(cuts, edge),
        _better_than_cloud(cuts, cloud),
        _moves_less(cuts, cloud),
    )


_COLUMNS = (
    "cut", "placement", "latency_ms", "latency_low_ms", "latency_high_ms", "drop_rate", "drop_rate_low",
    "drop_rate_high", "frames", "into_cloud_bytes", "into_cloud_ms", "edge_compute_ms", "cloud_compute_ms",
)  # fmt: skip


def _row(cut: CutFigures) -> dict[str, object]:
    return {
        "cut": cut.cut or "(whole)",
        "placement": cut.placement,
        "latency_ms": cut.latency_ms.value,
        "latency_low_ms": cut.latency_ms.low,
        "latency_high_ms": cut.latency_ms.high,
        "drop_rate": cut.drop_rate.value,
        "drop_rate_low": cut.drop_rate.low,
        "drop_rate_high": cut.drop_rate.high,
        "frames": cut.captured,
        "into_cloud_bytes": cut.into_cloud_bytes,
        "into_cloud_ms": cut.transfer_ms,
        "edge_compute_ms": cut.compute_ms.get("edge", math.nan),
        "cloud_compute_ms": cut.compute_ms.get("cloud", math.nan),
    }


def _material(searches: Searches) -> tuple[list[CutFigures], CutFigures | None, CutFigures | None]:
    cuts = measured(searches.problems().get(PROBLEM, ()))
    return cuts, searches.whole("edge").get(PROBLEM), searches.whole("cloud").get(PROBLEM)


def _early_cuts_pass_more(cuts: Sequence[CutFigures]) -> Statement:
    text = "Earlier cuts hand over more data, so that more time goes into passing it on."
    places = [float(each.place) for each in cuts]
    data = rank_correlation(places, [each.into_cloud_bytes for each in cuts])
    time = rank_correlation(places, [each.transfer_ms for each in cuts])
    if math.isnan(data.value) or math.isnan(time.value):
        return unmeasured(text, _SOURCE, _NO_SLICES)
    facts = (
        Fact("rank correlation of place and bytes into the cloud", data),
        Fact("rank correlation of place and time over that link", time),
    )
    verdict = all_of((less(data, 0.0), less(time, 0.0)))
    return Statement(text, _SOURCE, verdict, "Both must fall along the model.", facts)


def _passing_drops(cuts: Sequence[CutFigures]) -> Statement:
    text = "Passing the data on becomes the bottleneck and makes the frame drop rate higher."
    found = rank_correlation([each.into_cloud_bytes for each in cuts], [each.drop_rate.value for each in cuts])
    if math.isnan(found.value):
        flat = len({each.drop_rate.value for each in cuts}) == 1 and len(cuts) > 1
        return unmeasured(text, _SOURCE, "every cut dropped the same share" if flat else _NO_SLICES)
    facts = (Fact("rank correlation of bytes into the cloud and drop rate", found),)
    return Statement(text, _SOURCE, greater(found, 0.0), "The drop rate must rise with the bytes.", facts)


def _late_is_best(cuts: Sequence[CutFigures]) -> Statement:
    text = "The most efficient cut, with the lowest drop rate, is late in the model (pool5)."
    best = least_dropped(cuts)
    if best is None or len(cuts) < 4:
        return unmeasured(text, _SOURCE, _NO_SLICES)
    edge = round(_LATE * len(cuts))
    late, early = least_dropped(cuts[edge:]), least_dropped(cuts[:edge])
    if late is None or early is None:
        return unmeasured(text, _SOURCE, _NO_SLICES)
    gain = difference(early.drop_rate, late.drop_rate)
    facts = (
        Fact(f"drop rate of {late.cut}, best of the last quarter", late.drop_rate),
        Fact(f"drop rate of {early.cut}, best of the others", early.drop_rate),
        Fact("lower by", gain),
    )
    return Statement(text, _SOURCE, greater(gain, 0.0), f"Lowest drop rate: {best.cut}.", facts)


def _better_than_edge(cuts: Sequence[CutFigures], edge: CutFigures | None) -> Statement:
    text = "Slicing lowers the drop rate by 10 % against the whole model on the edge, at the same delay."
    best = least_dropped(cuts)
    if best is None or edge is None:
        return unmeasured(text, _SOURCE, _NO_WHOLE)
    gain = difference(edge.drop_rate, best.drop_rate, among=2)
    delay = ratio(best.latency_ms, edge.latency_ms, among=2)
    facts = (
        Fact(f"drop rate of {best.cut}", best.drop_rate),
        Fact("drop rate of the whole model on the edge", edge.drop_rate),
        Fact("lower by", gain),
        Fact("its latency as a multiple of the edge's", delay),
    )
    verdict = all_of((greater(gain, _LESS_THAN_EDGE), less(delay, SAME_LATENCY)))
    why = f"The drop rate must be lower by {_LESS_THAN_EDGE} and the delay less than {SAME_LATENCY} times the edge's."
    return Statement(text, _SOURCE, verdict, why, facts)


def _better_than_cloud(cuts: Sequence[CutFigures], cloud: CutFigures | None) -> Statement:
    text = "Slicing at the best operator lowers the drop rate by 20 % against the whole model in the cloud."
    best = least_dropped(cuts)
    if best is None or cloud is None:
        return unmeasured(text, _SOURCE, _NO_WHOLE)
    gain = difference(cloud.drop_rate, best.drop_rate)
    facts = (
        Fact(f"drop rate of {best.cut}", best.drop_rate),
        Fact("drop rate of the whole model in the cloud", cloud.drop_rate),
        Fact("lower by", gain),
    )
    why = f"It must be lower by at least {_LESS_THAN_CLOUD}."
    return Statement(text, _SOURCE, greater(gain, _LESS_THAN_CLOUD), why, facts)


def _moves_less(cuts: Sequence[CutFigures], cloud: CutFigures | None) -> Statement:
    text = "Slicing lowers what is sent to the cloud over the Internet, against sending it the pictures."
    chosen = {each.key: each for each in (least_dropped(cuts), fastest(cuts)) if each is not None}
    if not chosen or cloud is None or math.isnan(cloud.into_cloud_bytes):
        return unmeasured(text, _SOURCE, _NO_WHOLE)
    shares = {each.cut: each.into_cloud_bytes / cloud.into_cloud_bytes for each in chosen.values()}
    facts = tuple(Fact(f"{cut}: share of the pictures' bytes", exact(share)) for cut, share in shares.items())
    verdict = all_of(Verdict.HOLDS if share < 1 else Verdict.FAILS for share in shares.values())
    return Statement(text, _SOURCE, verdict, "The cuts that are best for drop rate and for latency.", facts)
