"""An experiment's cuts, looked up in its model before anything is deployed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from campaign_folder import EXPERIMENT
from small_graphs import GraphBuilder

from slicebed.errors import SpecError
from slicebed.run.driver import RunSetting
from slicebed.run.sliced_model import slice_model, source_of
from slicebed.spec.cuts import Cut
from slicebed.spec.models import ModelChoice
from slicebed.spec.order import plan_runs
from slicebed.split.model import open_source
from slicebed_agent.errors import AgentConfigError


def branching(builder, dims):
    """neg, then two branches that meet again, then relu and tanh."""
    before = builder.apply("Neg", builder.input(*dims), name="scope/neg")
    branches = (builder.apply("Relu", before, name="l"), builder.apply("Tanh", before, name="r"))
    meet = builder.apply("AddV2", *branches, name="add")
    return builder.apply("Tanh", builder.apply("Relu", meet, name="relu"), name="last")


@pytest.fixture
def sliced(tmp_path):
    def look_up(*cuts, dims=(None, 3), two=False, batch=1, outputs=None, **settings):
        builder = GraphBuilder()
        last = branching(builder, dims)
        if two:
            builder.apply("Neg", last, name="one")
            builder.apply("Relu", last, name="other")
        choice = ModelChoice(str(builder.write(tmp_path / "net.pb")), **settings)
        named = tuple(Cut(points, place=f"my.yml:9:{place}") for place, points in enumerate(cuts))
        source = replace(EXPERIMENT.source, batch_size=batch)
        experiment = replace(EXPERIMENT, model=choice, cuts=named, source=source)
        model = source_of(choice)
        return slice_model(experiment, open_source(replace(model, outputs=outputs or model.outputs)))

    return look_up


def test_slices_lie_between_the_tensors_of_the_split_points(sliced):
    model = sliced(("add", "relu"))
    (cut,) = model.boundaries
    assert model.slices(cut) == (
        (("input:0",), ("add:0",)),
        (("add:0",), ("relu:0",)),
        (("relu:0",), ("last:0",)),
    )
    assert model.answer == "last:0"
    assert model.stage(cut, 1) == "slice (add:0 to relu:0)"
    assert model.to_plain() == {"name": "net", "graph_sha256": model.sha256, "weights": "file"}
    assert len(model.sha256) == 64


def test_a_point_where_several_tensors_cross_sends_them_all(sliced):
    model = sliced(("l+r", "relu"))
    (cut,) = model.boundaries
    assert model.slices(cut)[0][1] == model.slices(cut)[1][0] == ("l:0", "r:0")
    assert model.stage(cut, 0) == "slice (input:0 to l:0+r:0)"


def test_every_wrong_name_is_told_with_its_place_and_the_nearest(sliced):
    with pytest.raises(SpecError) as caught:
        sliced(("ad", "relu"), ("add", "relu"), ("relu", "add"))
    first, second = str(caught.value).splitlines()
    assert first.startswith("my.yml:9:0: no split point is named 'ad'; the nearest are add")
    assert second.startswith("my.yml:9:2: add lies before relu; ")


def test_a_model_that_no_camera_can_feed_is_refused(sliced):
    with pytest.raises(SpecError, match=r"^model: net: 2 outputs: one:0, other:0; name one under output:$"):
        sliced(("add", "relu"), two=True, outputs=("one", "other"))
    assert sliced(("add", "relu"), two=True, output="other").answer == "other:0"
    with pytest.raises(AgentConfigError, match="leaves sizes unknown; give the input's shape"):
        sliced(("add", "relu"), dims=(None, None))
    assert sliced(("add", "relu"), dims=(None, None), input_shape=(3,))
    with pytest.raises(SpecError, match=r"model: net: it takes batches of 2 only, source\.batch_size is 1; give"):
        sliced(("add", "relu"), dims=(2, 3))
    assert sliced(("add", "relu"), dims=(2, 3), batch=2)


def test_layer_numbers_are_those_of_the_papers_table():
    opened = open_source(source_of(EXPERIMENT.model))
    model = slice_model(EXPERIMENT, opened)
    cut = EXPERIMENT.cuts[0]
    assert cut.label == "1-8"
    assert model.slices(cut) == (
        (("input_layer:0",), ("conv2d/Relu:0",)),
        (("conv2d/Relu:0",), ("batch_normalization_1/add_1:0",)),
        (("batch_normalization_1/add_1:0",), ("dense_1/Softmax:0",)),
    )
    assert [model.stage(cut, tier) for tier in range(3)] == [
        "slice (layers 1 to 1)",
        "slice (layers 2 to 8)",
        "slice (layers 9 to 14)",
    ]


def test_numbers_mean_nothing_in_a_model_of_other_layers(sliced):
    with pytest.raises(SpecError, match=r"my\.yml:9:0: net has other layers \(0\) than those that the numbers mean"):
        sliced((1, 2))


def test_a_runs_name_on_the_hosts_is_one_they_take_whatever_the_length():
    (run, *_) = plan_runs(EXPERIMENT)
    assert RunSetting(EXPERIMENT, {}, "trial-1", None).agent_run_id(run) == f"trial-1.{run.run_id}"
    long = [RunSetting(EXPERIMENT, {}, "x" * 140 + end, None).agent_run_id(run) for end in "ab"]
    assert [len(name) for name in long] == [128, 128]
    assert long[0] != long[1]
