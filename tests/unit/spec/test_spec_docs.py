from __future__ import annotations

import re
from pathlib import Path

from slicebed.spec.cuts import CutRule
from slicebed.spec.experiment import load_experiment
from slicebed.spec.experiment_model import ExperimentModel
from slicebed.spec.knobs import KNOBS
from slicebed.spec.models import Images
from slicebed.spec.objective import METRICS
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.spec.pipeline_model import ExitModel, PixelsModel, PlacementModel, StageModel
from slicebed.spec.search_model import ObjectiveModel, RepeatsModel, SearchModel
from slicebed.spec.testbed import load_testbed
from slicebed.spec.testbed_model import HostModel
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
    for model in (PlacementModel, ExitModel, StageModel, SearchModel, ObjectiveModel, RepeatsModel):
        keys |= set(model.model_fields)
    words = {member.value for kind in (Images, Codec, Drop, StageKind, CutRule) for member in kind}
    words |= {*METRICS, *KNOBS}
    quoted = set(re.findall(r"`([^`]+)`", text))
    missing = {
        key for key in keys | words if key not in quoted and not any(each.startswith(f"{key}.") for each in quoted)
    }
    assert not missing


def test_every_key_of_a_host_is_documented():
    text = (ROOT / "docs" / "testbed.md").read_text(encoding="utf-8")
    assert set(HostModel.model_fields) <= set(re.findall(r"`([^`]+)`", text))


def test_the_documented_search_is_valid(tmp_path):
    for folder in ("inventory/testbeds", "experiments"):
        (tmp_path / folder).mkdir(parents=True)
    for testbed in (ROOT / "inventory" / "testbeds").glob("lab_table4_*.yml"):
        (tmp_path / "inventory" / "testbeds" / testbed.name).write_bytes(testbed.read_bytes())
    path = tmp_path / "experiments" / "search.yml"
    path.write_text(_example("search.md"), encoding="utf-8")
    search = load_experiment(path).search
    assert {"predict", "strongman"} <= set(search.methods)
    assert list(search.testbeds) == ["low", "high"]
