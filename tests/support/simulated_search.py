"""A search over simulated hosts from its file to its end, here or in a process of its own."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from searches import Killed, SimulatedHosts, latency_ms, make_spaces

from slicebed.run.progress import Progress
from slicebed.run.search.foresight import Foresight
from slicebed.run.search.searching import Searching
from slicebed.run.search.space import Cell
from slicebed.run.store import create_campaign, find_unfinished, write_json
from slicebed.split.search import registry
from slicebed.split.search.contracts import Figure, Foretold

POINTS = ("op2", "op4", "op7")
SEARCHES = {
    "blind": "search: {method: [strongman, comm-slim], repeats: {at_least: 2, at_most: 2}}",
    "reacting": "search: {method: [predict, hybrid, halving], knobs: {edge.quota: [0.5, 1]}, budget: 5, "
    "repeats: {at_least: 3, at_most: 5, until: 5 %}, options: {halving: {frames: 4}}}",
}
"""One whose asks do not depend on what is measured, and one whose do."""


def search(folder, kind, results, methods=None, **of_hosts):
    """Search, or go on with what is in `results`; give the campaign, as far as it came.

    Args:
        folder: for the model and the experiment's file.
        kind: of `SEARCHES`.
        results: the campaign's.
        methods: of these names instead of the registered ones.
        of_hosts: as of `SimulatedHosts`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, spaces = make_spaces(folder, SEARCHES[kind], POINTS)
    wanted = replace(wanted, methods=wanted.search.methods)
    begin = find_unfinished if list(results.glob("*/campaign.json")) else create_campaign
    with begin(results, wanted.experiment.name, wanted.plan(spaces, {})).taken() as campaign:
        own = {name: registry.load(name) for name in wanted.methods} | (methods or {})
        searching = Searching(
            campaign, spaces, own, wanted.settings, Progress(), lambda _, space: foresee(campaign, space)
        )
        try:
            searching.run([SimulatedHosts(campaign, spaces, **of_hosts)])
        except Killed:
            return campaign
        campaign.complete()
    return campaign


def foresee(campaign, space):
    """Profiles one host, once, and predicts that candidates are further apart than they are."""
    path = campaign.folder / "profiles" / f"{space.id}_edge.json"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"testbed_s": 1.0})
        campaign.note("profiled", problem=space.id, testbed_s=1.0)
    told = {}
    for key in space.variants:
        value = 0.9 * latency_ms(Cell(space.id, key, 1)) / 1000
        told[key] = Foretold(key, {"latency": Figure(value, 0.8 * value, 1.2 * value)})
    return Foresight(space.candidates, lambda _: told, 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=SEARCHES)
    parser.add_argument("--hold", type=Path, help="no cell gets done while there is such a file")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    assert options.resume == bool(list(options.results.glob("*/campaign.json")))

    def hold(hosts, cell):
        while options.hold.exists():
            time.sleep(0.01)

    search(options.folder, options.kind, options.results, fail=hold)


if __name__ == "__main__":
    sys.exit(main())
