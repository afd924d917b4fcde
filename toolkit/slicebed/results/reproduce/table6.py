"""Couper's Table 6: how long hybrid takes across edges, beside strongman."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.results.reproduce.intervals import Estimate, exact, quotient
from slicebed.results.reproduce.measured import counted, left_by_comm_slim, measured, problem_title
from slicebed.results.reproduce.names import EDGES
from slicebed.results.reproduce.section import Section
from slicebed.results.reproduce.statement import (
    Fact,
    Statement,
    Verdict,
    all_of,
    any_of,
    at_most,
    below,
    of_every,
    unmeasured,
)
from slicebed.results.reproduce.table5 import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slicebed.results.reproduce.measured import Searches

MODELS = ("Inception V3", "Inception ResNet V2", "PNASNet 331")
EDGES_OF_TABLE = ("low", "mid", "high")
# The most that hybrid takes of strongman in the paper: 10 of somewhat more than 30 minutes.
_MOST_PUBLISHED = 1 / 3
# What strongman would take is reckoned from the few cuts that others measured, which are not drawn by chance.
_EXPECTED_WITHIN = 1.5
_STOPPED = {"comm_slim_runs": "comm_slim_stopped", "hybrid_runs": "hybrid_stopped", "hybrid_s": "hybrid_stopped"}
_SOURCE = "Couper, section 7, Time-to-slice, Table 6"
_NOT_RUN = "hybrid was not run on these models under two edges"


def table6(searches: Searches, reference: Path = REFERENCE) -> pd.DataFrame:
    """A row for each model and edge of the paper's table, seconds of testbed beside its minutes.

    ``strongman_s`` is of the session where strongman was run; where it was not, it is what its candidates would take at
    the mean of those measured, and ``strongman_run`` is 0; so where the budget stopped strongman. ``hybrid_stopped``
    and ``comm_slim_stopped`` are 1 where the budget stopped them: counts and times are the least that they may be.
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
            done, left = measured(cuts), left_by_comm_slim(cuts)
            whole = strongman is not None and not strongman.stopped_by_budget
            # What is known without a run, no budget stops.
            slim_run = comm_slim is not None and not (comm_slim.stopped_by_budget and left is not None)
            expected_s = len(cuts) * sum(each.testbed_s for each in done) / len(done) if done else None
            rows.append(
                {
                    "model": model,
                    "edge": edge,
                    "candidates": len(cuts) or None,
                    "comm_slim_runs": comm_slim.candidates if comm_slim is not None and slim_run else left,
                    "comm_slim_stopped": int(comm_slim is not None and slim_run and comm_slim.stopped_by_budget),
                    "hybrid_runs": None if hybrid is None else hybrid.candidates,
                    "hybrid_s": None if hybrid is None else hybrid.testbed_s,
                    "hybrid_stopped": int(hybrid is not None and hybrid.stopped_by_budget),
                    "strongman_s": strongman.testbed_s if strongman is not None and whole else expected_s,
                    "strongman_run": None if not done else int(whole),
                    "published_hybrid_min": int(published[model][f"hybrid {EDGES[edge]}"]),
                    "published_strongman_min": str(published[model]["strongman"]),
                }
            )
    table = pd.DataFrame(rows)
    counts = ["candidates", "comm_slim_runs", "hybrid_runs", "strongman_run", *_STOPPED.values()]
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
        at_least=_STOPPED,
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
    shares = [(row, quotient(_of(row, "hybrid_s"), _strongman(row))) for row in rows if row["strongman_s"] > 0]
    facts = tuple(
        Fact(f"{problem_title((row['model'], row['edge']))}: {_said(row)}", each._replace(n=int(row["candidates"])))
        for row, each in shares
    )
    within = [at_most(each, exact(_MOST_PUBLISHED)) for _, each in shares]
    expected = sum(not row["strongman_run"] for row, _ in shares)
    beside = (
        f"; strongman's time is expected, within a factor of {_EXPECTED_WITHIN:g}, not measured, in {expected}"
        if expected
        else ""
    )
    beside += _unsure([row for row, _ in shares], "hybrid_s")
    why = f"At most a third of strongman's time in {within.count(Verdict.HOLDS)} of {len(within)} cases{beside}."
    verdict, missing = of_every(within, len(MODELS) * len(EDGES_OF_TABLE))
    return Statement(text, _SOURCE, verdict, f"{why}{missing}", facts)


def _strongman(row: Mapping[Any, Any]) -> Estimate:
    time_s = row["strongman_s"]
    if row["strongman_run"]:
        return exact(time_s)
    return Estimate(time_s, time_s / _EXPECTED_WITHIN, time_s * _EXPECTED_WITHIN)


def _of(row: Mapping[Any, Any], column: str) -> Estimate:
    return counted(row[column], stopped=row[_STOPPED[column]] == 1)


def _unsure(rows: Sequence[Mapping[Any, Any]], column: str) -> str:
    """In how many rows a figure is the least that it may be; nothing where in none."""
    stopped = sum(row[_STOPPED[column]] == 1 for row in rows)
    return f"; in {stopped} the budget stopped the method, whose figure is the least that it may be" if stopped else ""


def _said(row: Mapping[Any, Any]) -> str:
    return "share of strongman's time" if row["strongman_run"] else "share of strongman's time, expected"


def _rising(table: pd.DataFrame, column: str, text: str) -> Statement:
    """Whether a count never falls from a weaker to a stronger edge, and rises somewhere."""
    by_model: dict[str, Sequence[Mapping[Any, Any]]] = {}
    for model, rows in table[table[column].notna()].groupby("model", sort=False):
        if len(rows) > 1:
            by_model[str(model)] = rows.to_dict("records")
    if not by_model:
        return unmeasured(text, _SOURCE, _NOT_RUN)
    every = [row for rows in by_model.values() for row in rows]
    facts = tuple(
        Fact(f"{problem_title((row['model'], row['edge']))}: split points", _of(row, column)) for row in every
    )
    steps = [(_of(a, column), _of(b, column)) for rows in by_model.values() for a, b in pairwise(rows)]
    kept = [at_most(a, b) for a, b in steps]
    risen = [below(a, b) for a, b in steps]
    up, down = risen.count(Verdict.HOLDS), kept.count(Verdict.FAILS)
    same = sum(a == b and not math.isinf(a.high) for a, b in steps)
    why = f"From one edge to the next stronger one it rises {up} times, stays {same}, falls {down}"
    why += f"{_unsure(every, column)}."
    if column == "comm_slim_runs" and same == len(steps):
        why += " Both links together are as long with every edge of Table 4 (round trips of 66, 65 and 67 ms)."
    everywhere, missing = of_every(kept, len(MODELS) * (len(EDGES_OF_TABLE) - 1))
    return Statement(text, _SOURCE, all_of((everywhere, any_of(risen))), f"{why}{missing}", facts)
