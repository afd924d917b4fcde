"""What `slicebed search` prints of every session: what was chosen, why, and what that took."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slicebed.spec.objective import METRICS

if TYPE_CHECKING:
    from pathlib import Path

_MS = 1000


@dataclass(frozen=True)
class SessionDecision:
    """One method's decision on one problem, from the tables of a search.

    Attributes:
        model: of the problem.
        condition: of the problem.
        method: whose decision it is.
        objective: what was minimised.
        chosen: key of the candidate.
        placement: of the candidate; empty where there is one.
        cut: of the candidate, split points joined by commas; empty of a whole model.
        why: the method's own sentence.
        runs: cells that it asked for.
        candidates: of the problem.
        candidates_measured: those that it asked for.
        testbed_s: seconds of the testbed behind it, profiles included.
        decision_s: seconds that the method thought.
        value: of the objective at the choice.
        best_known_value: of the best candidate that any method measured.
        regret_measured: how much worse the choice is than that, as a share.
        regret_predicted: how much worse it may be by the method's own prediction; None where it makes none.
        prediction_error: median relative error of its predictions; None likewise.
        stopped_by_budget: whether by itself it would have measured more.
    """

    model: str
    condition: str
    method: str
    objective: str
    chosen: str
    placement: str
    cut: str
    why: str
    runs: int
    candidates: int
    candidates_measured: int
    testbed_s: float | None
    decision_s: float | None
    value: float | None
    best_known_value: float | None
    regret_measured: float | None
    regret_predicted: float | None
    prediction_error: float | None
    stopped_by_budget: bool

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def read_decisions(folder: Path) -> tuple[SessionDecision, ...]:
    """The decisions of a search, in the order of its table."""
    candidates = _rows(folder / "tables" / "candidates.csv")
    counts = Counter(row["problem"] for row in candidates)
    placements = {(row["problem"], row["key"]): row["placement"] for row in candidates}
    return tuple(
        SessionDecision(
            **{name: row[name] for name in ("model", "condition", "method", "objective", "chosen", "cut", "why")},
            placement=placements.get((row["problem"], row["chosen"]), ""),
            candidates=counts[row["problem"]],
            runs=int(row["runs"]),
            candidates_measured=int(row["candidates_measured"]),
            testbed_s=_number(row["testbed_s"]),
            decision_s=_number(row["decision_s"]),
            value=_number(row["value"]),
            best_known_value=_number(row["best_known_value"]),
            regret_measured=_number(row["regret_measured"]),
            regret_predicted=_number(row["regret_predicted"]),
            prediction_error=_number(row["prediction_error"]),
            stopped_by_budget=row["stopped_by_budget"] == "1",
        )
        for row in _rows(folder / "tables" / "decisions.csv")
    )


def decision_lines(decision: SessionDecision) -> list[str]:
    """A decision as lines of text, without markup."""
    cut = f"cut {decision.cut}" if decision.cut else "the model left whole"
    placed = f"placement {decision.placement}, " if decision.placement else ""
    key = f" ({decision.chosen})" if decision.chosen != decision.cut else ""
    took = f"{decision.runs} runs, of {decision.candidates_measured} of {decision.candidates} candidates"
    took += ", when the budget stopped it" if decision.stopped_by_budget else ""
    value = f"{decision.objective} {_shown(decision.objective, decision.value)}"
    lines = [
        f"{decision.model}, {decision.condition}, {decision.method}: {placed}{cut}{key}",
        f"  {value}; {took}; {_seconds(decision.testbed_s)} of the testbed",
    ]
    told = []
    if decision.regret_measured is not None:
        best = _shown(decision.objective, decision.best_known_value)
        told.append(f"regret {_share(decision.regret_measured)} against the best measured, {best}")
    if decision.regret_predicted is not None:
        told.append(f"by its own prediction at most {_share(decision.regret_predicted)}")
    if decision.prediction_error is not None:
        told.append(f"of what it measured, its predictions were off by {_share(decision.prediction_error)} (median)")
    if told:
        lines.append(f"  {'; '.join(told)}")
    return [*lines, f"  why: {decision.why}"]


def _shown(objective: str, value: float | None) -> str:
    """A value of the objective in the unit of its metric; a weighted sum has none."""
    if value is None:
        return "unknown"
    metric = objective.partition(";")[0]
    if metric == "drop_rate":
        return _share(value)
    unit = METRICS.get(metric, "")
    return f"{value * _MS:.1f} ms" if unit == "s" else f"{value:.4g} {unit}".rstrip()


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return "unknown time" if value is None else f"{value:.0f} s"


def _number(text: str) -> float | None:
    """A cell of the table; None where it is empty or, as the regret against a best of 0, endless."""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
