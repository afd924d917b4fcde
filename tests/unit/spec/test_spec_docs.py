from __future__ import annotations

import re
from pathlib import Path

from slicebed.spec.experiment import load_experiment
from slicebed.spec.experiment_model import ExperimentModel
from slicebed.spec.models import Images
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.spec.pipeline_model import ExitModel, PixelsModel, PlacementModel, StageModel
from slicebed.spec.testbed import load_testbed
from slicebed_agent.pipeline.codecs import Codec

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


def test_every_key_and_word_of_an_experiment_is_documented():
    text = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
    source = ExperimentModel.model_fields["source"].annotation
    keys = {*ExperimentModel.model_fields, *(f"source.{key}" for key in source.model_fields)}
    keys |= {f"pixels.{key}" for key in PixelsModel.model_fields}
    for model in (PlacementModel, ExitModel, StageModel):
        keys |= set(model.model_fields)
    words = {member.value for kind in (Images, Codec, Drop, StageKind) for member in kind}
    quoted = set(re.findall(r"`([^`]+)`", text))
    missing = {
        key for key in keys | words if key not in quoted and not any(each.startswith(f"{key}.") for each in quoted)
    }
    assert not missing
