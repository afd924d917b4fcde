"""Couper's Table 5: how many split points every method evaluates, client - mid-end edge - cloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.reproduce.intervals import exact, scaled
from slicebed.results.reproduce.measured import counted, left_by_comm_slim
from slicebed.results.reproduce.names import TITLES
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import (
    Fact,
    Statement,
    Verdict,
    at_most,
    below,
    of_every,
    truth,
    unmeasured,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slicebed.results.reproduce.intervals import Estimate
    from slicebed.results.reproduce.measured import Searches

REFERENCE = Path(__file__).parents[4] / "results" / "reference" / "couper"
EDGE = "mid"
# Where there are fewer, one run is more than a tenth.
_FEWEST_FOR_A_TENTH = 10
_MODELS_FOR_A_TENTH = 5
_ONE_POINT = ("VGG 16", "ResNet V2 50", "NASNet 331", "PNASNet 331")
_REDUCED = ("ResNet V2 50", "Inception V3")
_SOURCE = "Couper, section 7, Time-to-slice, Table 5"
_NOT_RUN = "no search of these models was run under the mid-end edge"
METHODS: Mapping[str, str] = {"strongman": "strongman", "comm-slim": "comm_slim", "hybrid": "hybrid"}
"""Method -> its column, here and (after ``published_``) in the paper's."""
STOPPED = {column: f"{column}_stopped" for column in METHODS.values()}
"""Column of a method -> that which is 1 where the budget stopped it, so that its count is the least that it may be."""


def table5(searches: Searches, reference: Path = REFERENCE) -> pd.DataFrame:
    """A row for each of the paper's models: operators, candidates of the published rule, and candidates by method.

    ``candidates`` is what strongman has to evaluate, whether it was run or not; what comm-slim leaves is known without
    a run too. Another method's column is empty where it was not run. ``hybrid_stopped`` and the others: see `STOPPED`.
    """
    published = pd.read_csv(reference / "table5_evaluated_split_points.csv").set_index("model")
    problems = searches.problems()
    rows = []
    for title in TITLES.values():
        problem = (title, EDGE)
        decisions = {column: searches.decision(problem, method) for method, column in METHODS.items()}
        cuts = problems.get(problem, ())
        known = {"comm_slim": left_by_comm_slim(cuts)}
        own: dict[str, int | None] = {}
        for column, each in decisions.items():
            # What is known without a run, no budget stops.
            stopped = each is not None and each.stopped_by_budget and known.get(column) is None
            run = None if each is None or (each.stopped_by_budget and not stopped) else each.candidates
            own |= {column: run or known.get(column), STOPPED[column]: int(stopped)}
        rows.append(
            {
                "model": title,
                "published_operators": int(published["original_operators"][title]),
                "candidates": len(cuts) or None,
                **own,
                **{f"published_{column}": int(published[column][title]) for column in METHODS.values()},
            }
        )
    table = pd.DataFrame(rows)
    counts = ["candidates", *METHODS.values(), *STOPPED.values()]
    return table.astype(dict.fromkeys(counts, "Int64"))


def section_table5(searches: Searches, reference: Path = REFERENCE) -> Section:
    """Table 5 and what the paper says of it."""
    table = table5(searches, reference)
    return Section(
        target="couper-table5",
        name="couper_table5",
        title="Couper, Table 5: split points evaluated by method (client - mid-end edge - cloud)",
        table=table,
        comparable=(
            "Counts of split points, all of them: candidates by the published rule on the same architectures, and"
            " how many"
            " each method leaves."
        ),
        not_comparable=(
            "The operators in total depend on the export of a model (the paper's are shown). How soon hybrid stops"
            " depends"
            " on how much faster the cloud is than the edge, which differs from the paper's hosts."
        ),
        statements=judge_table5(table),
        at_least=STOPPED,
    )


def judge_table5(table: pd.DataFrame) -> tuple[Statement, ...]:
    """The paper's statements about the table that `table5` gives."""
    return (
        _reduced(table),
        _fewer(
            table,
            "comm_slim",
            "candidates",
            "Comm-slim reduces the split points further, in every model.",
            strictly=True,
        ),
        _fewer(table, "hybrid", "comm_slim", "Hybrid evaluates no more split points than comm-slim, in every model."),
        _one_point(table),
        _fewer(
            table[table["candidates"] >= _FEWEST_FOR_A_TENTH],
            "hybrid",
            "candidates",
            "Hybrid needs at most a tenth of strongman's runs (in the paper 1 of 52, 3 of 155, 1 of 34, 2 of 34, 3 of"
            " 106).",
            share=0.1,
            published=_MODELS_FOR_A_TENTH,
            missing=f"hybrid was run on no model of {_FEWEST_FOR_A_TENTH} or more candidates under the mid-end edge",
        ),
    )


def _reduced(table: pd.DataFrame) -> Statement:
    text = (
        "Even strongman evaluates 34 split points only, of 205 operators of ResNet V2 and of 788 of Inception V3:"
        " cutting"
        " at articulation points alone leaves a small part."
    )
    rows = [row for row in table[table["candidates"].notna()].to_dict("records") if row["model"] in _REDUCED]
    if not rows:
        return unmeasured(text, _SOURCE, _NOT_RUN)
    facts = tuple(Fact(f"{row['model']}: candidates", exact(row["candidates"])) for row in rows)
    # What the paper's own counts come to: 17 % and 4 %.
    small = [row["candidates"] <= row["published_operators"] / 5 for row in rows]
    same = [row["model"] for row in rows if row["candidates"] == row["published_strongman"]]
    why = "At most a fifth of the operators" if all(small) else "More than a fifth of the operators in some model"
    verdict, beside = of_every(map(truth, small), len(_REDUCED))
    why = f"{why}; the published count itself in {len(same)} of {len(rows)}.{beside}"
    return Statement(text, _SOURCE, verdict, why, facts)


def _fewer(  # noqa: PLR0913 - two columns and what is said of them
    table: pd.DataFrame,
    less: str,
    more: str,
    text: str,
    *,
    share: float = 1.0,
    strictly: bool = False,
    published: int = len(TITLES),
    missing: str = _NOT_RUN,
) -> Statement:
    """Whether a count is at most such a share of another one in every model, or strictly below it."""
    rows = table[table[less].notna() & table[more].notna()].to_dict("records")
    if not rows:
        return unmeasured(text, _SOURCE, missing)
    name = less.replace("_", "-")
    facts = tuple(Fact(f"{row['model']}: {name} of {row[more]}", _count(row, less)) for row in rows)
    compare = below if strictly else at_most
    so = [compare(_count(row, less), scaled(_count(row, more), share)) for row in rows]
    why = f"So in {so.count(Verdict.HOLDS)} of {len(rows)} models{_unsure(row for row in rows if _stopped(row, less))}."
    verdict, beside = of_every(so, published)
    return Statement(text, _SOURCE, verdict, f"{why}{beside}", facts)


def _stopped(row: Mapping[Any, Any], column: str) -> bool:
    return bool(row.get(STOPPED.get(column, ""), 0))


def _count(row: Mapping[Any, Any], column: str) -> Estimate:
    return counted(row[column], stopped=_stopped(row, column))


def _unsure(rows: Iterable[Mapping[Any, Any]]) -> str:
    """Which counts are not the whole; nothing where all are."""
    models = [str(row["model"]) for row in rows]
    return f"; the budget stopped the method, whose count is the least, for {', '.join(models)}" if models else ""


def _one_point(table: pd.DataFrame) -> Statement:
    text = (
        "With the mid-end edge hybrid evaluates a single split point for VGG, ResNet, NASNet and PNASNet: the cloud"
        " is far"
        " more powerful than an edge without an accelerator."
    )
    rows = [row for row in table[table["hybrid"].notna()].to_dict("records") if row["model"] in _ONE_POINT]
    if not rows:
        return unmeasured(text, _SOURCE, _NOT_RUN)
    facts = tuple(Fact(f"{row['model']}: hybrid", _count(row, "hybrid")) for row in rows)
    # Nobody evaluates none.
    verdict, beside = of_every((at_most(_count(row, "hybrid"), exact(1)) for row in rows), len(_ONE_POINT))
    stopped = _unsure(row for row in rows if _stopped(row, "hybrid"))
    why = (
        "Hybrid goes on until the edge computes longer than the cloud, and that comes later here: the cloud's lead is"
        " smaller than the paper's, whose cloud had six times the processors and two accelerators."
        if verdict is Verdict.FAILS
        else f"Hybrid may have gone on{stopped}."
        if stopped
        else "The first split point that comm-slim leaves already keeps the edge busier than the cloud."
    )
    return Statement(text, _SOURCE, verdict, f"{why}{beside}", facts)
