"""What the searches of a reproduction measured, as the tables of Couper need it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.results.reproduce.intervals import UNKNOWN, Estimate, at_least, exact, least
from slicebed.results.reproduce.names import EDGES, edge_rank, model_rank
from slicebed.spec.search import LATENCY
from slicebed.split.search.contracts import Boundary, Candidate, Problem
from slicebed.split.search.methods.comm_slim import slim

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class CutFigures:
    """A candidate of a search: a model sliced or whole, under a condition.

    Attributes:
        model: as the paper calls it.
        condition: name of the testbed; of the searches over edges, that of the edge.
        key: of the candidate, unique in its problem.
        placement: name of its placement.
        cut: its label; "" of a model that is left whole.
        place: of the cut along the model.
        runs: cells behind the figures; 0: it was not measured.
        captured: frames.
        dropped: of them.
        latency_ms: median of the completed frames.
        drop_rate: dropped over captured.
        into_cloud_bytes: raw, of one frame, over the link into the last host.
        compute_ms: mean of each host's slices.
        transfer_ms: mean over the link into the last host, encoding and decoding included.
        testbed_s: for all its cells.
    """

    model: str
    condition: str
    key: str
    placement: str = ""
    cut: str = ""
    place: int = 0
    runs: int = 0
    captured: int = 0
    dropped: int = 0
    latency_ms: Estimate = UNKNOWN
    drop_rate: Estimate = UNKNOWN
    into_cloud_bytes: float = math.nan
    compute_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    transfer_ms: float = math.nan
    testbed_s: float = 0.0

    @property
    def problem(self) -> tuple[str, str]:
        """Model and condition."""
        return self.model, self.condition

    @property
    def title(self) -> str:
        """Model and condition for whoever reads."""
        return problem_title(self.problem)


@dataclass(frozen=True)
class Decision:
    """What a method decided on one problem, and what it took.

    Attributes:
        model: as the paper calls it.
        condition: as of `CutFigures`.
        method: its name.
        chosen: key of the chosen candidate; "" where it chose none.
        candidates: that it measured.
        testbed_s: of the testbed for its cells, and for profiles where it used them.
        stopped_by_budget: whether by itself it would have measured more.
    """

    model: str
    condition: str
    method: str
    chosen: str
    candidates: int
    testbed_s: float
    stopped_by_budget: bool = False

    @property
    def problem(self) -> tuple[str, str]:
        """Model and condition."""
        return self.model, self.condition

    @property
    def count(self) -> Estimate:
        """Of its candidates; without an upper end where the budget stopped it."""
        return counted(self.candidates, stopped=self.stopped_by_budget)

    @property
    def time_s(self) -> Estimate:
        """Of the testbed, likewise."""
        return counted(self.testbed_s, stopped=self.stopped_by_budget)


@dataclass(frozen=True)
class Searches:
    """Every candidate and decision of a reproduction's searches."""

    cuts: tuple[CutFigures, ...] = ()
    decisions: tuple[Decision, ...] = ()

    def problems(self) -> dict[tuple[str, str], tuple[CutFigures, ...]]:
        """Model and condition -> sliced candidates along the model; the paper's order of models, weak edges first."""
        sliced = sorted((each for each in self.cuts if each.cut), key=_order)
        return {problem: tuple(cuts) for problem, cuts in groupby(sliced, key=lambda each: each.problem)}

    def whole(self, placement: str) -> dict[tuple[str, str], CutFigures]:
        """Model and condition -> the whole model in that placement, where it was measured."""
        found = sorted((each for each in self.cuts if not each.cut and each.placement == placement), key=_order)
        return {each.problem: each for each in found if each.runs}

    def decision(self, problem: tuple[str, str], method: str) -> Decision | None:
        """What a method decided on a problem; None where it was not asked."""
        return next((each for each in self.decisions if each.problem == problem and each.method == method), None)

    def is_cut_short(self, problem: tuple[str, str]) -> bool:
        """Whether the budget stopped a method on a problem before all of its split points were measured."""
        stopped = any(each.problem == problem and each.stopped_by_budget for each in self.decisions)
        return stopped and not is_exhausted(self.problems().get(problem, ()))

    def chosen(self, problem: tuple[str, str], method: str) -> CutFigures | None:
        """The figures of what a method chose; None where it was not asked, or chose nothing that was measured."""
        decision = self.decision(problem, method)
        key = "" if decision is None else decision.chosen
        return next((each for each in self.cuts if each.problem == problem and each.key == key and each.runs), None)


def problem_title(problem: tuple[str, str]) -> str:
    """Such as ``Inception V3, low-end edge``."""
    model, condition = problem
    return f"{model}, {EDGES.get(condition, condition)}"


def counted(value: float, *, stopped: bool) -> Estimate:
    """A count or a time; of what was stopped before its end, the least that it may be."""
    return at_least(value) if stopped else exact(value)


def measured(cuts: Iterable[CutFigures]) -> list[CutFigures]:
    """Those with figures."""
    return [each for each in cuts if each.runs]


def left_by_comm_slim(cuts: Sequence[CutFigures]) -> int | None:
    """How many cuts comm-slim leaves, which takes no run (Couper, section 5.4); None where sizes are not known.

    By its own rule without options, half of the transfers: all cuts are behind the same link, so that its rate is no
    matter, and the way before them is the same.
    """
    if not cuts or any(math.isnan(each.into_cloud_bytes) for each in cuts):
        return None
    candidates = tuple(
        Candidate(each.key, boundaries=(Boundary("", "", round(each.into_cloud_bytes), rate_bit_per_s=1),))
        for each in cuts
    )
    return len(slim(Problem(candidates, LATENCY))[0])


def is_exhausted(cuts: Sequence[CutFigures]) -> bool:
    """Whether every candidate of a problem was measured, so that the best is known."""
    return bool(cuts) and all(each.runs for each in cuts)


def fastest(cuts: Iterable[CutFigures]) -> CutFigures | None:
    """The lowest median latency, whose interval includes the choice; None where no frame was completed."""
    known = [each for each in cuts if not math.isnan(each.latency_ms.value)]
    if not known:
        return None
    best = min(known, key=lambda each: each.latency_ms.value)
    return replace(best, latency_ms=least([each.latency_ms for each in known]))


def least_dropped(cuts: Iterable[CutFigures]) -> CutFigures | None:
    """The lowest drop rate, of equal ones the fastest; its interval includes the choice. None without any figure."""
    known = [each for each in cuts if not math.isnan(each.drop_rate.value)]
    if not known:
        return None
    best = min(known, key=lambda each: (each.drop_rate.value, _or_last(each.latency_ms.value)))
    return replace(best, drop_rate=least([each.drop_rate for each in known]))


def _or_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _order(cut: CutFigures) -> tuple[int, str, int, str, int, str]:
    model, condition = cut.problem
    return model_rank(model), model, edge_rank(condition), condition, cut.place, cut.key
