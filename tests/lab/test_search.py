"""Searches on the embedded lab: methods share cells; killed, it goes on where it was; a killed agent comes back."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from benchmarks.search.damage import between, in_the_end, kept
from measured import measured
from slicebed_command import REPOSITORY, SLICEBED, on, slicebed

from slicebed.run.store import Campaign

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="no podman: run make setup"),
    pytest.mark.timeout(1800),
]

FRAMES, RATE = 12, 8
EXPERIMENT = """
name: sought
testbed: {testbed}
model: cnn14
chain: [client, edge, cloud]
frames: {frames}
source: {{rate: {rate} frame/s, batch_size: 4, seed: 7, queue: 4}}
queues: {{inbound: 8, outbound: 4}}
repeats: 1
order: {{randomised: true, seed: 1}}
placements:
  - {{name: sliced, slices: [edge, cloud], cuts: {cuts}}}
  - {{name: edge, slices: [edge]}}
configurations:
  - name: near
    hosts:
      client: {{overhead_ratio: 0, latency: 1 ms, max_throughput: 500000 B}}
      edge: {{overhead_ratio: 0, latency: 1 ms, max_throughput: 500000 B}}
      cloud: {{overhead_ratio: 0, latency: 9 ms, max_throughput: 500000 B}}
search:
  method: [strongman, hybrid]
  objective: latency
  repeats: {{at_least: {repeats}, at_most: {repeats}}}
"""
CUTS = ("2", "3", "5", "8", "11")
# Twenty of them: make bench-search.
KILLS = 3


@pytest.fixture
def experiment(tmp_path):
    def write(cuts=CUTS, repeats=1, frames=FRAMES):
        path = tmp_path / "sought.yml"
        testbed = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
        text = EXPERIMENT.format(testbed=testbed, cuts=json.dumps(cuts), frames=frames, rate=RATE, repeats=repeats)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def start():
    begun = []

    def begin(*arguments):
        command = [SLICEBED, "search", *map(str, arguments)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        begun.append(subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, **pipes))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def campaign_of(results):
    (folder,) = (path.parent for path in results.glob("*/campaign.json"))
    return folder


def table(campaign, name):
    with (campaign / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@measured
def test_methods_share_cells_on_real_hosts_and_a_cell_costs_little_beside_its_frames(testbed, experiment, tmp_path):
    results = tmp_path / "results"
    slicebed("search", experiment(), "--results", results, "--no-deploy")
    campaign = campaign_of(results)
    cells = table(campaign, "cells")
    assert len(cells) == len({row["cell"] for row in cells}) == len(CUTS) + 1
    decisions = {row["method"]: row for row in table(campaign, "decisions")}
    assert set(decisions) == {"strongman", "hybrid"}
    assert int(decisions["strongman"]["runs"]) == len(CUTS) + 1
    assert float(decisions["strongman"]["regret_measured"]) == 0
    assert float(decisions["hybrid"]["value"]) >= float(decisions["strongman"]["value"])
    assert {row["measured"] for row in table(campaign, "candidates")} == {"1"}
    for row in cells:
        manifest = json.loads((campaign / row["run"] / "manifest.json").read_text())
        assert manifest["cell"] == row["cell"]
        assert all(link["passed"] for link in (*manifest["links"], *manifest["links_after"]))
        # Out and back over links of 2 and 10 ms one way.
        assert float(row["latency_ms"]) > (24 if row["placement"] == "sliced" else 4)
        assert int(row["captured"]) == FRAMES
        assert float(row["testbed_s"]) - float(manifest["total_time_s"]) < 15


def test_a_search_that_is_killed_at_random_moments_loses_and_repeats_no_cell(testbed, start, experiment, tmp_path):
    spec, undisturbed, results = experiment(repeats=2, frames=8), tmp_path / "undisturbed", tmp_path / "killed"
    slicebed("search", spec, "--results", undisturbed, "--no-deploy")
    moments, before, damage, kills = random.Random(6), None, [], 0
    while True:
        begun = list(results.glob("*/campaign.json"))
        running = start(spec, "--results", results, "--no-deploy", *(["--resume"] if begun else []))
        try:
            _, said = running.communicate(timeout=moments.uniform(2, 25) if kills < KILLS else 900)
        except subprocess.TimeoutExpired:
            assert kills < KILLS, "the search does not end"
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            kills += 1
        else:
            assert running.returncode == 0, said
            break
        if list(results.glob("*/campaign.json")):
            campaign = Campaign(campaign_of(results))
            damage += [] if before is None else between(before, campaign)
            before = kept(campaign)
    campaign = Campaign(campaign_of(results))
    damage += [] if before is None else between(before, campaign)
    assert kills > 0
    assert damage == []
    assert list(in_the_end(campaign, Campaign(campaign_of(undisturbed)))) == []


def test_an_agent_that_is_killed_is_started_again_and_its_cell_repeated(testbed, start, experiment, tmp_path):
    results = tmp_path / "results"
    running = start(experiment(), "--results", results, "--no-deploy")
    deadline = time.monotonic() + 120
    while not list(results.glob("*/*.partial")):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline, "no cell begins"
        time.sleep(0.1)
    on("edge", "podman", "kill", "--signal", "KILL", "slicebed-agent")
    _, said = running.communicate(timeout=600)
    assert running.returncode == 0, said
    campaign = campaign_of(results)
    events = [json.loads(line) for line in (campaign / "journal.jsonl").read_text().splitlines()]
    assert [event["host"] for event in events if event["event"] == "agent_gone"] == ["edge"]
    failed = [event for event in events if event["event"] == "cell_failed"]
    assert [event["given_up"] for event in failed] == [False]
    assert list(campaign.glob("*.failed-1"))
    assert failed[0]["cell"] in {row["cell"] for row in table(campaign, "cells")}
    assert len(table(campaign, "cells")) == len(CUTS) + 1
