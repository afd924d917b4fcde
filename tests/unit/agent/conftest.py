"""Agents in this process over real links on loopback, and the models that they are given."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOSTS = ("client", "edge", "cloud")
_NEXT = {"client": "edge", "edge": "cloud", "cloud": ""}


CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Model:
    """A frozen graph's file; `ends` are the tensors that leave its layers, the input being layer 0."""

    path: Path
    sha256: str
    ends: tuple[str, ...]

    def announced(self) -> agent_pb2.ModelFile:
        return agent_pb2.ModelFile(sha256=self.sha256, size_bytes=self.path.stat().st_size)

    def chunks(self) -> Iterator[agent_pb2.ModelChunk]:
        yield agent_pb2.ModelChunk(file=self.announced())
        with self.path.open("rb") as stream:
            while data := stream.read(CHUNK_BYTES):
                yield agent_pb2.ModelChunk(data=data)


@dataclasses.dataclass(frozen=True)
class Division:
    """A model and what crosses: into the client, to the edge, to the cloud, and out of it."""

    model: Model
    boundaries: tuple[tuple[str, ...], ...]


@pytest.fixture(scope="session")
def tf() -> object:
    from slicebed_agent.model import runtime

    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        runtime.tensorflow().keras.layers  # noqa: B018 - Keras is imported on first use
    return runtime.tensorflow()


@pytest.fixture(scope="session")
def cnn14(tf: object, tmp_path_factory: pytest.TempPathFactory) -> Model:
    from slicebed_agent.model.load import open_model
    from slicebed_agent.model.source import ModelSource

    frozen = open_model(ModelSource("cnn14"), cache=tmp_path_factory.mktemp("cache"))
    ends = (frozen.card.inputs[0].name, *(layer.outputs[0] for layer in frozen.card.layers))
    return Model(frozen.path, frozen.graph_sha256(), ends)


def _write(graph: object, folder: Path) -> Model:
    from slicebed_agent.model.files import hash_file

    path = folder / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return Model(path, hash_file(path), ())


@pytest.fixture(scope="session")
def branching(tf: object, tmp_path_factory: pytest.TempPathFactory) -> Division:
    """Two tensors cross each boundary: float32 with bool, and float32 with int64 that has one dimension only."""
    random = np.random.default_rng(5)

    def weight(*shape: int) -> object:
        return tf.constant(random.standard_normal(shape).astype(np.float32))

    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 6, 5), "image")
        flat = tf.reshape(image, (-1, 30), "flat")
        left = tf.nn.relu(flat @ weight(30, 16), name="left")
        sign = tf.greater(flat, 0.0, name="sign")
        wide = left @ weight(16, 30)
        mixed = tf.where(sign, wide, -wide, name="mixed")
        place = tf.argmax(left, axis=1, name="place")
        chosen = tf.one_hot(place, 16) * left
        tf.nn.softmax(mixed @ weight(30, 4) + chosen @ weight(16, 4), name="answer")
    boundaries = (("image:0",), ("left:0", "sign:0"), ("mixed:0", "place:0", "left:0"), ("answer:0",))
    return Division(_write(graph, tmp_path_factory.mktemp("branching")), boundaries)


@pytest.fixture(scope="session")
def whole_numbers(tf: object, tmp_path_factory: pytest.TempPathFactory) -> Division:
    """Takes uint8, and its answer is int32 of a fixed batch of one."""
    with tf.Graph().as_default() as graph:
        pixels = tf.compat.v1.placeholder(tf.uint8, (1, 4, 4), "pixels")
        wide = tf.cast(pixels, tf.int32, name="wide")
        tf.reduce_sum(wide, axis=2, name="rows")
        dark = tf.less(wide, 100, name="dark")
        tf.where(dark, -wide, wide, name="answer")
    boundaries = (("pixels:0",), ("wide:0",), ("wide:0", "dark:0"), ("answer:0",))
    return Division(_write(graph, tmp_path_factory.mktemp("whole")), boundaries)


Cut = Division | tuple[int, int]


class Chain:
    """Three agents, wherever they run, and what the control machine does with them."""

    def __init__(self, model: Model, control: dict[str, int], data: dict[str, int], state: dict[str, Path]) -> None:
        self.model = model
        self.control, self.data, self._state = control, data, state
        self._channels = {host: grpc.insecure_channel(f"127.0.0.1:{port}") for host, port in control.items()}
        self.stub = {host: agent_pb2_grpc.ControlStub(channel) for host, channel in self._channels.items()}

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def place(self, model: Model, *hosts: str) -> None:
        for host in hosts or HOSTS:
            if not self.stub[host].HasModel(model.announced(), timeout=10).present:
                self.stub[host].PutModel(model.chunks(), timeout=30)

    def layers(self, first: int, second: int) -> Division:
        return Division(self.model, tuple((self.model.ends[number],) for number in (0, first, second, 14)))

    def slice(self, host: str, cut: Cut = (1, 8), **changes: object) -> agent_pb2.SliceConfig:
        division = cut if isinstance(cut, Division) else self.layers(*cut)
        feeds, fetches = list(itertools.pairwise(division.boundaries))[HOSTS.index(host)]
        settings = {"model_sha256": division.model.sha256, "feeds": feeds, "fetches": fetches}
        return agent_pb2.SliceConfig(**(settings | changes))

    def config(self, host: str, run_id: str, cut: Cut = (1, 8), **changes: object) -> agent_pb2.RunConfig:
        """What a host does of a cut; `changes` are fields of RunConfig, of its slice or its link, or one of the below.

        name: of the host; queue: before the first stage; overhead_ratio: of the slice; source: its camera;
        before, behind: further stages.
        """
        division = cut if isinstance(cut, Division) else self.layers(*cut)
        of_slice = {name: changes.pop(name) for name in ("model_sha256", "feeds", "fetches") if name in changes}
        stages = [
            *changes.pop("before", ()),
            agent_pb2.StageConfig(
                name="slice",
                queue=waits(16),
                overhead_ratio=changes.pop("overhead_ratio", 0.0),
                slice=self.slice(host, cut, **of_slice),
            ),
            *changes.pop("behind", ()),
        ]
        first = waits(16) if host == "client" else waits(64, messages=True)
        stages[0].queue.CopyFrom(changes.pop("queue", first))
        after = _NEXT[host]
        link = {
            "next_host": after,
            "next_address": f"127.0.0.1:{self.data[after]}" if after else "",
            "max_message_bytes": 500_000,
            "codec": agent_pb2.CODEC_TENSOR_PROTO,
            "queue": waits(16),
        }
        of_link = {name: changes.pop(name) for name in list(changes) if name in link}
        of_link |= {"queue": changes.pop("outbound")} if "outbound" in changes else {}
        settings = {
            "run_id": run_id,
            "host": changes.pop("name", host),
            "previous_host": "" if host == "client" else HOSTS[HOSTS.index(host) - 1],
            "stages": stages,
            "link": agent_pb2.LinkConfig(**(link | of_link)) if after else None,
            "warm_batch": 4,
        }
        given = changes.pop("source", None)
        if host == "client":
            settings["source"] = agent_pb2.SourceConfig(
                images=agent_pb2.IMAGES_DIGITS if division.model is self.model else agent_pb2.IMAGES_RANDOM,
                check=agent_pb2.CheckConfig(
                    model_sha256=division.model.sha256,
                    feeds=division.boundaries[0],
                    answer=division.boundaries[-1][0],
                ),
            )
            settings["source"].MergeFrom(given or camera())
        return agent_pb2.RunConfig(**(settings | changes))

    def prepare(self, run_id: str, cut: Cut = (1, 8), **changes: dict[str, object]) -> None:
        for host in reversed(HOSTS):
            self.stub[host].Prepare(self.config(host, run_id, cut, **changes.get(host, {})), timeout=30)

    def start(self, run_id: str) -> None:
        self.stub["client"].Start(agent_pb2.RunRequest(run_id=run_id), timeout=5)

    def status(self, run_id: str, host: str = "client") -> agent_pb2.StatusReply:
        return self.stub[host].Status(agent_pb2.RunRequest(run_id=run_id), timeout=5)

    def wait(
        self, run_id: str, until: Callable[[agent_pb2.StatusReply], bool], timeout_s: float = 30
    ) -> agent_pb2.StatusReply:
        deadline = time.monotonic() + timeout_s
        while not until(status := self.status(run_id)):
            assert time.monotonic() < deadline, f"still {status}"
            time.sleep(0.02)
        return status

    def prepare_cut(self, host: str, run_id: str, version: int, cut: Cut) -> None:
        wanted = agent_pb2.CutConfig(run_id=run_id, version=version, slices={"slice": self.slice(host, cut)})
        self.stub[host].PrepareCut(wanted, timeout=30)

    def switch(self, run_id: str, version: int, cut: Cut) -> int:
        """Of the first agent: prepare, and let its camera's frames go that way."""
        self.prepare_cut("client", run_id, version, cut)
        request = agent_pb2.CutRequest(run_id=run_id, version=version)
        return self.stub["client"].SwitchCut(request, timeout=5).first_frame_id

    def change(self, run_id: str, version: int, cut: Cut) -> int:
        """Another cut while the run goes on; the first frame that goes through it."""
        for host in HOSTS[:0:-1]:
            self.prepare_cut(host, run_id, version, cut)
        first = self.switch(run_id, version, cut)
        request = agent_pb2.CutRequest(run_id=run_id, version=version)
        self.wait(run_id, lambda status: status.ended_below >= first)
        for host in HOSTS:
            self.stub[host].ReleaseCut(request, timeout=10)
        return first

    def wait_over(self, run_id: str, timeout_s: float = 30) -> agent_pb2.StatusReply:
        over = (agent_pb2.RUN_PHASE_DONE, agent_pb2.RUN_PHASE_FAILED)
        return self.wait(run_id, lambda status: status.phase in over, timeout_s)

    def finish(self, run_id: str, *hosts: str) -> None:
        for host in hosts or HOSTS:
            self.stub[host].Finish(agent_pb2.RunRequest(run_id=run_id), timeout=10)

    def whole_run(self, run_id: str, cut: Cut = (1, 8), **changes: dict[str, object]) -> Samples:
        self.prepare(run_id, cut, **changes)
        self.start(run_id)
        self.wait_over(run_id)
        self.finish(run_id)
        return self.samples(run_id)

    def samples(self, run_id: str, host: str = "client") -> Samples:
        return Samples(self._state[host] / "spool" / run_id / f"{host}.jsonl")


class Samples:
    """The lines of one samples file by kind."""

    def __init__(self, path: Path) -> None:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.header, self.footer = lines[0], lines[-1]
        assert self.header["kind"] == "header"
        assert self.footer["kind"] == "footer"
        self.lines = lines
        self.frames = self.of("frame")
        self.ends = self.of("end")

    def of(self, kind: str) -> list[dict[str, object]]:
        return [line for line in self.lines if line["kind"] == kind]

    def ended(self) -> Counter[tuple[str, str | None, str | None]]:
        return Counter((end["end"], end["end_host"], end["end_stage"]) for end in self.ends)

    def assert_conserved(self) -> None:
        """Every captured frame has one line for leaving and one end, and the footer agrees."""
        ids = list(range(self.footer["captured"]))
        assert sorted(end["frame_id"] for end in self.ends) == ids
        assert sorted(frame["frame_id"] for frame in self.frames) == ids
        by_end = Counter(end["end"] for end in self.ends)
        for name in ("completed", "dropped", "failed"):
            assert self.footer[name] == by_end[name]


def camera(**changes: object) -> agent_pb2.SourceConfig:
    usual = {"frames": 10, "frames_per_s": 100, "batch_size": 4, "seed": 7}
    return agent_pb2.SourceConfig(**(usual | changes))


def waits(
    places: int, policy: agent_pb2.QueuePolicy = agent_pb2.QUEUE_POLICY_NEWEST, *, messages: bool = False
) -> agent_pb2.QueueConfig:
    return agent_pb2.QueueConfig(places=places, policy=policy, messages=messages)


def make_agent(host: str, state: Path, *, tls: Path | None = None, model_bytes: int = 1 << 30) -> object:
    from slicebed_agent.rpc.flight import Security
    from slicebed_agent.server import Agent, Options

    security = Security.plaintext() if tls is None else Security.read(tls)
    agent = Agent(Options(host, "127.0.0.1:0", ("127.0.0.1:0",), security, state, model_bytes, grace_s=5.0))
    agent.start()
    return agent


@contextlib.contextmanager
def three_agents(
    model: Model, folder: Callable[[str], Path], tls: Callable[[str], Path] | None = None
) -> Iterator[Chain]:
    state = {host: folder(host) for host in HOSTS}
    agents = {host: make_agent(host, state[host], tls=tls(host) if tls else None) for host in HOSTS}
    made = Chain(
        model,
        {host: agent.control_port for host, agent in agents.items()},
        {host: agent.data_ports[0] for host, agent in agents.items()},
        state,
    )
    made.place(model)
    try:
        yield made
    finally:
        made.close()
        for agent in agents.values():
            agent.stop()


@pytest.fixture(scope="module")
def chain(cnn14: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with three_agents(cnn14, tmp_path_factory.mktemp) as made:
        yield made
