"""Agents in this process over real gRPC on loopback, all sharing one model."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest

from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from slicebed_agent.model.slices import Model

HOSTS = ("client", "edge", "cloud")
_NEXT = {"client": "edge", "edge": "cloud", "cloud": ""}


@pytest.fixture(scope="session")
def model() -> Model:
    from slicebed_agent.model import reference, runtime, slices

    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        runtime.tensorflow()
        loaded = slices.load("cnn14")
    reference.load("cnn14")
    return loaded


class Chain:
    """Three agents, wherever they run, and what the control machine does with them."""

    def __init__(self, control: dict[str, int], data: dict[str, int], state: dict[str, Path]) -> None:
        self.data, self._state = data, state
        self._channels = {host: grpc.insecure_channel(f"127.0.0.1:{port}") for host, port in control.items()}
        self.stub = {host: agent_pb2_grpc.ControlStub(channel) for host, channel in self._channels.items()}

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def config(self, host: str, run_id: str, cut: tuple[int, int] = (1, 8), **changes: object) -> agent_pb2.RunConfig:
        layers = {"client": (1, cut[0]), "edge": (cut[0] + 1, cut[1]), "cloud": (cut[1] + 1, 14)}[host]
        after = _NEXT[host]
        settings = {
            "run_id": run_id,
            "host": changes.pop("name", host),
            "model": "cnn14",
            "first_layer": layers[0],
            "last_layer": layers[1],
            "next_host": after,
            "next_address": f"127.0.0.1:{self.data[after]}" if after else "",
            "max_message_bytes": 500_000,
            "inbound_messages": 64,
            "outbound_frames": 16,
            "warm_batch": 4,
        }
        if host == "client":
            settings["source"] = agent_pb2.SourceConfig(
                frames=10, frames_per_s=100, batch_size=4, seed=7, queue_frames=16
            )
        return agent_pb2.RunConfig(**(settings | changes))

    def prepare(self, run_id: str, cut: tuple[int, int] = (1, 8), **changes: dict[str, object]) -> None:
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

    def wait_over(self, run_id: str, timeout_s: float = 30) -> agent_pb2.StatusReply:
        over = (agent_pb2.RUN_PHASE_DONE, agent_pb2.RUN_PHASE_FAILED)
        return self.wait(run_id, lambda status: status.phase in over, timeout_s)

    def finish(self, run_id: str, *hosts: str) -> None:
        for host in hosts or HOSTS:
            self.stub[host].Finish(agent_pb2.RunRequest(run_id=run_id), timeout=10)

    def whole_run(self, run_id: str, cut: tuple[int, int] = (1, 8), **changes: dict[str, object]) -> Samples:
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
        self.frames = [line for line in lines if line["kind"] == "frame"]
        self.ends = [line for line in lines if line["kind"] == "end"]

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


def make_agent(host: str, state: Path) -> object:
    from slicebed_agent.server import Agent, Options

    agent = Agent(Options(host, "127.0.0.1:0", ("127.0.0.1:0",), state, "cnn14", grace_s=5.0))
    agent.start()
    return agent


@pytest.fixture(scope="module")
def chain(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    state = {host: tmp_path_factory.mktemp(host) for host in HOSTS}
    agents = {host: make_agent(host, state[host]) for host in HOSTS}
    made = Chain(
        {host: agent.control_port for host, agent in agents.items()},
        {host: agent.data_ports[0] for host, agent in agents.items()},
        state,
    )
    yield made
    made.close()
    for agent in agents.values():
        agent.stop()
