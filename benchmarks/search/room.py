"""The lab that searches of the benchmark run in."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.slicer.workers import BenchmarkError

from slicebed import lab
from slicebed.spec.experiment import load_experiment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]


@contextmanager
def lab_of(experiment: Path) -> Iterator[Path]:
    """Raise the lab of an experiment's testbed, give its inventory, take it down.

    Raises:
        BenchmarkError: a lab is up on this machine.
    """
    if lab.status().health is not lab.Health.DOWN:
        raise BenchmarkError("a lab is up on this machine; run slicebed lab down first")
    plan = lab.up(load_experiment(experiment).testbed, root=ROOT)
    try:
        yield plan.inventory
    finally:
        lab.down(root=ROOT)
