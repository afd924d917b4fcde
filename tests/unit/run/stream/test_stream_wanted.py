"""A stream is an experiment that options write: every mistake is told by the option's name."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from slicebed.errors import SpecError
from slicebed.run.stream.wanted import Options, in_words_of, read_cut
from slicebed_agent.errors import AgentConfigError

REPOSITORY = Path(__file__).parents[4]
LAB = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
EXPERIMENT = REPOSITORY / "experiments" / "dnn_slicing.yml"


def options(**given):
    return Options(LAB, **given)


def test_names_and_layers_are_cuts():
    assert read_cut("a/b, c", "--cut").points == ("a/b", "c")
    assert read_cut("3,8", "--cut").points == read_cut("3-8", "--cut").points == (3, 8)


def test_it_streams_over_the_testbeds_hosts_and_goes_on():
    with in_words_of(options(model="cnn14", cut="1-8", candidates=("3-8",))) as wanted:
        assert wanted.chain == ("client", "edge", "cloud")
        assert wanted.frames == 0
        assert wanted.cut.label == "1-8"
        assert [cut.label for cut in wanted.candidates] == ["1-8", "3-8"]
        assert wanted.experiment.source.rate_per_s == 24
        assert wanted.experiment.pipeline.codec == "auto"
        assert wanted.experiment.pipeline.reconnect_us == 60_000_000


def test_rates_of_the_testbed_hold_for_a_stream_too():
    testbed = REPOSITORY / "inventory" / "testbeds" / "couper_table3.yml"
    with in_words_of(Options(testbed, model="cnn14", cut="1-8", codec="auto")) as wanted:
        (configuration,) = wanted.experiment.configurations
        asked = configuration.asked_of(wanted.experiment.testbed, wanted.experiment.pairs)
        assert asked.link("edge", "cloud").direction("edge").rate_bit_per_s == 50_220_000


def test_pictures_get_a_transformer_and_a_classifier(tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    asked = options(model="MobileNetV2", seed=7, cut="a", hosts=("edge", "cloud"), video=film, resolution="640x360")
    with in_words_of(asked) as wanted:
        placement = wanted.placement
        assert (placement.transformer, placement.slices, placement.classifier) == ("edge", ("edge", "cloud"), "cloud")
        assert wanted.experiment.source.file == film
        assert wanted.experiment.source.loops == 0


def test_a_whole_model_on_one_host_has_no_cut():
    with in_words_of(options(model="cnn14", hosts=("client",))) as wanted:
        assert wanted.cut.points == ()


def test_several_slices_may_be_on_one_host():
    with in_words_of(options(model="cnn14", cut="1-8-10", hosts=("client", "edge", "edge", "cloud"))) as wanted:
        assert wanted.chain == ("client", "edge", "cloud")


def test_an_experiment_gives_what_the_options_do_not():
    asked = options(experiment=EXPERIMENT, cut="3-8", rate="5 frame/s", codec="raw", frames=20)
    with in_words_of(asked) as wanted:
        assert wanted.cut.label == "3-8"
        assert wanted.experiment.source.batch_size == 16
        assert wanted.experiment.source.rate_per_s == 5
        assert wanted.experiment.pipeline.codec == "raw"
        assert wanted.frames == 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "slicebed stream: which model?; give --model and --cut, or --experiment"),
        ({"model": "nope", "cut": "a,b"}, '--model: unknown model "nope"'),
        ({"model": "cnn14", "cut": "8-1"}, "--cut: the edge cut (1) is not after"),
        ({"model": "cnn14", "cut": "1"}, '--cut: cut "1" has 1 split point'),
        ({"model": "cnn14", "cut": "1-8", "candidates": ("2",)}, '--candidates: cut "2" has 1 split point'),
        ({"model": "cnn14", "cut": "1-8", "rate": "24"}, '--rate: rate: "24" is not a frame rate'),
        ({"model": "cnn14", "cut": "1-8", "codec": "zip"}, '--codec: codec: "zip" is not known'),
        ({"model": "cnn14", "cut": "1-8", "images": "film"}, "--images: "),
        ({"model": "cnn14", "cut": "1-8", "hosts": ("client", "moon", "edge")}, '--hosts: unknown host "moon"'),
        ({"model": "MobileNetV2", "cut": "a,b", "video": Path("/no/film")}, '--video: no such file "/no/film"'),
        ({"model": "MobileNetV2", "cut": "a,b", "folder": Path("/no")}, '--folder: no such folder "/no"'),
        ({"model": "MobileNetV2", "cut": "a,b", "folder": Path("/")}, "--resolution: pictures without a size"),
        ({"model": "MobileNetV2", "cut": "a,b", "images": "synthetic"}, "--resolution: pictures without a size"),
        ({"model": "cnn14", "cut": "1-8", "placement": "moon"}, "--placement without --experiment"),
        ({"experiment": EXPERIMENT, "rate": "24"}, '--rate: "24" is not a frame rate; allowed: '),
        (
            {"experiment": EXPERIMENT, "rate": "0 frame/s"},
            '--rate: frame rate "0 frame/s" is out of range; allowed: 0.0',
        ),
        ({"experiment": EXPERIMENT, "rate": "-5 frame/s"}, '--rate: frame rate "-5 frame/s" is out of range'),
        ({"experiment": EXPERIMENT, "rate": "1000000 frame/s"}, "is out of range; allowed: 0.001 frame/s to 1000 "),
        ({"model": "cnn14", "cut": ","}, "--cut: ',' is not a cut"),
        ({"model": "cnn14", "candidates": ("1-8",)}, "--candidates without --cut"),
        ({"experiment": EXPERIMENT, "model": "cnn14"}, "--model besides --experiment"),
        ({"experiment": EXPERIMENT, "placement": "moon"}, "no placement 'moon'"),
        ({"experiment": EXPERIMENT, "cut": "3"}, "--cut: 1 split points, and 3 slices on client, edge, cloud"),
        ({"experiment": EXPERIMENT, "codec": "zip"}, "--codec: no codec 'zip'"),
        ({"model": "cnn14", "cut": "1-8", "frames": 2_000_000}, "--frames: 2000000 frames are out of range"),
    ],
)
def test_a_mistake_is_told_by_its_option(given, said):
    with pytest.raises(SpecError) as refused, in_words_of(options(**given)):
        pass
    assert said in str(refused.value)
    assert "stream.yml" not in str(refused.value)
    assert tempfile.gettempdir() not in str(refused.value).replace(str(REPOSITORY), "")


def test_what_is_found_out_later_is_told_by_the_option_too():
    with pytest.raises(AgentConfigError) as refused, in_words_of(options(model="cnn14", cut="a,b")) as wanted:
        raise AgentConfigError("no such weights", where=wanted.experiment.model.where("cnn14"), mend="x")
    assert str(refused.value).startswith("--model")
    with pytest.raises(SpecError) as refused, in_words_of(options(model="cnn14", cut="a,b")) as wanted:
        raise SpecError("no split point is named 'a'", where=wanted.cut.place)
    assert str(refused.value) == "--cut: no split point is named 'a'"


def test_another_cut_has_as_many_split_points():
    with in_words_of(options(model="cnn14", cut="1-8")) as wanted:
        assert [cut.label for cut in wanted.with_cut(read_cut("3-9", "--set-cut")).placement.cuts] == ["1-8", "3-9"]
        with pytest.raises(SpecError, match=r"--set-cut: 1 split points, and 3 slices.*name 2"):
            wanted.with_cut(read_cut("3", "--set-cut"))
