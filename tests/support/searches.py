"""A small search without a testbed: a model of nine operators, and hosts whose frames are drawn from a cell's name."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pandas as pd
from small_graphs import GraphBuilder

from slicebed.run.search.engine import SearchWanted
from slicebed.run.search.space import conditions_of, space_of
from slicebed.run.sliced_model import slice_model, source_of
from slicebed.run.store import write_json
from slicebed.spec.experiment import load_experiment
from slicebed.spec.objective import Objective
from slicebed.split.model import open_source

REPOSITORY = Path(__file__).parents[2]
POINTS = tuple(f"op{number}" for number in range(1, 9))
LATENCY = Objective({"latency": 1.0})
EXPERIMENT = """
name: small
testbed: {testbed}
model: net.pb
chain: [client, edge]
frames: 12
source: {{rate: 8 frame/s, batch_size: 2, seed: 7, queue: 4, images: random}}
queues: {{inbound: 8, outbound: 4}}
repeats: 1
order: {{randomised: true, seed: 1}}
placements:
  - {{name: split, slices: [client, edge], cuts: {cuts}}}
  - {{name: edge, slices: [edge]}}
{search}
"""


class Killed(BaseException):
    """The control process ends at once, as by SIGKILL: nothing is cleared up."""


def write_experiment(folder, search="", points=POINTS):
    """The file of a small experiment beside its model."""
    builder = GraphBuilder()
    tensor = builder.input(None, 4)
    for number, name in enumerate((*POINTS, "last")):
        tensor = builder.apply(("Neg", "Relu", "Tanh")[number % 3], tensor, name=name)
    builder.write(folder / "net.pb")
    path = folder / "small.yml"
    testbed = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    cuts = [[point] for point in points]
    path.write_text(EXPERIMENT.format(testbed=testbed, cuts=cuts, search=search))
    return path


def make_spaces(folder, search="", points=POINTS, *, three_slices=False):
    """What of it is searched, and the spaces of it; with a third slice, a single cut of two split points."""
    path = write_experiment(folder, search, points)
    if three_slices:
        text = re.sub(r"cuts: .*}", "cuts: [[op2, op5]]}", path.read_text())
        path.write_text(text.replace("[client, edge]", "[client, edge, cloud]"))
    experiment = load_experiment(path)
    wanted = SearchWanted(experiment, folder / "hosts.yml", folder / "results", ("strongman",), LATENCY)
    opened = open_source(source_of(experiment.model))
    sliced = slice_model(experiment, opened)
    found = conditions_of(experiment, wanted.search)
    return wanted, [
        space_of(under, wanted.search, opened, sliced, model="net", condition=name, configuration=configuration)
        for name, (under, configuration) in found.items()
    ]


def latency_ms(cell):
    """In the mean; the middle of the model is the best place, and the whole model is the worst."""
    key = cell.key.partition(":")[2].partition("/")[0]
    return 50 + 10 * abs(POINTS.index(key) - 4) if key in POINTS else 150


def manifest_of(space, cell, campaign, site="lab"):
    """What a finished run's manifest says."""
    run, variant = space.run_of(cell), space.variants[cell.key]
    frames = _frames(space, cell)
    completed = int((frames["end"] == "completed").sum())
    return {
        "run": cell.run_id,
        "campaign": campaign.name,
        "configuration": run.configuration.name,
        "cut": list(run.cut.points),
        "repeat": cell.repeat,
        "status": "complete",
        "chain": list(run.placement.chain("client")),
        "stages": {host: ["slice"] if host in run.placement.slices else [] for host in run.placement.chain("client")},
        "spec": {"source": {"seed": space.experiment_of(cell).source.seed}},
        "wire": "none",
        "frames": {"captured": len(frames), "completed": completed, "dropped": len(frames) - completed, "failed": 0},
        "total_time_s": len(frames) / 8,
        "testbed_s": 2.5,
        "cell": cell.id,
        "cell_frames": cell.frames,
        "problem": space.id,
        "key": cell.key,
        "codec": variant.codec.value,
        "knobs": dict(variant.knobs),
        "site": site,
    }


def _frames(space, cell):
    draw = random.Random(cell.id)
    run = space.run_of(cell)
    rows = []
    for _ in range(run.frames):
        done = draw.random() > 0.1
        row = {"end": "completed" if done else "dropped"}
        row["latency_ms"] = latency_ms(cell) + draw.gauss(0, 5) if done else None
        for host in run.placement.chain("client"):
            row[f"{host}_bytes_out"] = 100
            row[f"{host}_compute_ms"] = 3.0 if done and host in run.placement.slices else None
        rows.append(row)
    return pd.DataFrame(rows)


class SimulatedHosts:
    """Stands for the hosts of a site: a cell's frames depend on its name alone.

    `kill_at` names the window in which the control process dies, at the cell of that number: "started", "measured",
    "whole", "named".
    """

    def __init__(self, campaign, spaces, site="lab", kill_at=None, fail=lambda *_: None):
        self.campaign, self.site, self.kill_at, self.fail = campaign, site, kill_at, fail
        self.spaces = {space.id: space for space in spaces}
        self.measured = []

    def measure(self, cell, stopped):
        self.campaign.note("cell_started", cell=cell.id, run=cell.run_id, site=self.site)
        self.measured.append(cell)
        self.die("started")
        space = self.spaces[cell.problem]
        folder = self.campaign.begin_run(cell.run_id)
        _frames(space, cell).to_parquet(folder / "samples.parquet")
        self.die("measured")
        if (error := self.fail(self, cell)) is not None:
            write_json(folder / "manifest.json", {"status": "failed", "cell": cell.id})
            self.campaign.fail_run(cell.run_id)
            raise error
        manifest = manifest_of(space, cell, self.campaign, self.site)
        write_json(folder / "manifest.json", manifest)
        self.die("whole")
        self.campaign.finish_run(cell.run_id)
        self.die("named")
        return manifest

    def mend(self):
        pass

    def die(self, window):
        if self.kill_at == (window, len(self.measured)):
            raise Killed
