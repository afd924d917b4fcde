"""Couper's Table 6: how long hybrid takes across edges, beside strongman."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.reproduce.intervals import exact
from slicebed.results.reproduce.measured import left_by_comm_slim, measured, problem_title
from slicebed.results.reproduce.names import EDGES
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import Fact, Statement, Verdict, all_of, any_of, truth, unmeasured
from slicebed.results.reproduce.table5 import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slicebed.results.reproduce.measured import Searches

MODELS = ("Inception V3", "Inception ResNet V2", "PNASNet 331")
EDGES_OF_TABLE = ("low", "mid", "high")
# The most that hybrid takes of strongman in the paper: 10 of somewhat more than 30 minutes.
_MOST_PUBLISHED = 1 / 3
_SOURCE = "Couper, section 7, Time-to-slice, Table 6"
_NOT_RUN = "hybrid was not run on these models under two edges"


def table6(searches: Searches, reference: Path = REFERENCE) -> pd.DataFrame:
    """A row for each model and edge of the paper's table, seconds of testbed beside its minutes.

    ``strongman_s`` is of the session where strongman was run; where it was not, it is what its candidates would take at
    the mean of those measured, and ``strongman_run`` is 0.
    """
    published = pd.read_csv(reference / "table6_evaluation_minutes.csv").set_index("method_or_edge")
    problems = searches.problems()
    rows = []
    for model in MODELS:
        for edge in EDGES_OF_TABLE:
            problem = (model, edge)
            hybrid, strongman = (searches.decision(problem, method) for method in ("hybrid", "strongman"))
            comm_slim = searches.decision(problem, "comm-slim")
            cuts = problems.get(problem, ())
            done = measured(cuts)
            expected_s = len(cuts) * sum(each.testbed_s for each in done) / len(done) if done else None
            rows.append(
                {
                    "model": model,
                    "edge": edge,
                    "candidates": len(cuts) or None,
                    "comm_slim_runs": left_by_comm_slim(cuts) if comm_slim is None else comm_slim.candidates,
                    "hybrid_runs": None if hybrid is None else hybrid.candidates,
                    "hybrid_s": None if hybrid is None else hybrid.testbed_s,
                    "strongman_s": expected_s if strongman is None else strongman.testbed_s,
                    "strongman_run": None if not done else int(strongman is not None),
                    "published_hybrid_min": int(published[model][f"hybrid {EDGES[edge]}"]),
                    "published_strongman_min": str(published[model]["strongman"]),
                }
            )
    table = pd.DataFrame(rows)
    counts = ["candidates", "comm_slim_runs", "hybrid_runs", "strongman_run"]
    return table.astype({**dict.fromkeys(counts, "Int64"), "hybrid_s": "float64", "strongman_s": "float64"})


def section_table6(searches: Searches, reference: Path = REFERENCE) -> Section:
    """Table 6 and what the paper says of it."""
    table = table6(searches, reference)
    return Section(
        target="couper-table6",
        name="couper_table6",
        title="Couper, Table 6: evaluation time of hybrid across edges, beside strongman",
        table=table,
        comparable="The ratio of hybrid to strongman, and how it moves from edge to edge.",
        not_comparable=(
            "Minutes against seconds: the paper starts containers anew for every split point and runs them for"
            " minutes, here"
            " agents stay up and change the cut. The edges are scaled to this machine's cores."
        ),
        statements=judge_table6(table),
    )


def judge_table6(table: pd.DataFrame) -> tuple[Statement, ...]:
    """The paper's statements about the table that `table6` gives."""
    return (
        _greatly_reduced(table),
        _rising(
            table,
            "hybrid_runs",
            "As the compute capacity of the edge increases, hybrid tries more split points.",
        ),
        _rising(
            table,
            "comm_slim_runs",
            (
                "With the high-end edge, nearer to the cloud, comm-slim explores more split points than with the"
                " low-end edge."
            ),
        ),
    )


def _greatly_reduced(table: pd.DataFrame) -> Statement:
    text = (
        "Hybrid greatly reduces the evaluation time when compared to strongman (in the paper to a third at most,"
        " Inception V3"
        " with the high-end edge, and to a hundredth at best)."
    )
    rows = table[table["hybrid_s"].notna() & table["strongman_s"].notna()].to_dict("records")
    if not rows:
        return unmeasured(text, _SOURCE, "hybrid was not run on any of these models")
    shares = [(row, row["hybrid_s"] / row["strongman_s"]) for row in rows if row["strongman_s"] > 0]
    facts = tuple(
        Fact(f"{problem_title((row['model'], row['edge']))}: {_said(row)}", exact(each, int(row["candidates"])))
        for row, each in shares
    )
    within = [each <= _MOST_PUBLISHED for _, each in shares]
    expected = sum(not row["strongman_run"] for row, _ in shares)
    beside = f"; strongman's time is expected, not measured, in {expected}" if expected else ""
    why = f"At most a third of strongman's time in {sum(within)} of {len(within)} cases{beside}."
    return Statement(text, _SOURCE, all_of(map(truth, within)), why, facts)


def _said(row: Mapping[Any, Any]) -> str:
    return "share of strongman's time" if row["strongman_run"] else "share of strongman's time, expected"


def _rising(table: pd.DataFrame, column: str, text: str) -> Statement:
    """Whether a count never falls from a weaker to a stronger edge, and rises somewhere."""
    by_model: dict[str, Sequence[tuple[str, int]]] = {}
    for model, rows in table[table[column].notna()].groupby("model", sort=False):
        if len(rows) > 1:
            by_model[str(model)] = list(zip(rows["edge"], map(int, rows[column]), strict=True))
    if not by_model:
        return unmeasured(text, _SOURCE, _NOT_RUN)
    facts = tuple(
        Fact(f"{problem_title((model, edge))}: split points", exact(count))
        for model, counts in by_model.items()
        for edge, count in counts
    )
    steps = [b - a for counts in by_model.values() for (_, a), (_, b) in pairwise(counts)]
    falls = all_of(truth(step >= 0) for step in steps)
    rises = any_of(truth(step > 0) for step in steps)
    verdict = Verdict.HOLDS if falls is Verdict.HOLDS and rises is Verdict.HOLDS else Verdict.FAILS
    up, down = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    why = f"From one edge to the next stronger one it rises {up} times, stays {len(steps) - up - down}, falls {down}."
    if column == "comm_slim_runs" and not up and not down:
        why += " Both links together are as long with every edge of Table 4 (round trips of 66, 65 and 67 ms)."
    return Statement(text, _SOURCE, verdict, why, facts)
