"""What finished cells gave, what that makes of their candidate, and which cells come next; pure but for `read_cell`."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError
from slicebed.run.search.space import Cell
from slicebed.split.search.contracts import Figure, Measure
from slicebed.split.search.objective import exact
from slicebed.stats import Z, median_interval, over_runs, quantile_interval, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed.run.search.space import Space
    from slicebed.spec.objective import Objective

_SLICE = "slice"
_P95 = 0.95


@dataclass(frozen=True)
class CellData:
    """What one finished cell gave.

    Attributes:
        cell: which.
        manifest: of its run.
        latencies_s: of its completed frames.
        sent_bytes: of every frame that anything was sent of, over all links.
        slices_s: what the completed frames were computed, by slice.
        hosts_s: the same by host, over its slices.
        energy_j: of all hosts; None where one of them does not know.
    """

    cell: Cell
    manifest: Mapping[str, Any]
    latencies_s: tuple[float, ...]
    sent_bytes: tuple[int, ...]
    slices_s: tuple[tuple[float, ...], ...]
    hosts_s: Mapping[str, tuple[float, ...]]
    energy_j: float | None

    @property
    def frames(self) -> Mapping[str, int]:
        """Captured, completed, dropped and failed ones."""
        frames: Mapping[str, int] = self.manifest["frames"]
        return frames

    @property
    def lost(self) -> int:
        """Frames that were dropped or failed."""
        return self.frames["dropped"] + self.frames["failed"]

    @property
    def total_s(self) -> float:
        """From the first capture to the last end."""
        return float(self.manifest["total_time_s"])

    @property
    def compute_s(self) -> Mapping[str, float]:
        """Median of what each host with slices computed for a frame."""
        return {host: statistics.median(seconds) for host, seconds in self.hosts_s.items() if seconds}

    @property
    def testbed_s(self) -> float:
        """How long the testbed was used for it."""
        return float(self.manifest["testbed_s"])


def read_cell(cell: Cell, folder: Path, manifest: Mapping[str, Any]) -> CellData:
    """What a finished run's folder says of its cell.

    Raises:
        RunError: its samples cannot be read.
    """
    try:
        samples = pd.read_parquet(folder / "samples.parquet", engine="pyarrow")
    except (OSError, ValueError) as error:
        raise RunError(f"samples of a finished cell cannot be read: {error}", where=str(folder)) from None
    done = samples[samples["end"] == "completed"]
    stages = {host: [name for name in names if name.startswith(_SLICE)] for host, names in manifest["stages"].items()}
    columns = {
        host: [f"{host}_compute_ms" if name == _SLICE else f"{host}_{name}_compute_ms" for name in names]
        for host, names in stages.items()
    }
    sent = samples[[f"{host}_bytes_out" for host in manifest["chain"]]].fillna(0).sum(axis=1)
    used = manifest.get("summary", {}).get("usage", {})
    energy = [used.get(host, {}).get("energy_j") for host in manifest["chain"]]
    return CellData(
        cell,
        manifest,
        latencies_s=_seconds(done["latency_ms"]),
        sent_bytes=tuple(int(count) for count in sent[sent > 0]),
        slices_s=tuple(_seconds(done[column]) for names in columns.values() for column in names),
        hosts_s={host: _seconds(done[names].sum(axis=1, min_count=1)) for host, names in columns.items() if names},
        energy_j=None if None in energy else sum(energy),
    )


def measure(key: str, cells: Sequence[CellData]) -> Measure:
    """What a candidate's cells give together, every figure with its 95 % interval.

    Figures are those of the frames of all cells. A frame that failed is as lost to the user as one that was dropped,
    and counts in the drop rate as such: a link that breaks must not make a candidate the best one. Of a single cell
    their intervals speak of its frames alone: how far another run would be off they cannot know. Of several cells they
    are at least as wide as the cells themselves tell (`over_runs`). The drop rate's interval is Wilson's, and so is
    that of the throughput, whose frames come at a fixed rate; that of the bytes is of their mean over frames. Energy
    has none.
    """
    latencies = [latency for cell in cells for latency in cell.latencies_s]
    captured, completed = (sum(cell.frames[name] for cell in cells) for name in ("captured", "completed"))
    lost = sum(cell.lost for cell in cells)
    figures: dict[str, Figure] = {}
    if captured:
        shares = [cell.lost / cell.frames["captured"] for cell in cells if cell.frames["captured"]]
        bounds = over_runs(wilson_interval(lost, captured), shares, most=1.0)
        figures["drop_rate"] = _figure(lost / captured, bounds)
    total_s = sum(cell.total_s for cell in cells)
    if total_s > 0:
        low, high = (share * captured / total_s for share in wilson_interval(completed, captured))
        rates = [cell.frames["completed"] / cell.total_s for cell in cells if cell.total_s > 0]
        figures["throughput"] = _figure(completed / total_s, over_runs((low, high), rates))
    if latencies:
        runs = [cell.latencies_s for cell in cells if cell.latencies_s]
        medians, tails = [statistics.median(run) for run in runs], [_p95(run) for run in runs]
        figures["latency"] = _figure(statistics.median(latencies), over_runs(median_interval(latencies), medians))
        figures["latency_p95"] = _figure(_p95(latencies), over_runs(quantile_interval(latencies, _P95), tails))
        figures["bytes"] = _bytes(cells)
        energy = [cell.energy_j for cell in cells]
        if None not in energy:
            joules = math.fsum(each for each in energy if each is not None) / completed
            figures["energy"] = Figure(joules, math.nan, math.nan)
    slices = zip(*(cell.slices_s for cell in cells), strict=True)
    computed = [[second for part in parts for second in part] for parts in slices]
    return Measure(
        key,
        figures,
        compute_s=tuple(map(statistics.median, computed)) if all(computed) else (),
        frames=captured,
        repeats=len(cells),
        testbed_s=sum(cell.testbed_s for cell in cells),
    )


@dataclass(frozen=True)
class Repeats:
    """How often a candidate is measured.

    Attributes:
        at_least: repeats in any case; where `until` is given, as many as tell what runs differ by (`spec.search`).
        at_most: repeats where the interval stays too wide.
        until: as of `objective.exact`; None: not looked at.
        objective: what is minimised.
    """

    at_least: int
    at_most: int
    until: float | None
    objective: Objective

    def settled(self, cells: Sequence[CellData]) -> Sequence[CellData] | None:
        """The first of a candidate's cells that are enough; None where it needs another.

        Which these are depends on them alone. Neither how many more there are counts, since another method may have
        asked for those, nor what other candidates gave: a spread between runs that is pooled over candidates would
        depend on which of them methods had asked for, and when.
        """
        for count in range(self.at_least, len(cells) + 1):
            if count >= self.at_most or self.until is None or self._exact(cells[:count], self.until):
                return cells[:count]
        return None

    def _exact(self, cells: Sequence[CellData], until: float) -> bool:
        return exact(self.objective, measure("", cells).figures, until)


def cell_of(manifest: Mapping[str, Any]) -> Cell:
    """The cell that a run's manifest is of."""
    return Cell(manifest["problem"], manifest["key"], manifest["repeat"], manifest["cell_frames"])


def ordered(cells: Iterable[Cell], spaces: Mapping[str, Space], *, randomised: bool, seed: int) -> list[Cell]:
    """A block of cells of one condition: shuffled, with those beside each other whose hosts' knobs are the same.

    Each repeat is a block of its own, so that whatever drifts meets all candidates alike. The same cells are always in
    the same order.
    """
    names = sorted(set(cells), key=lambda cell: (cell.repeat, cell.id))
    found: list[Cell] = []
    for _, block in groupby(names, key=lambda cell: cell.repeat):
        own = list(block)
        if randomised:
            # A repeatable shuffle is wanted here, not a secret one.
            random.Random(f"{seed} {own[0].id} {len(own)}").shuffle(own)  # noqa: S311
        groups: dict[object, list[Cell]] = {}
        for cell in own:
            groups.setdefault(spaces[cell.problem].variants[cell.key].knobs, []).append(cell)
        found += [cell for group in groups.values() for cell in group]
    return found


def _seconds(milliseconds: pd.Series[float]) -> tuple[float, ...]:
    return tuple(float(value) / 1000 for value in milliseconds.dropna())


def _p95(latencies: Sequence[float]) -> float:
    return float(pd.Series(latencies).quantile(_P95))


def _figure(value: float, bounds: tuple[float, float]) -> Figure:
    return Figure(value, *bounds)


def _bytes(cells: Sequence[CellData]) -> Figure:
    """Sent by completed frame: what was sent of frames that were dropped later counts, too."""
    of_frames = [count for cell in cells for count in cell.sent_bytes]
    completed = sum(cell.frames["completed"] for cell in cells)
    if not of_frames:
        return Figure(0.0, 0.0, 0.0)
    value = sum(of_frames) / completed
    if len(of_frames) == 1:
        return Figure(value, math.nan, math.nan)
    half = Z * statistics.stdev(of_frames) * math.sqrt(len(of_frames)) / completed
    of_cells = [sum(cell.sent_bytes) / cell.frames["completed"] for cell in cells if cell.frames["completed"]]
    return _figure(value, over_runs((value - half, value + half), of_cells))
