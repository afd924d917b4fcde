"""What every agent is told: stages, queues and links of each placement, and other slices while a run goes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from campaign_folder import EXPERIMENT

from slicebed.errors import SpecError
from slicebed.run.assignments import Job, configs, cut_configs
from slicebed.run.driver import stages_of
from slicebed.run.model_files import files_by_host
from slicebed.run.sliced_model import slice_model, source_of
from slicebed.spec.cuts import Cut
from slicebed.spec.experiment import load_experiment
from slicebed.spec.order import plan_runs
from slicebed.split.model import open_source
from slicebed.testbed.inventory import HostLink, InventoryHost
from slicebed_agent.model.card import Weights, WeightsKind
from slicebed_agent.rpc.v1 import agent_pb2

ROOT = Path(__file__).parents[3]
PLACED = f"""\
name: placed
testbed: {ROOT / "inventory" / "testbeds" / "couper_table3.yml"}
model: cnn14
chain: [client, edge, cloud]
frames: 50
source: {{rate: 24 frame/s, batch_size: 1, seed: 7, queue: 2, images: synthetic, resolution: 1280x720}}
stages: {{transformer: {{queue: 3, drop: oldest}}, outbound: {{queue: 1, drop: never}}, exit: {{queue: 4}}}}
codec: auto
reconnect: 5 s
repeats: 1
order: {{randomised: false, seed: 0}}
placements:
  - {{name: client, transformer: client, slices: [client], classifier: client}}
  - {{name: far, transformer: cloud, slices: [cloud]}}
  - {{name: sliced, transformer: edge, slices: [edge, edge, cloud], classifier: cloud, cuts: ["3-8", "3-9"]}}
exits:
  - {{after: "3", head: cnn14_layer3.pb}}
"""
HOSTS = ("client", "edge", "cloud")


def inventory():
    links = {host: [] for host in HOSTS}
    for a, b in permutations(HOSTS, 2):
        links[a].append(HostLink(b, f"10.0.{HOSTS.index(a)}.1", f"10.0.{HOSTS.index(b)}.1", "tap"))
    return {
        host: InventoryHost(host, "127.0.0.1", 22, "root", None, None, tuple(links[host]), "podman") for host in HOSTS
    }


@pytest.fixture(scope="module")
def cnn14():
    return open_source(source_of(EXPERIMENT.model))


@pytest.fixture
def job(tmp_path, cnn14):
    def job_of(text=PLACED, run=0):
        path = tmp_path / "experiment.yml"
        path.write_text(text, encoding="utf-8")
        experiment = load_experiment(path)
        planned = plan_runs(experiment)[run]
        return Job(
            run_id="trial.r1",
            experiment=experiment,
            configuration=planned.configuration,
            placement=planned.placement,
            cut=planned.cut,
            frames=planned.frames,
            model=slice_model(experiment, cnn14),
            hosts=inventory(),
        )

    return job_of


def told(job):
    return dict(configs(job))


def stage_names(config):
    return [stage.name for stage in config.stages]


def test_the_papers_experiment_is_told_as_ever(cnn14):
    run = next(run for run in plan_runs(EXPERIMENT) if run.run_id == "c2_1-8_r1")
    model = slice_model(EXPERIMENT, cnn14)
    job = Job("r", EXPERIMENT, run.configuration, run.placement, run.cut, 50, model, inventory())
    client, edge, cloud = (config for _, config in configs(job))
    assert [stage_names(config) for config in (client, edge, cloud)] == [["slice"]] * 3
    assert client.source.images == agent_pb2.IMAGES_DIGITS
    assert (client.source.check.answer, list(client.source.check.feeds)) == ("dense_1/Softmax:0", ["input_layer:0"])
    assert (client.stages[0].queue.places, client.stages[0].queue.messages) == (2, False)
    assert (edge.stages[0].queue.places, edge.stages[0].queue.messages) == (16, True)
    assert (edge.link.queue.places, edge.link.max_message_bytes) == (4, 50_000)
    assert edge.link.codec == agent_pb2.CODEC_TENSOR_PROTO
    assert (edge.link.next_host, edge.link.next_address) == ("cloud", "10.0.2.1:7071")
    assert [config.stages[0].overhead_ratio for config in (client, edge, cloud)] == [10, 5, 1]
    assert [config.previous_host for config in (client, edge, cloud)] == ["", "client", "edge"]
    assert edge.link.rate_bit_per_s == 0
    assert not cloud.HasField("link")
    assert {config.warm_batch for config in (client, edge, cloud)} == {16}
    assert edge.reconnect_s == 0


def test_a_placement_on_the_cameras_host_alone(job):
    (config,) = told(job()).values()
    assert stage_names(config) == ["transformer", "slice", "classifier"]
    assert config.HasField("source")
    assert not config.HasField("link")
    # Behind the camera is the camera's queue, whatever stage it is before.
    assert config.stages[0].queue.places == 2
    assert list(config.stages[1].slice.fetches) == ["dense_1/Softmax:0"]


def test_a_camera_alone_fills_its_sender(job):
    configs = told(job(run=1))
    assert list(configs) == ["client", "cloud"]
    client = configs["client"]
    assert not client.stages
    assert (client.link.queue.places, client.link.queue.policy) == (2, agent_pb2.QUEUE_POLICY_NEWEST)
    assert client.link.rate_bit_per_s == 41_020_000
    assert configs["cloud"].previous_host == "client"
    assert (configs["cloud"].stages[0].queue.places, configs["cloud"].stages[0].queue.policy) == (
        3,
        agent_pb2.QUEUE_POLICY_OLDEST,
    )


def test_several_slices_on_a_host_and_an_early_exit_between_them(job):
    configs = told(job(run=2))
    edge, cloud = configs["edge"], configs["cloud"]
    assert stage_names(edge) == ["transformer", "slice", "exit", "slice2"]
    assert stage_names(cloud) == ["slice", "classifier"]
    assert edge.stages[1].slice.fetches == edge.stages[3].slice.feeds
    assert edge.stages[3].slice.fetches == cloud.stages[0].slice.feeds
    head = edge.stages[2].exit
    assert head.threshold == 0.9
    assert head.head.model_sha256 != edge.stages[1].slice.model_sha256
    assert edge.stages[2].queue.places == 4
    assert edge.link.queue.policy == agent_pb2.QUEUE_POLICY_BLOCK
    assert edge.link.codec == agent_pb2.CODEC_AUTO
    assert edge.reconnect_s == 5
    assert edge.stages[0].transform == configs["client"].source.check.transform
    assert list(edge.stages[0].transform.scale) == pytest.approx([1 / 255])


def test_a_silent_hosts_stages_are_named(job):
    each = job(run=2)
    assert stages_of(each, "client") == "source"
    assert stages_of(each, "edge") == "transformer, slice (layers 1 to 3), exit, slice (layers 4 to 8)"


def test_files_go_where_they_are_needed(job, cnn14):
    sliced, far = job(run=2), job(run=1)
    files = files_by_host(cnn14, sliced.model, [sliced.layout])
    assert {file.name: hosts for file, hosts in files.items()} == {
        "cnn14": ("client", "edge", "cloud"),
        "cnn14_layer3.pb": ("edge",),
    }
    assert list(files_by_host(cnn14, far.model, [far.layout]).values()) == [("client", "cloud")]


def test_another_cut_while_the_run_goes_on(job):
    running = job(run=2)
    other = next(cut for cut in running.placement.cuts if cut != running.cut)
    changes = cut_configs(running, other, 3)
    assert list(changes) == ["edge", "cloud"]
    assert sorted(changes["edge"].slices) == ["slice", "slice2"]
    assert changes["edge"].version == 3
    assert changes["edge"].slices["slice"] == told(running)["edge"].stages[1].slice
    assert changes["edge"].slices["slice2"].fetches == changes["cloud"].slices["slice"].feeds
    assert changes["cloud"].slices["slice"] != told(running)["cloud"].stages[0].slice


def test_a_cut_that_the_run_cannot_change_to_is_refused(job):
    running = job(run=2)
    with pytest.raises(SpecError, match="cut whole makes 1 slices, the run has 3; name 2 split points"):
        cut_configs(running, Cut(()), 1)
    model = replace(running.model, heads={})
    with pytest.raises(SpecError, match="the early exits of cut 3-8 do not fit cut 3-9"):
        cut_configs(replace(running, model=replace(model, heads={running.cut: running.model.heads_of(running.cut)})),
                    running.placement.cuts[1], 1)  # fmt: skip


def test_an_exit_that_fits_no_boundary_is_refused_with_its_place(job, tmp_path):
    text = PLACED.replace('after: "3"', 'after: "8"')
    with pytest.raises(
        SpecError, match=r"experiment\.yml:17:5: cnn14_layer3\.pb is fed float32 \?x12x12x64, slice 2 of"
    ):
        job(text, run=2)


@pytest.mark.parametrize(
    ("weights", "graph", "refused"),
    [
        (Weights(WeightsKind.SEED, seed=7), "0" * 64, "weights of seed 7"),
        (Weights(WeightsKind.TRAINED, sha256="1" * 64), "0" * 64, "its trained weights 111111111111"),
        (Weights(WeightsKind.FILE, sha256="2" * 64), "0" * 64, "weights of file 222222222222"),
        (Weights(WeightsKind.FILE), "0" * 64, None),
        # Other bytes of the graph, as another TensorFlow writes them; then the very graph, whatever its card says.
        (None, "0" * 64, None),
        (Weights(WeightsKind.SEED, seed=7), None, None),
    ],
)
def test_a_head_of_other_weights_is_refused_where_both_are_known(tmp_path, cnn14, weights, graph, refused):
    path = tmp_path / "experiment.yml"
    path.write_text(PLACED, encoding="utf-8")
    experiment = load_experiment(path)
    frozen = cnn14.frozen
    card = replace(frozen.card, weights=weights or frozen.card.weights, graph_sha256=graph or frozen.graph_sha256())
    other = replace(cnn14, frozen=replace(frozen, card=card))
    if refused is None:
        assert slice_model(experiment, other).heads
        return
    with pytest.raises(SpecError) as raised:
        slice_model(experiment, other)
    assert str(raised.value) == (
        f"{path}:17:5: cnn14_layer3.pb was trained on cnn14 with its trained weights 78920068eec2, and this is"
        f" cnn14 with {refused}; train a head on these: slicebed-agent train-exit"
    )


def test_pictures_for_a_model_that_takes_none_are_refused_with_their_place(tmp_path, cnn14):
    path = tmp_path / "experiment.yml"
    path.write_text(PLACED, encoding="utf-8")
    experiment = load_experiment(path)
    flat = replace(cnn14.frozen.card.inputs[0], shape=(None, 784))
    card = replace(cnn14.frozen.card, inputs=(flat,))
    other = replace(cnn14, frozen=replace(cnn14.frozen, card=card))
    with pytest.raises(
        SpecError, match=r"experiment\.yml:6:1: images: synthetic are no pictures for cnn14, which is fed"
    ):
        slice_model(experiment, other)
