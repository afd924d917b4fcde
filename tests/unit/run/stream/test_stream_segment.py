"""The manifest of a stretch of a stream says what its samples say: counts, cuts, and how codecs and exits did."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from campaign_folder import EXPERIMENT
from placed_folder import write_stream

from slicebed.run.assignments import Job
from slicebed.run.sliced_model import slice_model, source_of
from slicebed.run.store import Campaign
from slicebed.run.stream.figures import Look
from slicebed.run.stream.segment import Segment
from slicebed.run.stream.timeline import Timeline
from slicebed.spec.cuts import Cut
from slicebed.spec.experiment import load_experiment
from slicebed.spec.order import plan_runs
from slicebed.split.model import open_source
from slicebed.testbed.inventory import HostLink, InventoryHost
from slicebed_agent.rpc.v1 import agent_pb2

PLACED = f"""\
name: placed
testbed: {Path(__file__).parents[4] / "inventory" / "testbeds" / "couper_table3.yml"}
model: cnn14
chain: [client, edge, cloud]
frames: 50
source: {{rate: 24 frame/s, batch_size: 1, seed: 7, queue: 2, images: synthetic, resolution: 1280x720}}
codec: auto
repeats: 1
order: {{randomised: false, seed: 0}}
placements:
  - {{name: sliced, transformer: edge, slices: [edge, edge], classifier: edge, cuts: ["8"]}}
"""
FRAMES = 20


@dataclass
class Connection:
    """A host whose agent has ended the run, with the samples that it left."""

    left: Path
    removed: list[str] = field(default_factory=list)
    control: Connection | None = None

    def Finish(self, request, timeout):  # noqa: N802 - as the service calls it
        return agent_pb2.StatusReply()

    def fetch_samples(self, run_id, destination):
        destination.parent.mkdir(parents=True)
        shutil.copy(self.left, destination)
        return True

    def remove_samples(self, run_id):
        self.removed.append(run_id)


@dataclass
class Agents:
    """The hosts of a chain, whose camera counted its frames."""

    connections: dict[str, Connection]

    def look(self, run_id):
        counts = agent_pb2.StatusReply(captured=FRAMES, completed=FRAMES)
        return Look(0.0, dict.fromkeys(self.connections, counts), {}, frozenset())


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "experiment.yml"
    path.write_text(PLACED, encoding="utf-8")
    experiment = load_experiment(path)
    (run,) = plan_runs(experiment)
    model = slice_model(experiment, open_source(source_of(EXPERIMENT.model)))
    hosts = {
        host: InventoryHost(
            host, "127.0.0.1", 22, "root", None, None, (HostLink(other, "10.0.0.1", "10.0.0.2", "tap"),), "podman"
        )
        for host, other in (("client", "edge"), ("edge", "client"))
    }
    return Job("stream.part1", experiment, run.configuration, run.placement, run.cut, 0, model, hosts)


def test_the_manifest_sums_up_codecs_answers_and_early_exits(tmp_path, job):
    left, _ = write_stream(tmp_path / "left", (12,), ("8", "9"), FRAMES)
    connections = {host: Connection(left / "hosts" / host / "samples.jsonl") for host in job.chain}
    for connection in connections.values():
        connection.control = connection
    campaign = Campaign(tmp_path / "stream")
    segment = Segment(1, job, campaign.begin_run("part1"), cuts={0: job.cut})
    segment.in_use(Cut((9,)), 1)
    kept = segment.end(Agents(connections), campaign, Timeline(lambda _: None), {})

    manifest = json.loads((kept / "manifest.json").read_text())
    assert (manifest["status"], manifest["cuts"]) == ("complete", {"0": "8", "1": "9"})
    summary = manifest["summary"]
    assert [(each["host"], each["picked"], each["why"]) for each in summary["codecs"]] == [
        ("client", "lossless", "lossless: 1.9 times shorter")
    ]
    assert (summary["early"]["frames"], summary["early"]["share"]) == (5, 0.25)
    assert not summary["answers"]["lossy"]
    assert {each for connection in connections.values() for each in connection.removed} == {"stream.part1"}
