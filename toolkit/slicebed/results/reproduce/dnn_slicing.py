"""The DNN-slicing paper's Tables 3 to 5 (and Figures 4 to 6, which draw them)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from slicebed.results.reproduce.dnn_layers import judge_layers
from slicebed.results.reproduce.intervals import difference, exact, rank_correlation, share
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.splits import CONFIGURATIONS, MISSING, PAPER, SAME_RATE, SplitRun, pooled, select
from slicebed.results.reproduce.statement import Fact, Statement, Verdict, all_of, greater, truth, unmeasured

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLES = {"1": 3, "2": 4, "3": 5}
# "Every batched frame was split up into 20 packets": the mean of the paper's two candidates, near enough.
_PARTS, _PARTS_OFF = 20, 2
# Total times that one would read as the same: the paper's own differ by up to 6 %.
_SAME_TIME = 0.05


def dnn_slicing_table(splits: Sequence[SplitRun]) -> pd.DataFrame:
    """Tables 3 to 5: a row for each configuration and cut."""
    rows = [
        {
            "table": TABLES.get(each.configuration, 0),
            "configuration": each.configuration,
            "cut": each.cut,
            "frames": each.captured,
            "total_time_s": each.total_time_s,
            "published_time_s": each.published_time_s,
            "drop_rate": each.drop_rate.value,
            "drop_rate_low": each.drop_rate.low,
            "drop_rate_high": each.drop_rate.high,
            "published_drop_rate": each.published_drop_rate,
            "latency_ms": each.latency_ms.value,
            "parts": each.parts,
        }
        for each in splits
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def section_dnn_slicing(splits: Sequence[SplitRun]) -> Section:
    """Tables 3 to 5 and what the paper says of them."""
    return Section(
        target="dnn-slicing",
        name="dnn_slicing",
        title="DNN slicing, Tables 3 to 5 and Figures 4 to 6: eight cuts under three configurations",
        table=dnn_slicing_table(splits),
        comparable="How the drop rate moves from one configuration and one cut to the next, and the order of the cuts.",
        not_comparable=(
            "The drop rates themselves: they follow from the source's rate, the batch and the queues, which the"
            " paper does"
            " not give. Total times: the source paces them, here ten frames a second, in the paper about one."
        ),
        statements=judge_dnn_slicing(splits),
    )


def judge_dnn_slicing(splits: Sequence[SplitRun]) -> tuple[Statement, ...]:
    """The paper's statements about its Tables 3 to 5."""
    return (
        _limit_divides(splits),
        _limit_drops(splits),
        _limit_floods(splits),
        *judge_layers(splits),
        _smaller_does_not_drop_less(splits),
        _capacity_decides(splits),
        *(_ranking(splits, configuration) for configuration in CONFIGURATIONS),
    )


_COLUMNS = (
    "table", "configuration", "cut", "frames", "total_time_s", "published_time_s", "drop_rate", "drop_rate_low",
    "drop_rate_high", "published_drop_rate", "latency_ms", "parts",
)  # fmt: skip


def _limit_divides(splits: Sequence[SplitRun]) -> Statement:
    text = "Under the low transmission limit every batched frame is split up into 20 packets."
    source = f"{PAPER}, section 5.4, configuration 2"
    by_front = {front: [each.parts for each in select(splits, "2", front)] for front in ("1", "3")}
    if not all(by_front.values()) or any(math.isnan(each) for parts in by_front.values() for each in parts):
        return unmeasured(text, source, MISSING)
    means = {front: sum(parts) / len(parts) for front, parts in by_front.items()}
    mean = sum(means.values()) / len(means)
    facts = tuple(Fact(f"messages of a frame after layer {front}", exact(each)) for front, each in means.items())
    why = f"{mean:g} in the mean of both candidates; the batch, which the paper does not give, was chosen for it."
    return Statement(text, source, truth(abs(mean - _PARTS) <= _PARTS_OFF), why, facts)


def _limit_drops(splits: Sequence[SplitRun]) -> Statement:
    text = "Lowering the maximum throughput (configuration 2) causes a high frame drop rate."
    source = f"{PAPER}, section 5.2, Tables 3 and 4"
    low, base = select(splits, "2"), select(splits, "1")
    if not low or not base:
        return unmeasured(text, source, MISSING)
    rise = difference(pooled(low), pooled(base))
    facts = (
        Fact("drop rate in configuration 2", pooled(low)),
        Fact("drop rate in configuration 1", pooled(base)),
        Fact("higher by", rise),
    )
    return Statement(text, source, greater(rise, 0.0), "All cuts together; in the paper 0.65 against 0.20.", facts)


def _limit_floods(splits: Sequence[SplitRun]) -> Statement:
    text = "The frames are dropped because packets flood the network (configuration 2)."
    source = f"{PAPER}, section 5.2, Table 4"
    low = select(splits, "2")
    if not sum(each.dropped for each in low):
        return unmeasured(text, source, MISSING if not low else "no frame was dropped in configuration 2")
    inbound = share(sum(each.dropped_inbound for each in low), sum(each.dropped for each in low))
    why = "Most of the dropped frames must be lost in the queue where messages come in, not at the camera."
    return Statement(
        text, source, greater(inbound, 0.5), why, (Fact("lost in inbound queues, of those dropped", inbound),)
    )


def _smaller_does_not_drop_less(splits: Sequence[SplitRun]) -> Statement:
    text = "Under the low limit, sending less by processing more layers on the device does not reduce the drop rate."
    source = f"{PAPER}, section 5.2, Table 4"
    conv, pool = select(splits, "2", "1"), select(splits, "2", "3")
    if not conv or not pool:
        return unmeasured(text, source, MISSING)
    gain = difference(pooled(conv), pooled(pool))
    facts = (
        Fact("drop rate after layer 1", pooled(conv)),
        Fact("after layer 3", pooled(pool)),
        Fact("lower by", gain),
    )
    verdict = Verdict.FAILS if gain.low > 0 else Verdict.HOLDS if gain.high < SAME_RATE else Verdict.OPEN
    why = (
        "After layer 3 a frame is fewer messages than the queue holds, after layer 1 more: that is what decides here."
        if verdict is Verdict.FAILS
        else f"Not reduced: by less than {SAME_RATE:g} with the whole interval."
    )
    return Statement(text, source, verdict, why, facts)


def _capacity_decides(splits: Sequence[SplitRun]) -> Statement:
    text = "Total processing time and frame drop rate significantly depend on the network's capacity."
    source = f"{PAPER}, section 6, Tables 3 to 5"
    groups = {configuration: select(splits, configuration) for configuration in CONFIGURATIONS}
    known = {name: found for name, found in groups.items() if found}
    if len(known) < 2:
        return unmeasured(text, source, MISSING)
    rates = {name: pooled(found) for name, found in known.items()}
    times = {name: sum(each.total_time_s for each in found) / len(found) for name, found in known.items()}
    low, high = min(rates.values(), key=lambda each: each.value), max(rates.values(), key=lambda each: each.value)
    drops = difference(high, low, among=math.comb(len(known), 2))
    spread = max(times.values()) / min(times.values()) - 1
    facts = (
        *(Fact(f"configuration {name}: drop rate", each) for name, each in rates.items()),
        Fact("highest less lowest", drops),
        *(Fact(f"configuration {name}: total time", exact(each), "s") for name, each in times.items()),
    )
    verdict = all_of((greater(drops, 0.0), truth(spread > _SAME_TIME)))
    why = (
        f"The drop rate {'does' if drops.low > 0 else 'does not surely'}; total times differ by {spread:.0%}, which"
        f" is the"
        " latency of the last frames behind a source that paces them."
    )
    return Statement(text, source, verdict, why, facts)


def _ranking(splits: Sequence[SplitRun], configuration: str) -> Statement:
    text = (
        f"Configuration {configuration}: the cuts are in the paper's order of drop rates (Table"
        f" {TABLES[configuration]})."
    )
    source = f"{PAPER}, Table {TABLES[configuration]}"
    found = select(splits, configuration)
    order = rank_correlation([each.drop_rate.value for each in found], [each.published_drop_rate for each in found])
    if math.isnan(order.value):
        flat = len(found) > 1 and len({each.drop_rate.value for each in found}) == 1
        return unmeasured(text, source, "every cut dropped the same share: there is no order" if flat else MISSING)
    widest = max((each.drop_rate.high - each.drop_rate.low) / 2 for each in found)
    why = (
        f"The runs here leave up to +-{widest:.2f} around each rate, the paper's of 50 frames +-0.13: most of the order"
        " is chance."
    )
    verdict = greater(order, 0.0)
    return Statement(text, source, verdict, why, (Fact("rank correlation with the published rates", order),))
