"""What the DNN-slicing paper says of the layers after which a model is split (its section 5.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slicebed.results.reproduce.intervals import Estimate, bootstrap_of_shares, difference, exact, ratio
from slicebed.results.reproduce.splits import (
    CONFIGURATIONS,
    MISSING,
    PAPER,
    SAME_RATE,
    SplitRun,
    counts_of,
    pooled,
    select,
)
from slicebed.results.reproduce.statement import (
    SAME_LATENCY,
    Fact,
    Statement,
    Verdict,
    all_of,
    greater,
    truth,
    unmeasured,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def judge_layers(splits: Sequence[SplitRun]) -> tuple[Statement, ...]:
    """The paper's statements about the choice of split points."""
    return (
        _pooling_sends_less(splits),
        _pooling_helps(splits),
        _pooling_time(splits),
        _no_difference_in_1(splits),
        _front_makes_no_difference(splits),
        _network_before_layers(splits),
    )


def _pooling_sends_less(splits: Sequence[SplitRun]) -> Statement:
    text = "Splitting after the first MaxPooling2D sends much smaller tensors than after the first Conv2D."
    source = f"{PAPER}, sections 4.2 and 5.1"
    sizes = {front: [each.first_bytes for each in splits if each.front == front] for front in ("1", "3")}
    if not all(sizes.values()) or any(math.isnan(each) for found in sizes.values() for each in found):
        return unmeasured(text, source, MISSING)
    part = (sum(sizes["3"]) / len(sizes["3"])) / (sum(sizes["1"]) / len(sizes["1"]))
    fact = Fact("bytes of a frame after layer 3, of those after layer 1", exact(part))
    return Statement(text, source, truth(part <= 0.5), "At most half as many.", (fact,))


def _pooling_helps(splits: Sequence[SplitRun]) -> Statement:
    text = "The benefit of splitting after a pooling layer shows especially in configurations 2 and 3."
    source = f"{PAPER}, section 5.1, Tables 4 and 5"
    facts, verdicts = [], []
    for configuration in ("2", "3"):
        conv, pool = select(splits, configuration, "1"), select(splits, configuration, "3")
        if conv and pool:
            gain = difference(pooled(conv), pooled(pool), among=2)
            facts.append(Fact(f"configuration {configuration}: drop rate after layer 1 less after layer 3", gain))
            verdicts.append(greater(gain, 0.0))
    if len(verdicts) < 2:
        return unmeasured(text, source, MISSING)
    kept = sum(each is Verdict.HOLDS for each in verdicts)
    why = f"Less is surely dropped in {kept} of the two; the paper's own rates: 0.68 and 0.63, 0.17 and 0.11."
    return Statement(text, source, all_of(verdicts), why, tuple(facts))


def _pooling_time(splits: Sequence[SplitRun]) -> Statement:
    text = "MaxPooling2D-Conv2D (3-9) takes longer than MaxPooling2D-MaxPooling2D (3-10) in configurations 2 and 3."
    source = f"{PAPER}, section 5.1, Tables 4 and 5"
    found = _pooling_ratios(splits, ("2", "3"))
    if len(found) < 2:
        return unmeasured(text, source, MISSING)
    facts = tuple(
        Fact(f"configuration {each}: median latency at 3-9 of 3-10's", value) for each, value in found.items()
    )
    why = "Judged by latency: total times are the source's (in the paper 49.39 against 48.32 s, 49.78 against 49.74 s)."
    return Statement(text, source, all_of(greater(each, 1.0) for each in found.values()), why, facts)


def _no_difference_in_1(splits: Sequence[SplitRun]) -> Statement:
    text = "In configuration 1, with a lower WAN latency, 3-9 and 3-10 show no significant difference."
    source = f"{PAPER}, section 5.1, Table 3"
    found = _pooling_ratios(splits, ("1",))
    conv, pool = (select(splits, "1", "3", back) for back in ("9", "10"))
    if not found or not conv or not pool:
        return unmeasured(text, source, MISSING)
    drops = difference(pooled(conv), pooled(pool), among=2)
    facts = (Fact("median latency at 3-9 of 3-10's", found["1"]), Fact("drop rate at 3-9 less at 3-10", drops))
    verdict = all_of((within(found["1"], 1 / SAME_LATENCY, SAME_LATENCY), within(drops, -SAME_RATE, SAME_RATE)))
    why = f"Not significant: latency within {SAME_LATENCY - 1:.0%} and drop rate within {SAME_RATE:g}, surely."
    return Statement(text, source, verdict, why, facts)


def _pooling_ratios(splits: Sequence[SplitRun], configurations: Sequence[str]) -> dict[str, Estimate]:
    found = {}
    for configuration in configurations:
        conv, pool = (select(splits, configuration, "3", back) for back in ("9", "10"))
        if conv and pool:
            # Two ratios, or one beside a difference of drop rates.
            found[configuration] = ratio(conv[0].latency_ms, pool[0].latency_ms, among=2)
    return found


def _front_makes_no_difference(splits: Sequence[SplitRun]) -> Statement:
    text = "The split point between device and edge does not make much difference, as the LAN's latency is only 2.5 ms."
    source = f"{PAPER}, section 5.1, Tables 3 to 5"
    facts, verdicts = [], []
    for configuration in CONFIGURATIONS:
        conv, pool = select(splits, configuration, "1"), select(splits, configuration, "3")
        if conv and pool:
            gap = difference(pooled(conv), pooled(pool), among=len(CONFIGURATIONS))
            facts.append(Fact(f"configuration {configuration}: drop rate after layer 1 less after layer 3", gap))
            verdicts.append(within(gap, -SAME_RATE, SAME_RATE))
    if not verdicts:
        return unmeasured(text, source, MISSING)
    why = f"Not much: less than {SAME_RATE:g}, with the whole interval."
    return Statement(text, source, all_of(verdicts), why, tuple(facts))


def _network_before_layers(splits: Sequence[SplitRun]) -> Statement:
    text = "The result is affected more by the network's configuration than by the layers at which the model is split."
    source = f"{PAPER}, section 5.1, Tables 3 to 5"
    groups = [select(splits, configuration, front) for configuration in CONFIGURATIONS for front in ("1", "3")]
    if not all(groups):
        return unmeasured(text, source, MISSING)

    def more(rates: Sequence[float]) -> float:
        """Range of the configurations' means, less the largest range between both candidates of a configuration."""
        means = [(rates[index] + rates[index + 1]) / 2 for index in (0, 2, 4)]
        layers = max(abs(rates[index] - rates[index + 1]) for index in (0, 2, 4))
        return max(means) - min(means) - layers

    found = bootstrap_of_shares([counts_of(group) for group in groups], more)
    why = "Range of drop rates over configurations, less the largest between cuts after layer 1 and after layer 3."
    return Statement(text, source, greater(found, 0.0), why, (Fact("by how much", found),))
