"""Profiles of a host: measured by a real agent, kept, found again where everything is the same, and only there."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import dataclass, replace
from types import SimpleNamespace

import grpc
import pytest
from PIL import Image

from slicebed.errors import RunError, SpecError
from slicebed.run.search.profile_record import ANSWER, INPUT, Limits, read_profile
from slicebed.run.search.profiles import Profiles, Subject, knobs_of, obtain, spent_s
from slicebed_agent.model.load import open_model
from slicebed_agent.model.source import ModelSource
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.rpc.flight import Security
from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc
from slicebed_agent.server import Agent, Options

FREE = Limits()
POINTS = ("conv2d_1/Relu", "max_pooling2d_1/MaxPool2d", "dense/Relu")


@dataclass
class Host:
    """What `obtain` needs of a connection: the host's name, and Control of a real agent."""

    host: SimpleNamespace
    control: agent_pb2_grpc.ControlStub

    def named(self, name):
        return Host(SimpleNamespace(name=name), self.control)


@pytest.fixture(scope="module")
def cnn14(tmp_path_factory):
    return open_model(ModelSource("cnn14"), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def edge(cnn14, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    agent = Agent(Options("edge", "127.0.0.1:0", ("127.0.0.1:0",), Security.plaintext(), state, 1 << 30, grace_s=1.0))
    agent.start()
    with grpc.insecure_channel(f"127.0.0.1:{agent.control_port}") as channel:
        control = agent_pb2_grpc.ControlStub(channel)
        file = agent_pb2.ModelFile(sha256=cnn14.graph_sha256(), size_bytes=cnn14.path.stat().st_size)
        chunks = [agent_pb2.ModelChunk(file=file)]
        data = cnn14.path.read_bytes()
        chunks += [agent_pb2.ModelChunk(data=data[at : at + 2**20]) for at in range(0, len(data), 2**20)]
        control.PutModel(iter(chunks), timeout=30)
        yield Host(SimpleNamespace(name="edge"), control)
    agent.stop()


@pytest.fixture
def subject(cnn14, monkeypatch):
    monkeypatch.setattr("slicebed.run.search.profiles.SECONDS", 0.05)
    graph = cnn14.read_graph()
    points = {name: (f"{name}:0",) for name in POINTS}
    return Subject("cnn14", cnn14.graph_sha256(), graph.inputs, graph.outputs, points, 2, (Codec.RAW, Codec.LOSSLESS))


def camera(subject, images=agent_pb2.IMAGES_DIGITS, **changes):
    check = agent_pb2.CheckConfig(model_sha256=subject.sha256, feeds=subject.feeds, answer=subject.fetches[0])
    return agent_pb2.SourceConfig(images=images, frames_per_s=9, frames=50, batch_size=2, check=check, **changes)


def test_a_profile_is_measured_once_and_kept(edge, subject, tmp_path):
    folder = tmp_path / "profiles"
    found = obtain(edge, subject, FREE, folder, condition="low")
    assert read_profile(folder / "cnn14_low_edge.json") == found
    assert list(found.points) == [INPUT, *POINTS, ANSWER]
    assert (found.host, found.condition, found.shown, found.measured_on) == ("edge", "low", "seeded", "")
    assert found.testbed_s > 0
    assert found.facts.tensorflow.startswith("2.")
    assert found.share(None, None) == 1
    before = [found.share(None, name) for name in POINTS]
    assert 0 < before[0] < before[1] < before[2] < 1.01
    whole_s = found.slice_s(None, None)
    assert found.call_s < found.slice_s(POINTS[0], POINTS[1]) < found.slice_s(None, POINTS[1]) < whole_s
    (row,) = found.cost(POINTS[0], "lossless")
    assert row.bytes < found.points[POINTS[0]].bytes
    again = obtain(edge, subject, FREE, folder, condition="low")
    assert again == replace(found, testbed_s=0.0)
    assert [path.name for path in folder.iterdir()] == ["cnn14_low_edge.json"]


def test_another_condition_of_the_host_is_another_profile(edge, subject, tmp_path):
    found = obtain(edge, subject, FREE, tmp_path, condition="low")
    slower = obtain(edge, subject, Limits(cpu_quota=0.5), tmp_path, condition="low")
    assert slower.whole_s != found.whole_s
    assert slower.testbed_s > 0
    assert len(list(tmp_path.iterdir())) == 2
    for limits, profile in ((FREE, found), (Limits(cpu_quota=0.5), slower)):
        assert obtain(edge, subject, limits, tmp_path, condition="low").whole_s == profile.whole_s


def test_a_campaign_profiles_a_host_once_whatever_the_condition_is_called(edge, subject, tmp_path):
    found = obtain(edge, subject, FREE, tmp_path, condition="low")
    assert obtain(edge, subject, FREE, tmp_path, condition="high") == replace(found, testbed_s=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["cnn14_low_edge.json"]
    cloud = obtain(edge.named("cloud"), subject, FREE, tmp_path, condition="low")
    assert spent_s(tmp_path, subject, "low") == pytest.approx(found.testbed_s + cloud.testbed_s)
    assert spent_s(tmp_path, subject, "high") == spent_s(tmp_path, replace(subject, sha256="0" * 64), "low") == 0


class Bent:
    """Control of a real agent, whose profiles are spoilt before they are handed on."""

    def __init__(self, control, spoil):
        self.Describe, self._control, self._spoil = control.Describe, control, spoil

    def Profile(self, request, timeout):  # noqa: N802 - as the stub names it
        reply = self._control.Profile(request, timeout=timeout)
        self._spoil(reply)
        return reply


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda reply: reply.cuts.pop(), "4 split points instead of 5"),
        (lambda reply: reply.ClearField("whole_s"), "0 times of the whole model and"),
        (lambda reply: reply.whole_cpu_s.append(1.0), "processor times"),
        (lambda reply: reply.whole_s.__setitem__(0, math.nan), "nan for whole_s"),
        (lambda reply: setattr(reply, "took_s", math.inf), "inf for took_s"),
        (lambda reply: setattr(reply.cuts[1].before, "low", -1.0), "-1.0 for call_s, transform_s or a share"),
        (lambda reply: setattr(reply.cuts[1].codecs[0], "encode_s", -2.0), "-2.0 for a codec"),
        (lambda reply: setattr(reply.cuts[0].codecs[0], "codec", 99), r"codecs \[99\] at .input instead of"),
        (lambda reply: reply.cuts[0].ClearField("codecs"), r"codecs \[\] at .input"),
    ],
)
def test_an_answer_that_is_no_profile_is_refused_and_not_kept(edge, subject, tmp_path, spoil, told):
    with pytest.raises(RunError, match=f"host edge: profile of cnn14: the agent answered .*{told}"):
        obtain(Host(edge.host, Bent(edge.control, spoil)), subject, FREE, tmp_path, condition="low")
    assert not list(tmp_path.iterdir())


def test_an_earlier_campaigns_profile_is_taken_where_everything_is_the_same(edge, subject, tmp_path):
    earlier, folder = tmp_path / "earlier", tmp_path / "now"
    known = obtain(edge, subject, FREE, earlier, condition="low")
    (earlier / "links_low.json").write_text("{}")
    found = obtain(edge, subject, FREE, folder, condition="other", earlier=earlier)
    assert found == replace(known, condition="other", testbed_s=0.0)
    assert read_profile(folder / "cnn14_other_edge.json") == found


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 3},
        {"codecs": (Codec.TENSOR_PROTO,)},
        {"points": {"flatten/Reshape": ("flatten/Reshape:0",)}},
        {"camera": True},
        {"limits": Limits(frequency_khz=1_000_000)},
        {"host": "cloud"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_earlier_campaigns_profile_of_anything_else_is_not(edge, subject, tmp_path, changes):
    known = obtain(edge, subject, FREE, tmp_path / "earlier", condition="low")
    limits, host = changes.pop("limits", FREE), edge.named(changes.pop("host", "edge"))
    changed = replace(subject, **({"camera": camera(subject)} if "camera" in changes else changes))
    found = obtain(host, changed, limits, tmp_path / "now", condition="low", earlier=tmp_path / "earlier")
    assert found.testbed_s > 0
    assert found.whole_s != known.whole_s


def test_fewer_points_and_codecs_than_were_measured_are_there_too(edge, subject, tmp_path):
    known = obtain(edge, subject, FREE, tmp_path, condition="low")
    less = replace(subject, points={POINTS[1]: subject.points[POINTS[1]]}, codecs=(Codec.RAW,))
    assert obtain(edge, less, FREE, tmp_path, condition="low").whole_s == known.whole_s


def test_a_host_that_is_alike_is_not_measured_again_if_that_is_asked(edge, subject, tmp_path):
    known = obtain(edge, subject, FREE, tmp_path, condition="low")
    cloud = edge.named("cloud")
    shared = obtain(cloud, subject, FREE, tmp_path, condition="low", alike=[known])
    assert (shared.host, shared.measured_on, shared.whole_s, shared.testbed_s) == ("cloud", "edge", known.whole_s, 0)
    assert read_profile(tmp_path / "cnn14_low_cloud.json") == shared
    third = obtain(edge.named("third"), subject, FREE, tmp_path, condition="low", alike=[shared])
    assert third.measured_on == "edge"
    other = obtain(edge.named("fourth"), subject, Limits(cores=1), tmp_path, condition="low", alike=[known])
    assert (other.measured_on, other.whole_s == known.whole_s) == ("", False)


def test_the_cameras_frames_are_shown_and_synthetic_ones_where_its_film_is_not(edge, subject, tmp_path):
    shown = replace(subject, camera=camera(subject))
    digits = obtain(edge, shown, FREE, tmp_path, condition="low")
    assert digits.shown.startswith("camera ")
    assert digits.transform_s is None
    # A digit is mostly nothing.
    assert digits.cost(INPUT, "lossless")[0].bytes < 0.7 * digits.points[INPUT].bytes
    faster = replace(subject, camera=camera(subject))
    faster.camera.frames_per_s = 100
    assert obtain(edge, faster, FREE, tmp_path, condition="low").whole_s == digits.whole_s
    film = camera(subject, agent_pb2.IMAGES_VIDEO, file_sha256="0" * 64, height=90, width=160, loops=3)
    film.check.transform.CopyFrom(agent_pb2.TransformConfig(height=28, width=28, scale=[1 / 255], offset=[0]))
    without = obtain(edge, replace(subject, camera=film, film_bytes=3), FREE, tmp_path, condition="low")
    assert without.shown.startswith("synthetic ")
    assert without.transform_s > 0


def test_a_film_that_the_host_has_is_shown(edge, subject, tmp_path):
    path = tmp_path / "film.zip"
    with zipfile.ZipFile(path, "w") as packed, packed.open("one.png", "w") as file:
        # One picture, of which both of a frame are made.
        Image.new("RGB", (160, 90)).save(file, "PNG")
    data = path.read_bytes()
    known = agent_pb2.ModelFile(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    edge.control.PutModel(iter([agent_pb2.ModelChunk(file=known), agent_pb2.ModelChunk(data=data)]), timeout=30)
    film = camera(subject, agent_pb2.IMAGES_FOLDER, file_sha256=known.sha256)
    film.check.transform.CopyFrom(agent_pb2.TransformConfig(height=28, width=28, scale=[1 / 255], offset=[0]))
    found = obtain(
        edge, replace(subject, camera=film, film_bytes=len(data)), FREE, tmp_path / "profiles", condition="low"
    )
    assert found.shown.startswith("camera ")
    assert found.transform_s > 0
    # Black throughout: nothing but a bit map.
    assert found.cost(INPUT, "lossless")[0].bytes < 0.1 * found.points[INPUT].bytes


def test_what_the_agent_refuses_is_told_with_the_host_and_the_model(edge, subject, tmp_path):
    with pytest.raises(RunError, match="host edge: profile of cnn14: model 000000000000 is not on this host"):
        obtain(edge, replace(subject, sha256="0" * 64), FREE, tmp_path, condition="low")
    assert not list(tmp_path.iterdir())


def test_no_folder_and_damaged_files_are_named(edge, subject, tmp_path):
    with pytest.raises(SpecError, match="no folder of profiles"):
        obtain(edge, subject, FREE, tmp_path / "now", condition="low", earlier=tmp_path / "nowhere")
    found = obtain(edge, subject, FREE, tmp_path, condition="low")
    plain = found.to_plain()
    for damage in ({"format": 2}, {"whole_s": []}, {"points": 3}, {"limits": {}}):
        (tmp_path / "cnn14_low_edge.json").write_text(json.dumps(json.loads(json.dumps(plain)) | damage))
        with pytest.raises(SpecError, match=r"not a host's profile.*remove the file"):
            obtain(edge, subject, FREE, tmp_path, condition="low")


def test_profiles_are_found_by_host_and_its_own_knobs(edge, subject, tmp_path):
    found = obtain(edge, subject, FREE, tmp_path, condition="low")
    knobs = {"edge.cores": 2.0, "cloud.quota": 0.5, "edge.frequency": "1000000"}
    own = knobs_of(knobs, "edge")
    assert own == (("edge.cores", 2.0), ("edge.frequency", "1000000"))
    profiles = Profiles({("edge", own): found})
    assert profiles.at("edge", knobs) is found
    with pytest.raises(SpecError, match=r"no profile of host edge with edge.cores = 1"):
        profiles.at("edge", {"edge.cores": 1.0})
    with pytest.raises(SpecError, match="no split point nowhere"):
        found.slice_s("nowhere", None)
    with pytest.raises(SpecError, match="codec uint8"):
        found.cost(POINTS[0], "uint8")
