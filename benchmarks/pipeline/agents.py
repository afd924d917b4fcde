"""Three real agents on this machine's loopback, and what the control machine does with them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from benchmarks.slicer.workers import BenchmarkError, environment

from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HOSTS: Final = ("client", "edge", "cloud")
_CHUNK_BYTES: Final = 1 << 20
_START_S: Final = 60.0
_CALL_S: Final = 120.0
_POLL_S: Final = 0.1
# Of proc_pid_stat(5), counted from the state.
_USER: Final = 11
_SYSTEM: Final = 12


@dataclass(frozen=True)
class Streamed:
    """A camera and what is between the stages.

    Attributes:
        frames: how many; 0: until the run is finished.
        rate: of the camera, frames per second.
        images: of the proto's enumeration.
        queue: places before every stage and link.
        policy: of these queues but the camera's.
        codec: of both links.
    """

    frames: int
    rate: float
    images: agent_pb2.Images
    queue: int = 4
    policy: agent_pb2.QueuePolicy = agent_pb2.QUEUE_POLICY_NEWEST
    codec: agent_pb2.Codec = agent_pb2.CODEC_RAW


class Trio:
    """Agents as processes; they end with the with block."""

    def __init__(self, folder: Path) -> None:
        """Start them; each says what it has to say into a file of the folder."""
        self._folder = folder
        self.data = {host: _free_port() for host in HOSTS}
        control = {host: _free_port() for host in HOSTS}
        self._stack = contextlib.ExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stub: dict[str, Any] = {}
        try:
            for host in HOSTS:
                self.processes[host] = self._start(host, control[host])
                channel = self._stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{control[host]}"))
                self.stub[host] = agent_pb2_grpc.ControlStub(channel)
            for host in HOSTS:
                self._wait(host)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, host: str, control: int) -> subprocess.Popen[bytes]:
        said = self._stack.enter_context((self._folder / f"{host}.log").open("wb"))
        argv = [sys.executable, "-m", "slicebed_agent", "serve", "--plaintext", "--host", host]
        argv += ["--control", f"127.0.0.1:{control}", "--data", f"127.0.0.1:{self.data[host]}"]
        argv += ["--state-dir", str(self._folder / host)]
        process = subprocess.Popen(argv, stdout=said, stderr=said, env=environment())
        self._stack.callback(_end, process)
        return process

    def _wait(self, host: str) -> None:
        begin = time.monotonic()
        while time.monotonic() - begin < _START_S:
            if self.processes[host].poll() is not None:
                break
            with contextlib.suppress(grpc.RpcError):
                if self.stub[host].Describe(agent_pb2.DescribeRequest(), timeout=5).tensorflow_version:
                    return
            time.sleep(_POLL_S)
        said = (self._folder / f"{host}.log").read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise BenchmarkError(f"the agent {host} does not serve: {''.join(said) or 'without a word'}")

    def place(self, path: Path, sha256: str) -> None:
        """Bring a model's file to every agent."""
        file = agent_pb2.ModelFile(sha256=sha256, size_bytes=path.stat().st_size)
        for stub in self.stub.values():
            if not stub.HasModel(file, timeout=_CALL_S).present:
                stub.PutModel(_chunks(file, path), timeout=_CALL_S)

    def prepare(self, run_id: str, sha256: str, boundaries: Sequence[tuple[str, ...]], asked: Streamed) -> None:
        """Give every agent its slice, from the last to the first."""
        slices = list(pairwise(boundaries))
        for number in reversed(range(len(HOSTS))):
            feeds, fetches = slices[number]
            config = agent_pb2.RunConfig(run_id=run_id, host=HOSTS[number], warm_batch=1)
            places = agent_pb2.QueueConfig(places=asked.queue, policy=asked.policy)
            before = agent_pb2.QueueConfig(places=asked.queue, policy=agent_pb2.QUEUE_POLICY_NEWEST)
            config.stages.append(
                agent_pb2.StageConfig(
                    name="slice",
                    queue=before if number == 0 else places,
                    slice=agent_pb2.SliceConfig(model_sha256=sha256, feeds=feeds, fetches=fetches),
                )
            )
            if number:
                config.previous_host = HOSTS[number - 1]
            if number + 1 < len(HOSTS):
                after = HOSTS[number + 1]
                address = f"127.0.0.1:{self.data[after]}"
                config.link.CopyFrom(
                    agent_pb2.LinkConfig(next_address=address, next_host=after, codec=asked.codec, queue=places)
                )
            if number == 0:
                config.source.CopyFrom(_source(sha256, boundaries, asked))
            self.stub[HOSTS[number]].Prepare(config, timeout=_CALL_S)

    def start(self, run_id: str) -> None:
        """Let the camera begin."""
        self.stub[HOSTS[0]].Start(agent_pb2.RunRequest(run_id=run_id), timeout=_CALL_S)

    def change(self, run_id: str, version: int, sha256: str, boundaries: Sequence[tuple[str, ...]]) -> int:
        """Make other slices ready and switch to them while the run goes on; the first frame that goes through them."""
        for number, (feeds, fetches) in reversed(list(enumerate(pairwise(boundaries)))):
            wanted = agent_pb2.SliceConfig(model_sha256=sha256, feeds=feeds, fetches=fetches)
            config = agent_pb2.CutConfig(run_id=run_id, version=version, slices={"slice": wanted})
            self.stub[HOSTS[number]].PrepareCut(config, timeout=_CALL_S)
        request = agent_pb2.CutRequest(run_id=run_id, version=version)
        first = int(self.stub[HOSTS[0]].SwitchCut(request, timeout=_CALL_S).first_frame_id)
        while self.status(run_id).ended_below < first:
            time.sleep(_POLL_S)
        for host in HOSTS:
            self.stub[host].ReleaseCut(request, timeout=_CALL_S)
        return first

    def status(self, run_id: str, host: str = HOSTS[0]) -> agent_pb2.StatusReply:
        """What an agent says of the run."""
        reply: agent_pb2.StatusReply = self.stub[host].Status(agent_pb2.RunRequest(run_id=run_id), timeout=_CALL_S)
        return reply

    def wait(self, run_id: str) -> agent_pb2.StatusReply:
        """Until every frame has ended.

        Raises:
            BenchmarkError: the run failed.
        """
        while True:
            for host in HOSTS:
                status = self.status(run_id, host)
                if status.phase == agent_pb2.RUN_PHASE_FAILED:
                    raise BenchmarkError(f"{host}: {status.error}")
                if host == HOSTS[0] and status.phase == agent_pb2.RUN_PHASE_DONE:
                    return status
            time.sleep(_POLL_S)

    def wait_completed(self, run_id: str, frames: int) -> None:
        """Until so many frames are answered.

        Raises:
            BenchmarkError: the run failed, or its camera ended before.
        """
        while (status := self.status(run_id)).completed < frames:
            if status.phase != agent_pb2.RUN_PHASE_RUNNING:
                raise BenchmarkError(f"{status.completed} of {frames} frames were answered: {status.error}")
            time.sleep(_POLL_S)

    def finish(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        """End the run; every agent's samples."""
        found = {}
        for host in HOSTS:
            self.stub[host].Finish(agent_pb2.RunRequest(run_id=run_id), timeout=_CALL_S)
            lines = (self._folder / host / "spool" / run_id / f"{host}.jsonl").read_text("utf-8").splitlines()
            found[host] = [json.loads(line) for line in lines]
        return found

    def resident_bytes(self) -> dict[str, int]:
        """Of each agent's process."""
        found = {}
        for host, process in self.processes.items():
            with open(f"/proc/{process.pid}/status", encoding="utf-8") as lines:  # noqa: PTH123 - of the kernel
                found[host] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
        return found

    def processor_s(self) -> float:
        """Processor time that all of them have used."""
        ticks = 0
        for process in self.processes.values():
            with open(f"/proc/{process.pid}/stat", encoding="utf-8") as line:  # noqa: PTH123 - of the kernel
                fields = line.read().rpartition(") ")[2].split()
            ticks += int(fields[_USER]) + int(fields[_SYSTEM])
        return ticks / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        """For a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they do."""
        self._stack.close()


def _source(sha256: str, boundaries: Sequence[tuple[str, ...]], asked: Streamed) -> agent_pb2.SourceConfig:
    source = agent_pb2.SourceConfig(
        frames=asked.frames, frames_per_s=asked.rate, batch_size=1, seed=1, images=asked.images
    )
    source.check.model_sha256 = sha256
    source.check.feeds.extend(boundaries[0])
    source.check.answer = boundaries[-1][0]
    return source


def _chunks(file: agent_pb2.ModelFile, path: Path) -> Iterator[agent_pb2.ModelChunk]:
    yield agent_pb2.ModelChunk(file=file)
    with path.open("rb") as stream:
        while data := stream.read(_CHUNK_BYTES):
            yield agent_pb2.ModelChunk(data=data)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
