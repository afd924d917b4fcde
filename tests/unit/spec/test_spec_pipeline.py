"""Placements, pictures, queues and early exits in experiment.yml: what they mean, and what is refused where."""

from __future__ import annotations

import json

import pytest
from bad_files import EXPERIMENT, TESTBED

from slicebed.spec.experiment import AS_TESTBED, load_experiment
from slicebed.spec.models import Images
from slicebed.spec.order import plan_runs
from slicebed.spec.pipeline import Drop, Pixels, StageKind
from slicebed.spec.problems import SpecErrors
from slicebed_agent.pipeline.codecs import Codec

PLACED = """\
name: placed
testbed: testbed.yml
model: cnn14
chain: [client, edge, cloud]
frames: 50
source: {rate: 24 frame/s, batch_size: 1, seed: 7, queue: 2, images: synthetic, resolution: 1280x720}
stages: {transformer: {queue: 3, drop: oldest}, outbound: {queue: 1, drop: never}, exit: {queue: 4}}
codec: auto
reconnect: 5 s
pixels: {range: [-1, 1], bgr: true}
repeats: 1
order: {randomised: false, seed: 0}
placements:
  - {name: client, transformer: client, slices: [client], classifier: client}
  - {name: far, transformer: cloud, slices: [cloud]}
  - {name: sliced, transformer: edge, slices: [edge, edge, cloud], classifier: cloud, cuts: ["3-8", "1-3"]}
exits:
  - {after: "3", head: cnn14_layer3.pb}
  - {after: 2, head: cnn14_layer3.pb, threshold: 0.5}
"""
LINKED = TESTBED.replace("lab:\n", "  - {between: [client, cloud], one_way: 24 ms}\nlab:\n")


@pytest.fixture
def load(tmp_path):
    def load_it(text, testbed=LINKED):
        (tmp_path / "testbed.yml").write_text(testbed, encoding="utf-8")
        (tmp_path / "film.mp4").write_bytes(b"film")
        (tmp_path / "pictures").mkdir(exist_ok=True)
        path = tmp_path / "experiment.yml"
        path.write_text(text, encoding="utf-8")
        return load_experiment(path)

    return load_it


def test_a_file_without_the_new_keys_means_what_it_meant(load):
    experiment = load(EXPERIMENT)
    (placement,) = experiment.every_placement
    assert (placement.slices, placement.transformer, placement.classifier) == (experiment.chain, None, None)
    assert (experiment.pipeline.codec, dict(experiment.pipeline.queues)) == (Codec.TENSOR_PROTO, {})
    assert experiment.pipeline.reconnect_us == 0
    assert experiment.pairs == (("client", "edge"), ("edge", "cloud"))
    assert [run.run_id for run in plan_runs(experiment, frames=1)][:1] in (["c1_1-8_r1"], ["c1_3-11_r1"])
    assert experiment.source.images is Images.DIGITS


def test_placements_with_chains_of_their_own(load):
    experiment = load(PLACED)
    near, far, sliced = experiment.placements
    assert [each.chain("client") for each in (near, far, sliced)] == [
        ("client",),
        ("client", "cloud"),
        ("client", "edge", "cloud"),
    ]
    assert experiment.pairs == (("client", "cloud"), ("client", "edge"), ("edge", "cloud"))
    assert [cut.label for cut in experiment.every_cut] == ["whole", "3-8", "1-3"]
    assert [run.run_id for run in plan_runs(experiment)] == [
        "ctestbed_client_whole_r1",
        "ctestbed_far_whole_r1",
        "ctestbed_sliced_3-8_r1",
        "ctestbed_sliced_1-3_r1",
    ]
    assert [run.title for run in plan_runs(experiment)][1:3] == ["placement far", "placement sliced, cut 3-8"]
    json.dumps(experiment.to_plain())


def test_the_pipelines_settings(load):
    experiment = load(PLACED)
    pipeline, source = experiment.pipeline, experiment.source
    assert pipeline.codec is Codec.AUTO
    assert pipeline.reconnect_us == 5_000_000
    assert pipeline.pixels == Pixels(-1.0, 1.0, bgr=True)
    assert pipeline.queues[StageKind.TRANSFORMER].drop is Drop.OLDEST
    assert (pipeline.queues[StageKind.OUTBOUND].places, pipeline.queues[StageKind.OUTBOUND].drop) == (1, Drop.NEVER)
    assert [(each.after, each.threshold, each.head.name) for each in pipeline.exits] == [
        ("3", 0.9, "cnn14_layer3.pb"),
        (2, 0.5, "cnn14_layer3.pb"),
    ]
    assert (source.images, source.width, source.height) == (Images.SYNTHETIC, 1280, 720)


def test_without_configurations_the_testbeds_links_hold(load):
    experiment = load(PLACED)
    (configuration,) = experiment.configurations
    assert configuration.name == AS_TESTBED
    assert configuration.asked_of(experiment.testbed, experiment.pairs) is experiment.testbed


def test_a_configuration_delays_every_link_that_frames_pass(load):
    text = EXPERIMENT.replace('cuts: ["1-8", "3-11"]', "placements: [{name: far, slices: [cloud]}]")
    experiment = load(text)
    asked = experiment.configurations[0].asked_of(experiment.testbed, experiment.pairs)
    assert asked.link("client", "cloud").asked.rtt_us == 2 * (2_500 + 250_000)
    assert asked.link("client", "edge") == experiment.testbed.link("client", "edge")


@pytest.mark.parametrize(
    ("source", "images", "file"),
    [
        ("video: film.mp4", Images.VIDEO, "film.mp4"),
        ("video: film.mp4, loops: 3", Images.VIDEO, "film.mp4"),
        ("folder: pictures, resolution: 320x240", Images.FOLDER, "pictures"),
        ("images: random", Images.RANDOM, None),
    ],
)
def test_what_the_camera_sees(load, source, images, file):
    experiment = load(EXPERIMENT.replace("queue: 2}", f"queue: 2, {source}}}"))
    assert experiment.source.images is images
    assert (experiment.source.file and experiment.source.file.name) == file
    (placement,) = experiment.every_placement
    assert placement.transformer == ("client" if images.are_pictures else None)


BAD = {
    "cuts besides placements": ("placements:\n", 'cuts: ["3"]\nplacements:\n', "13:1", "cuts besides placements"),
    "neither": (PLACED[PLACED.index("placements:") : PLACED.index("exits:")], "", "1:1", 'missing key "cuts"'),
    "no placement": (
        PLACED[PLACED.index("placements:") : PLACED.index("exits:")],
        "placements: []\n",
        "13:13",
        "empty",
    ),
    "twice": ("name: far", "name: client", "15:12", 'placement "client" is given twice'),
    "outside": ("slices: [cloud]}", "slices: [fog]}", "15:46", 'host "fog" is not in the chain; allowed: client, edge'),
    "backwards": (
        "transformer: edge, slices: [edge, edge, cloud]",
        "transformer: edge, slices: [edge, client, cloud]",
        "16:54",
        "slices: client lies before edge",
    ),
    "no transformer": (
        "name: far, transformer: cloud,",
        "name: far,",
        "15:5",
        "no transformer for the camera's pictures",
    ),
    "transformer of nothing": (
        "images: synthetic, resolution: 1280x720",
        "images: random",
        None,
        "a transformer, but no pictures",
    ),
    "wrong number of points": ('["3-8", "1-3"]', '["3", "1-3"]', "16:94", "for slices on edge, edge, cloud"),
    "cuts of one": ("slices: [cloud]}", 'slices: [cloud], cuts: ["3"]}', "15:54", "one slice is the whole model"),
    "no cuts": (', cuts: ["3-8", "1-3"]', "", "16:5", "no cuts for 3 slices"),
    "unknown codec": ("codec: auto", "codec: zip", "8:8", '"zip" is not known; allowed: tensorproto, raw, lossless'),
    "unknown drop": ("drop: oldest", "drop: some", "7:40", '"some" is not known; allowed: newest, oldest, never'),
    "a camera that waits": ("queue: 2, images", "queue: 2, drop: never, images", "6:68", "a camera does not wait"),
    "unknown stage": ("exit: {queue: 4}", "exits: {queue: 4}", "7:84", 'unknown key "exits", did you mean "exit"?'),
    "a queue of no stage": (PLACED[PLACED.index("exits:\n") :], "", "7:84", "a queue for no exit"),
    "no head": ('after: "3", head: cnn14_layer3.pb', 'after: "3", head: none.pb', "18:24", 'no such file "none.pb"'),
    "an exit after nothing": ('after: "3"', 'after: "5"', "18:13", 'no cut ends a slice at "5"; allowed: .*3, 8, 1'),
    "an exit after the last": ("after: 2", "after: 3", "19:13", "no slice 3 that another follows; allowed: 1 to 2"),
    "a threshold": ("threshold: 0.5", "threshold: 50", "19:50", "50 is out of range"),
    "a range": ("range: [-1, 1]", "range: [1, -1]", "10:17", "is not a range"),
    "no size": (", resolution: 1280x720", "", "6:9", "images: synthetic without a size"),
    "a bad size": ("1280x720", "1280*720", "6:93", '"1280\\*720" is not a resolution'),
    "no file": ("images: synthetic", "video: none.mp4", "6:69", 'video: no such file "none.mp4"'),
    "a file of nothing": (
        "images: synthetic",
        "images: synthetic, video: film.mp4",
        "6:81",
        "video besides images: synthetic",
    ),
    "loops of no film": ("images: synthetic", "images: synthetic, loops: 2", "6:81", "loops of images that do not end"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_every_mistake_is_told_with_its_place(load, tmp_path, bad):
    old, new, at, says = bad
    assert PLACED.count(old) >= 1
    with pytest.raises(SpecErrors, match=says) as caught:
        load(PLACED.replace(old, new, 1))
    line = next(each for each in caught.value.lines if "; allowed: " in each)
    if at is not None:
        assert len(caught.value.lines) == 1, caught.value
        assert line.startswith(f"{tmp_path / 'experiment.yml'}:{at}: ")


def test_a_link_that_a_placement_needs_must_be_in_the_testbed(load):
    with pytest.raises(SpecErrors, match=r"15:30: client and cloud are not linked; allowed: .*client-edge, edge-cloud"):
        load(PLACED, TESTBED)
