"""Every candidate on one model, one process after another."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.slicer.candidates.limits import Watch
from benchmarks.slicer.candidates.plan import Plan
from benchmarks.slicer.candidates.ways import NAMES
from benchmarks.slicer.workers import BenchmarkError, Worker, one

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Found:
    """One candidate on one model; what was not reached is None or empty.

    Attributes:
        load_s: from the process' imports to a model of which parts can be prepared.
        loaded: memory then: ``resident_bytes``, of these ``own_bytes`` alone its own, and ``peak_bytes`` so far.
        whole_prepare_s: the whole, as one part.
        cuts: ``prepare_s`` of each slice of each cut in turn, and ``added_bytes`` of its own memory by the cut.
        ready: memory with the whole and all cuts prepared.
        at_the_end: memory after all runs.
        from_whole: largest difference of a cut's three slices from the candidate's whole.
        from_keras: of the whole from Keras.
        whole_s, three_s: by round; of the first cut.
        load: average of the machine at the end.
        stopped: why nothing more is known; empty where all is.
    """

    load_s: float | None = None
    loaded: dict[str, int] = field(default_factory=dict)
    whole_prepare_s: float | None = None
    cuts: list[dict[str, Any]] = field(default_factory=list)
    ready: dict[str, int] = field(default_factory=dict)
    at_the_end: dict[str, int] = field(default_factory=dict)
    from_whole: float | None = None
    from_keras: float | None = None
    whole_s: list[float] = field(default_factory=list)
    three_s: list[float] = field(default_factory=list)
    load: float | None = None
    stopped: str = ""


@dataclass(frozen=True)
class Compared:
    """All candidates on one model.

    Attributes:
        cuts: what crosses each boundary of each cut.
        segments: how many there are.
        found: by candidate.
    """

    cuts: list[list[tuple[str, ...]]]
    segments: int
    found: dict[str, Found]


def compare(model: str, rounds: int, longest_s: float, seed: int, note: Callable[[str], None]) -> Compared:
    """Measure every candidate on a model of the zoo, each within `limits`.

    Args:
        model: its name.
        rounds: at most so many of the whole and of three slices.
        longest_s: no round begins after so long.
        seed: of the cuts and of the frame.
        note: told what is going on.

    Raises:
        BenchmarkError: the cuts cannot be chosen, or Keras does not run the model.
    """
    note(f"candidates on {model}: choosing cuts")
    # What a process sends is the same JSON that the plan is read from.
    asked = Plan.from_json(Plan(**one("candidates.plan", model, seed)).to_json())
    with tempfile.TemporaryDirectory(prefix="slicebed-bench-") as name:
        plan_path, reference_path = Path(name) / "plan.json", Path(name) / "reference.npz"
        plan_path.write_text(asked.to_json(), "utf-8")
        note(f"candidates on {model}: what Keras says")
        one("candidates.reference", plan_path, reference_path)
        found = {}
        for way in NAMES:
            note(f"candidates on {model}: {way}")
            found[way] = _watched(way, plan_path, reference_path, rounds, longest_s)
    cuts = [[part.fetches for part in cut[:-1]] for cut in asked.cuts]
    return Compared(cuts, len(asked.segments), found)


def _watched(way: str, *arguments: object) -> Found:
    known: dict[str, Any] = {}
    with Worker("candidates.worker", way, *arguments) as worker, Watch(worker) as watch:
        try:
            for step in worker.answers():
                known |= step
        except BenchmarkError as error:
            # A candidate that cannot run a model is a finding, not the end of the benchmark.
            known["stopped"] = watch.reason or str(error).rpartition(" died: ")[2]
    return Found(**known)
