"""Limits of a search's conditions and knobs: they hold for the agents, and for nobody once the search is over."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from slicebed_command import REPOSITORY, on, slicebed

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="no podman: run make setup"),
    pytest.mark.timeout(900),
]
CONTROL_GROUPS = Path("/sys/fs/cgroup")
LIMITED = """
name: limited
testbed: {testbed}
model: cnn14
chain: [client, edge]
frames: {frames}
source: {{rate: {rate} frame/s, batch_size: 16, seed: 7, queue: 4}}
repeats: 1
order: {{randomised: true, seed: 1}}
placements:
  - {{name: edge, slices: [edge]}}
search:
  method: strongman
  testbeds: {{slow: slow.yml, fast: fast.yml}}
"""
EDGE = "edge: {role: edge, cores: ["
CORES = """  method: strongman
  testbeds: {both: both.yml}
  knobs: {edge.cores: [1, 2]}
"""


def cells_in(results):
    (path,) = results.glob("*/tables/cells.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_limits_hold_for_the_agents_in_every_search_and_for_nobody_behind_it(testbed, tmp_path):
    lab = (REPOSITORY / "inventory" / "testbeds" / "lab.yml").read_text()
    edge = f"{EDGE}1]"
    # Links are shaped by the runs before, and were never measured without: that has to be done first.
    lab = lab.replace("one_way: 0 ms", "rtt: 6 ms, compensate: true")
    for name, quota in (("slow", 0.1), ("fast", 1)):
        (tmp_path / f"{name}.yml").write_text(lab.replace(edge, f"{edge}, cpu_quota: {quota}, cpu_period: 10 ms"))
    own = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    spec = tmp_path / "limited.yml"
    spec.write_text(LIMITED.format(testbed=own, frames=6, rate=4))
    # What the first one put back, the control group with its agent in it, must be there again for the second.
    for results in (tmp_path / "first", tmp_path / "second"):
        slicebed("search", spec, "--results", results)
        cells = cells_in(results)
        computed = {row["condition"]: json.loads(row["compute_ms"])["edge"] for row in cells}
        assert computed["slow"] > 4 * computed["fast"]
        assert not [*CONTROL_GROUPS.glob("slicebed.edge"), *CONTROL_GROUPS.glob("*/slicebed.edge")]
    refused = slicebed("search", spec, "--results", tmp_path / "third", "--no-deploy", check=False)
    assert refused.returncode != 0
    assert "its limits hold for nothing" in refused.stderr


def cores_of_the_agent(host):
    pid = on(host, "podman", "inspect", "--format", "{{.State.Pid}}", "slicebed-agent").strip()
    return on(host, "awk", "/^Cpus_allowed_list/ {print $2}", f"/proc/{pid}/status").strip()


def test_a_knob_of_cores_goes_up_and_down_while_agents_run(testbed, tmp_path):
    own = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    both = tmp_path / "both.yml"
    both.write_text(own.read_text().replace(f"{EDGE}1]", f"{EDGE}0, 1]"))
    spec = tmp_path / "cores.yml"
    limited = LIMITED.format(testbed=both, frames=4, rate=4).replace("repeats: 1", "repeats: 3")
    spec.write_text(limited.partition("  method:")[0] + CORES)
    slicebed("search", spec, "--results", tmp_path / "results")
    # In random order: one of them changes back and forth.
    cells = cells_in(tmp_path / "results")
    assert sorted(json.loads(row["knobs"])["edge.cores"] for row in cells) == [1, 1, 1, 2, 2, 2]
    # A container that starts behind the search makes its group anew, with all cores; edge is to have one of them.
    on("edge", "podman", "restart", "--time", "0", "slicebed-agent")
    assert cores_of_the_agent("edge") == "0-1"
    slicebed("deploy")
    assert cores_of_the_agent("edge") == "1"
