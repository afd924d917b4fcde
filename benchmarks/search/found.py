"""What `predict` needs and finds beside the strongman, who measures every cut: one campaign of both in the lab."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd
from benchmarks.network.stats import ratio
from benchmarks.network.tables import seconds, table
from benchmarks.slicer.bars import Verdict, of_ratio
from benchmarks.slicer.workers import BenchmarkError

from slicebed.run.store import Campaign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.network.stats import Estimate

EXPERIMENT: Final = Path(__file__).with_name("predict.yml")
# The bar is for Inception V3's 34: a tenth of eight cuts' time is less than one run.
_MANY: Final = 30
_PROBLEM: Final = ["problem", "model", "condition"]


@dataclass(frozen=True)
class Found:
    """One model under one condition.

    Attributes:
        model: its name.
        condition: of hosts and links.
        chosen: predict's cut.
        best: strongman's.
        candidates: that strongman measured.
        runs: that `predict` asked for.
        regret: latency of its choice : the best of strongman's, of their frames.
        error: median absolute error of its last predictions of candidates that it did not measure, as a share.
        compared: candidates behind that.
        predict_s: the testbed's time for it, profiles included.
        strongman_s: the same of strongman.
        beyond_s: of that, by cell, what is not the frames' own time.
        anew: the regret of both cuts measured once more; None until they are.
    """

    model: str
    condition: str
    chosen: str
    best: str
    candidates: int
    runs: int
    regret: Estimate
    error: float
    compared: int
    predict_s: float
    strongman_s: float
    beyond_s: float
    anew: Estimate | None = None


def verdicts(found: Sequence[Found]) -> list[Verdict]:
    """Against the bars: the worst of all problems is judged, and the time only where there are as many cuts to save."""
    judged = [
        of_ratio("regret of predict's choice, worst problem", max((each.regret for each in found), key=_middle), 1.03),
        *(
            [of_ratio("the same, both cuts measured anew", max(anew, key=_middle), 1.03)]
            if (anew := [each.anew for each in found if each.anew is not None])
            else []
        ),
        _worst("runs that predict needs", [each.runs for each in found], 5, "{:.0f}"),
        _worst("median error of predicted latency", [each.error for each in found], 0.10, "{:.1%}"),
    ]
    if many := [each for each in found if each.candidates >= _MANY]:
        shares = [each.predict_s / each.strongman_s for each in many]
        judged.append(_worst("predict's testbed time : strongman's", shares, 0.1, "{:.3f}"))
        beyond = [each.beyond_s for each in many]
        judged.append(_worst("strongman's s per cut beyond its frames", beyond, 15, "{:.1f}"))
    return judged


def summary(found: Sequence[Found]) -> str:
    """What was found of every problem, and what it took: two tables, a row each."""
    head = ["model", "edge", "cuts", "runs", "regret x", "95 % interval", "anew x", "95 % interval", "error", "of"]
    rows = [
        [
            each.model,
            each.condition,
            str(each.candidates),
            str(each.runs),
            *_shown(each.regret),
            *_shown(each.anew),
            f"{each.error:.1%}",
            str(each.compared),
        ]
        for each in found
    ]
    time_head = ["model", "edge", "predict", "strongman", "predict : strongman", "strongman beyond frames"]
    times = [
        [
            each.model,
            each.condition,
            seconds(each.predict_s),
            seconds(each.strongman_s),
            f"{each.predict_s / each.strongman_s:.3f}",
            f"{seconds(each.beyond_s)} per cut",
        ]
        for each in found
    ]
    return f"{table(head, rows)}\n\n{table(time_head, times)}"


def _shown(of: Estimate | None) -> tuple[str, str]:
    return ("-", "-") if of is None else (f"{of.median:.3f}", f"{of.low:.3f} to {of.high:.3f}")


def _middle(of: Estimate) -> float:
    return of.median


def _worst(what: str, values: Sequence[float], bar: float, shown: str) -> Verdict:
    worst = max(values)
    name = f"{what}, worst of {len(values)}"
    return Verdict(name, shown.format(worst), f"at most {shown.format(bar)}", "met" if worst <= bar else "NOT met")


def search(inventory: Path, results: Path, models: Sequence[str], conditions: Sequence[str]) -> Path:
    """Search by both methods, as `searched`."""
    options = [word for model in models for word in ("--model", model)]
    options += [word for condition in conditions for word in ("--condition", condition)]
    return searched(EXPERIMENT, inventory, results, options)


def searched(experiment: Path, inventory: Path, results: Path, options: Sequence[str]) -> Path:
    """Search; goes on with a campaign that is there, unless it is finished. Gives its folder.

    Raises:
        BenchmarkError: the search failed.
    """
    begun = [path.parent for path in results.glob("*/campaign.json")]
    if begun and Campaign(begun[0]).is_complete:
        return begun[0]
    command = [str(Path(sys.executable).with_name("slicebed")), "search", str(experiment), *options]
    command += ["--inventory", str(inventory), "--results", str(results)]
    results.mkdir(parents=True, exist_ok=True)
    with (results / "log.txt").open("a") as log:
        done = subprocess.run([*command, *(["--resume"] if begun else [])], stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"the search ended with {done.returncode}; see {results}/log.txt")
    (campaign,) = (path.parent for path in results.glob("*/campaign.json"))
    return campaign


def found_in(campaign: Path) -> Iterator[Found]:
    """What the folder of a campaign of both methods says, problem by problem."""
    tables = {name: pd.read_csv(campaign / f"tables/{name}.csv") for name in ("cells", "candidates", "decisions")}
    for (problem, model, condition), decisions in tables["decisions"].groupby(_PROBLEM, sort=False):
        by_method = decisions.set_index("method")
        predict, strongman = by_method.loc["predict"], by_method.loc["strongman"]
        cells = tables["cells"][tables["cells"]["problem"] == problem]
        cells = cells.assign(key=[_key(str(cell), str(problem)) for cell in cells["cell"]])
        latency_ms = cells.groupby("key")["latency_ms"].median()
        error, compared = _error(tables["candidates"], problem, latency_ms.drop(_asked(campaign, str(problem))))
        yield Found(
            model=str(model),
            condition=str(condition),
            chosen=str(predict["cut"]),
            best=str(strongman["cut"]),
            candidates=len(latency_ms),
            runs=int(str(predict["runs"])),
            regret=ratio(
                _latencies_ms(campaign, cells, str(predict["chosen"])),
                _latencies_ms(campaign, cells, str(latency_ms.idxmin())),
            ),
            error=error,
            compared=compared,
            predict_s=float(str(predict["testbed_s"])),
            strongman_s=float(str(strongman["testbed_s"])),
            beyond_s=statistics.median(_beyond_s(campaign / run) for run in cells["run"]),
        )


def _error(candidates: pd.DataFrame, problem: object, latency_ms: pd.Series[float]) -> tuple[float, int]:
    """Of the last predictions of these candidates."""
    rows = candidates[candidates["problem"] == problem].set_index("key")
    both = rows.join(latency_ms.rename("measured_ms"), how="inner").dropna(subset=["predicted_latency_ms"])
    errors = (both["predicted_latency_ms"] / both["measured_ms"] - 1).abs()
    return float(errors.median()), len(errors)


def _beyond_s(run: Path) -> float:
    """Of the testbed's time for a run, what is not between its first frame's capture and its last one's end."""
    manifest = json.loads((run / "manifest.json").read_text())
    return float(manifest["testbed_s"] - manifest["total_time_s"])


def _key(cell: str, problem: str) -> str:
    """Of the candidate, from a cell's name."""
    return cell.removeprefix(f"{problem}/").rpartition("/")[0]


def _asked(campaign: Path, problem: str) -> list[str]:
    """Candidates whose measures `predict` had to learn from."""
    for line in (campaign / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "decision" and (event["problem"], event["method"]) == (problem, "predict"):
            return sorted({_key(cell, problem) for cell in event["cells"]})
    raise BenchmarkError(f"predict decided nothing on {problem}; see {campaign}/journal.jsonl")


def _latencies_ms(campaign: Path, cells: pd.DataFrame, key: str) -> list[float]:
    """Of every completed frame of a candidate."""
    runs = cells[cells["key"] == key]["run"]
    frames = pd.concat([pd.read_parquet(campaign / run / "samples.parquet") for run in runs])
    return [float(each) for each in frames[frames["end"] == "completed"]["latency_ms"]]
