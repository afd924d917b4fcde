from __future__ import annotations

import re
from pathlib import Path

from slicebed.spec.experiment import load_experiment
from slicebed.spec.testbed import load_testbed

ROOT = Path(__file__).parents[3]


def _example(name: str) -> str:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL)
    return example


def test_documented_testbed_is_valid(tmp_path):
    path = tmp_path / "bench.yml"
    path.write_text(_example("testbed.md"), encoding="utf-8")
    assert load_testbed(path).links[0].asked.rtt_jitter_us == 11_580


def test_documented_experiment_is_valid(tmp_path):
    testbeds = tmp_path / "inventory" / "testbeds"
    testbeds.mkdir(parents=True)
    (testbeds / "lab.yml").write_bytes((ROOT / "inventory" / "testbeds" / "lab.yml").read_bytes())
    path = tmp_path / "experiments" / "two_tiers.yml"
    path.parent.mkdir()
    path.write_text(_example("experiment.md"), encoding="utf-8")
    experiment = load_experiment(path)
    assert experiment.cuts[0].slices(14) == ((1, 3), (4, 14))
    assert experiment.configurations[0].links()[0].rtt_us == 5_000
