"""Predict's choice and strongman's best, measured anew: the best of many runs owes some of that to luck."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pandas as pd
from benchmarks.network.stats import Estimate, ratio
from benchmarks.search.found import EXPERIMENT, searched
from ruamel.yaml import YAML

from slicebed.spec.model_checks import zoo_name

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.search.found import Found

ROUNDS: Final = 5


def regret_anew(found: Found, inventory: Path, results: Path) -> Estimate:
    """The latency at predict's choice over that at strongman's best, in rounds of one run of each.

    Exactly 1, of no round, where both are the same cut. Goes on with rounds that are there.

    Raises:
        BenchmarkError: the runs failed.
    """
    if found.chosen == found.best:
        return Estimate(1.0, 1.0, 1.0, 0)
    results.mkdir(parents=True, exist_ok=True)
    experiment = results / "experiment.yml"
    experiment.write_text(json.dumps(_experiment(found)), "utf-8")
    options = ("--method", "strongman", "--condition", found.condition)
    return regret_in(searched(experiment, inventory, results, options), found)


def regret_in(campaign: Path, found: Found) -> Estimate:
    """The same of a campaign of both: the ratio of the medians of each round."""
    cells = pd.read_csv(campaign / "tables/cells.csv").pivot_table(index="repeat", columns="cut", values="latency_ms")
    return ratio(list(cells[found.chosen]), list(cells[found.best]))


def _experiment(found: Found) -> object:
    """`predict.yml` for these two cuts of one model; JSON is YAML."""
    plain = YAML(typ="safe").load(EXPERIMENT)
    (placement,) = plain["placements"]
    placement["cuts"] = [[found.chosen], [found.best]]
    search = plain["search"]
    (plain["model"],) = (model for model in search.pop("models") if zoo_name(model["name"]) == found.model)
    search["repeats"] = {"at_least": ROUNDS, "at_most": ROUNDS}
    for section, names in ((plain, ("testbed",)), (search["testbeds"], search["testbeds"])):
        section.update({name: str(EXPERIMENT.parent / section[name]) for name in names})
    return plain
