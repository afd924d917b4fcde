"""Made figures of searches, as the tables of a reproduction take them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from slicebed.results.reproduce.intervals import Estimate, share
from slicebed.results.reproduce.measured import CutFigures, Decision, Searches
from slicebed.stats import median_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slicebed.results.reproduce.statement import Statement

INCEPTION, RESNET, PNASNET = "Inception V3", "ResNet V2 50", "PNASNet 331"
HOLDS, FAILS, OPEN = "holds", "does not hold", "not decidable"


def cut(  # noqa: PLR0913 - a keyword for each figure
    number, ms=100.0, dropped=0, *, model=INCEPTION, condition="mid", runs=1, frames=100, sent=None, spread=0.02
):
    """The cut at a place; its latency within `spread`, 2 % without a word."""
    return CutFigures(
        model=model,
        condition=condition,
        key=f"c{number}",
        placement="sliced",
        cut=f"c{number}",
        place=number,
        runs=runs,
        captured=frames if runs else 0,
        dropped=dropped,
        latency_ms=Estimate(ms, ms * (1 - spread), ms * (1 + spread), frames - dropped)
        if runs
        else Estimate(float("nan")),
        drop_rate=share(dropped, frames) if runs else Estimate(float("nan")),
        into_cloud_bytes=float("nan") if sent is None else sent,
        transfer_ms=float("nan") if sent is None else sent / 1000,
        compute_ms={"edge": 10.0 * number, "cloud": 5.0},
        testbed_s=10.0 * runs,
    )


def whole(  # noqa: PLR0913 - a keyword for each figure
    placement, ms=200.0, dropped=50, *, model=INCEPTION, condition="mid", frames=100
):
    """The whole model on one host."""
    return CutFigures(
        model=model,
        condition=condition,
        key=f"{placement}:whole",
        placement=placement,
        runs=1,
        captured=frames,
        dropped=dropped,
        latency_ms=Estimate(ms, ms * 0.98, ms * 1.02, frames - dropped),
        drop_rate=share(dropped, frames),
        into_cloud_bytes=2_764_800.0,
        testbed_s=10.0,
    )


def drawn(rng, number, ms, chance, frames=48, **more):
    """The cut at a place, of frames drawn with a true median, 15 % of it apart, and a true drop rate."""
    dropped = int(rng.binomial(frames, chance))
    latencies = list(rng.normal(ms, 0.15 * ms, frames - dropped))
    low, high = median_interval(latencies)
    latency = Estimate(float(np.median(latencies)), low, high, len(latencies))
    return replace(cut(number, 1.0, dropped, frames=frames), latency_ms=latency, **more)


def decision(  # noqa: PLR0913 - a keyword for each figure
    method, chosen, count, *, model=INCEPTION, condition="mid", seconds=None, stopped=False
):
    """What a method decided, or what it had when the budget stopped it; ten seconds a candidate."""
    return Decision(model, condition, method, chosen, count, 10.0 * count if seconds is None else seconds, stopped)


def searches(cuts, *decisions):
    """All of them."""
    return Searches(tuple(cuts), decisions)


def in_all(found: Searches, models: Iterable[str], conditions: Iterable[str] = ()) -> Searches:
    """The same figures for each of these models, and under each of these conditions where there are some."""
    cases = [{"model": model} for model in models]
    cases = [{**case, "condition": each} for case, each in product(cases, conditions)] if conditions else cases
    cuts = (replace(each, **case) for each, case in product(found.cuts, cases))
    return Searches(tuple(cuts), tuple(replace(each, **case) for each, case in product(found.decisions, cases)))


def assert_verdict_of_every_case(
    judge: Callable[[Searches], tuple[Statement, ...]], one: Searches, every: Searches, words: str, verdict: str
) -> None:
    """What holds in one case is said once it holds in all of the paper's; what fails in one is said at once."""
    assert verdict_of(judge(every), words) == verdict
    assert verdict_of(judge(one), words) == (OPEN if verdict == HOLDS else verdict)
    (alone,) = (each for each in judge(one) if words in each.text)
    assert "cannot be judged by what was run" in alone.why


def verdict_of(statements: tuple[Statement, ...], words: str) -> str:
    """The verdict of the one statement that has these words."""
    (found,) = (each for each in statements if words in each.text)
    return str(found.verdict)
