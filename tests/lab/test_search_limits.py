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
frames: 5
source: {{rate: 4 frame/s, batch_size: 16, seed: 7, queue: 4}}
repeats: {repeats}
order: {{randomised: true, seed: 1}}
placements:
  - {{name: edge, slices: [edge]}}
search:
  method: strongman
  testbeds: {{slow: slow.yml, fast: fast.yml}}
"""
EDGE = "edge: {role: edge, cores: ["
KNOB = """  method: strongman
  testbeds: {slow: slow.yml}
  knobs: {edge.cores: [1, 2]}
"""


def cells_in(results):
    (path,) = results.glob("*/tables/cells.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def computed_at_edge(row):
    return json.loads(row["compute_ms"])["edge"]


def cores_of_the_agent(host):
    pid = on(host, "podman", "inspect", "--format", "{{.State.Pid}}", "slicebed-agent").strip()
    return on(host, "awk", "/^Cpus_allowed_list/ {print $2}", f"/proc/{pid}/status").strip()


def limits_at_edge():
    """The cores of the agent, and the limits of processor time of its group; None where there is no group."""
    files = [*CONTROL_GROUPS.glob("slicebed.edge/cpu.max"), *CONTROL_GROUPS.glob("cpu/slicebed.edge/cpu.cfs_quota_us")]
    return cores_of_the_agent("edge"), files[0].read_text().split()[0] if files else None


def test_limits_hold_for_the_agents_in_every_search_and_for_nobody_behind_it(testbed, tmp_path):
    own = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    # Links are shaped by the runs before, and were never measured without: that has to be done first.
    lab = own.read_text().replace("one_way: 0 ms", "rtt: 6 ms, compensate: true")
    for name, quota in (("slow", 0.1), ("fast", 1)):
        limits = f"{EDGE}0, 1], cpu_quota: {quota}, cpu_period: 10 ms"
        (tmp_path / f"{name}.yml").write_text(lab.replace(f"{EDGE}1]", limits))
    before = limits_at_edge()
    assert before in {("1", "-1"), ("1", "max")}
    limited = tmp_path / "limited.yml"
    limited.write_text(LIMITED.format(testbed=own, repeats=1))
    slicebed("search", limited, "--results", tmp_path / "limited")
    computed = {row["condition"]: computed_at_edge(row) for row in cells_in(tmp_path / "limited")}
    assert computed["slow"] > 4 * computed["fast"]
    assert limits_at_edge() == before
    # The knob of the second one changes back and forth, in random order, while agents run.
    knob = tmp_path / "knob.yml"
    both = tmp_path / "slow.yml"
    knob.write_text(LIMITED.format(testbed=both, repeats=3).partition("  method:")[0] + KNOB)
    slicebed("search", knob, "--results", tmp_path / "knob")
    cells = cells_in(tmp_path / "knob")
    assert sorted(json.loads(row["knobs"])["edge.cores"] for row in cells) == [1, 1, 1, 2, 2, 2]
    assert min(map(computed_at_edge, cells)) > 4 * computed["fast"]
    assert limits_at_edge() == before
    # Where the agents are in no group, nothing would be limited.
    slicebed("restore", "-t", own, "--only", "workload")
    assert limits_at_edge() == ("0-1", None)
    refused = slicebed("search", limited, "--results", tmp_path / "third", "--no-deploy", check=False)
    assert refused.returncode != 0
    assert "its limits hold for nothing" in refused.stderr
    # A container that starts behind the search makes its group anew, with all cores; edge is to have one of them.
    on("edge", "podman", "restart", "--time", "0", "slicebed-agent")
    assert cores_of_the_agent("edge") == "0-1"
    slicebed("deploy")
    assert cores_of_the_agent("edge") == "1"
