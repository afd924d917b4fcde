"""Cuts that an experiment leaves to a rule, found in its opened model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from campaign_folder import EXPERIMENT
from small_graphs import GraphBuilder

from slicebed.errors import SpecError
from slicebed.run.found_cuts import resolve_cuts
from slicebed.run.sliced_model import slice_model, source_of
from slicebed.spec.cuts import Cut, CutRule
from slicebed.spec.models import ModelChoice
from slicebed.spec.order import plan_runs
from slicebed.spec.pipeline import Placement
from slicebed.split.model import open_source

WHOLE = Placement("edge", ("edge",), None, None, (Cut(()),))
SLICED = Placement("sliced", ("edge", "cloud"), None, None, (), CutRule.COUPER)


@pytest.fixture
def opened(tmp_path):
    builder = GraphBuilder()
    first = builder.apply("Relu", builder.apply("Neg", builder.input(None, 3), name="neg"), name="relu")
    # Couper's rule does not see the way around through an Identity, and takes r, behind which relu is needed too.
    around = builder.apply("Identity", first, name="skip")
    meet = builder.apply("AddV2", builder.apply("Tanh", first, name="r"), around, name="add")
    builder.apply("Tanh", builder.apply("Relu", meet, name="late"), name="last")
    choice = ModelChoice(str(builder.write(tmp_path / "net.pb")))
    return choice, open_source(source_of(choice))


def experiment_of(choice, **changed):
    source = replace(EXPERIMENT.source, batch_size=1)
    return replace(EXPERIMENT, model=choice, source=source, cuts=(), **changed)


def test_every_cut_of_the_rule_that_can_run_in_the_models_order(opened):
    choice, model = opened
    assert [point.name for point in model.split_points(algorithm="couper")] == ["neg", "relu", "r", "add", "late"]
    found = resolve_cuts(experiment_of(choice, placements=(WHOLE, SLICED)), model)
    assert [cut.label for cut in found.placements[1].cuts] == ["neg", "relu", "add", "late"]
    assert found.placements[0] == WHOLE
    assert len(slice_model(found, model).boundaries) == 5
    assert {run.placement.name for run in plan_runs(found)} == {"edge", "sliced"}


def test_it_may_be_asked_again_and_for_another_model(opened):
    choice, model = opened
    found = resolve_cuts(experiment_of(choice, placements=(SLICED,)), model)
    assert resolve_cuts(found, model) == found
    cnn14 = resolve_cuts(replace(found, model=EXPERIMENT.model), open_source(source_of(EXPERIMENT.model)))
    assert len(cnn14.every_cut) == 30


def test_the_chains_own_cuts(opened):
    choice, model = opened
    chain = experiment_of(choice, chain=("client", "edge"), cut_rule=CutRule.COUPER)
    assert [cut.label for cut in resolve_cuts(chain, model).every_cut] == ["neg", "relu", "add", "late"]


def test_cuts_in_a_list_stay(opened):
    assert resolve_cuts(EXPERIMENT, opened[1]) is EXPERIMENT


def test_a_model_that_cannot_be_cut(tmp_path):
    builder = GraphBuilder()
    builder.apply("Neg", builder.input(None, 3), name="only")
    choice = ModelChoice(str(builder.write(tmp_path / "net.pb")))
    with pytest.raises(SpecError, match="cuts: couper finds no split point in net"):
        resolve_cuts(experiment_of(choice, placements=(SLICED,)), open_source(source_of(choice)))
