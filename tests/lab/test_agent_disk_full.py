"""An agent whose disk is full: a small tmpfs in a mount namespace of its own takes its samples."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from slicebed_agent.model.files import Store
from slicebed_agent.model.load import open_model
from slicebed_agent.model.source import ModelSource
from slicebed_agent.rpc.v1 import agent_pb2, agent_pb2_grpc

pytestmark = pytest.mark.lab

AGENT = Path(__file__).parents[2] / "agent"
ROOM = "mount -t tmpfs -o size=64k none {spool} && exec {serve}"
QUEUE = agent_pb2.QueueConfig(places=1000, policy=agent_pb2.QUEUE_POLICY_NEWEST)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def cnn14(tmp_path_factory):
    return open_model(ModelSource("cnn14"), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def agents(tmp_path, cnn14):
    """Client and edge; the disk of the one that is asked for is small."""
    processes, channels = [], []

    def start(small):
        found = {}
        for host in ("edge", "client"):
            state = tmp_path / host
            (state / "spool").mkdir(parents=True)
            Store(state / "models").put(cnn14.path, cnn14.graph_sha256())
            control, data = _free_port(), _free_port()
            serve = f"{sys.executable} -m slicebed_agent serve --plaintext --host {host} --state-dir {state}"
            serve += f" --control 127.0.0.1:{control} --data 127.0.0.1:{data}"
            if host == small:
                argv = ["unshare", "--mount", "sh", "-c", ROOM.format(spool=state / "spool", serve=serve)]
            else:
                argv = serve.split()
            processes.append(subprocess.Popen(argv, env=os.environ | {"PYTHONPATH": str(AGENT)}))
            channels.append(grpc.insecure_channel(f"127.0.0.1:{control}"))
            stub = agent_pb2_grpc.ControlStub(channels[-1])
            stub.Describe(agent_pb2.DescribeRequest(), timeout=60, wait_for_ready=True)
            found[host] = (stub, data, state)
        return found

    yield start
    for channel in channels:
        channel.close()
    for process in processes:
        process.terminate()
        process.wait(20)


def _prepare(agents, cnn14, middle):
    card = cnn14.card
    names = [card.inputs[0].name, middle, card.layers[-1].outputs[0]]
    for place, host in ((1, "edge"), (0, "client")):
        part = agent_pb2.SliceConfig(
            model_sha256=cnn14.graph_sha256(), feeds=names[place : place + 1], fetches=names[place + 1 : place + 2]
        )
        config = agent_pb2.RunConfig(
            run_id="full", host=host, stages=[agent_pb2.StageConfig(name="slice", queue=QUEUE, slice=part)]
        )
        if host == "edge":
            config.previous_host = "client"
        else:
            config.source.CopyFrom(
                agent_pb2.SourceConfig(
                    frames=500, frames_per_s=200, batch_size=1, seed=1, images=agent_pb2.IMAGES_DIGITS
                )
            )
            config.source.check.model_sha256 = cnn14.graph_sha256()
            config.source.check.feeds.append(names[0])
            config.source.check.answer = names[-1]
            config.link.CopyFrom(
                agent_pb2.LinkConfig(
                    next_host="edge",
                    next_address=f"127.0.0.1:{agents['edge'][1]}",
                    codec=agent_pb2.CODEC_RAW,
                    queue=QUEUE,
                )
            )
        agents[host][0].Prepare(config, timeout=60)


@pytest.mark.parametrize("small", ["client", "edge"])
def test_a_full_disk_fails_the_run_by_name_and_keeps_the_account(agents, cnn14, small):
    found = agents(small)
    _prepare(found, cnn14, cnn14.card.layers[7].outputs[0])
    stub = found["client"][0]
    request = agent_pb2.RunRequest(run_id="full")
    stub.Start(request, timeout=10)
    deadline = time.monotonic() + 30
    while (status := stub.Status(request, timeout=5)).phase != agent_pb2.RUN_PHASE_FAILED:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    assert status.error == f"{small}: agent: samples cannot be written: No space left on device"
    assert (status.error_host, status.error_stage) == (small, "agent")
    for host in ("client", "edge"):
        found[host][0].Finish(request, timeout=20)
    status = stub.Status(request, timeout=5)
    assert status.completed > 0
    assert status.captured == status.completed + status.dropped + status.failed < 500
    if small == "edge":
        lines = (found["client"][2] / "spool" / "full" / "client.jsonl").read_text().splitlines()
        ends = [line for line in map(json.loads, lines) if line["kind"] == "end"]
        assert len(ends) == status.captured
