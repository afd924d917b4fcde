"""Limits of a search's conditions; behind all others: a container that is started after such a search has no limits."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from slicebed_command import REPOSITORY, slicebed

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


def cells_in(results):
    (path,) = results.glob("*/tables/cells.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_limits_hold_for_the_agents_in_every_search_and_for_nobody_behind_it(testbed, tmp_path):
    lab = (REPOSITORY / "inventory" / "testbeds" / "lab.yml").read_text()
    edge = "edge: {role: edge, cores: [1]"
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
