"""Model files through real SSH to real agents, and a model that the agent image freezes where TensorFlow is not."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from graphdef_writer import like_nasnet
from lab_machine import why_not
from slicebed_command import slicebed
from ssh_hosts import ssh_hosts
from without_tensorflow import WithoutTensorflow

from slicebed.errors import RunError
from slicebed.run.connection import HostConnection
from slicebed.run.model_files import place_model
from slicebed.split.obtain import obtain_model
from slicebed.testbed.checkout import find_checkout
from slicebed.testbed.image import read_image_facts
from slicebed_agent.model.files import Store
from slicebed_agent.model.source import ModelSource
from slicebed_agent.rpc.v1 import agent_pb2

pytestmark = [pytest.mark.lab, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

NAMES = ("edge", "cloud")
LIMIT_BYTES = 100_000_000
# With so many a cell of like_nasnet has 2 MB.
CHANNELS = 512

KILLED_IN_THE_MIDDLE = """
import os, pickle, re, signal, sys
from slicebed.run.connection import HostConnection
from slicebed.run.model_files import place_model
from slicebed.split.model import open_source
from slicebed_agent.model.source import ModelSource

def say(text):
    sent_mb = int(re.match(r"sent (\\d+) of", text)[1])
    if sent_mb > 5:
        print(text, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

with HostConnection(pickle.loads(bytes.fromhex(sys.argv[1]))) as connection:
    place_model({"edge": connection}, open_source(ModelSource(sys.argv[2])), say)
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    with ssh_hosts(NAMES, tmp_path_factory.mktemp("hosts"), LIMIT_BYTES) as raised:
        yield raised


@pytest.fixture
def connections(hosts):
    with ExitStack() as stack:
        yield {name: stack.enter_context(HostConnection(host.inventory_host())) for name, host in hosts.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A frozen graph of so many cells, opened: 2 MB a cell, another file for every number."""
    folder = tmp_path_factory.mktemp("models")

    def make(cells):
        path = folder / f"net{cells}.pb"
        if not path.exists():
            path.write_bytes(b"".join(like_nasnet(cells, CHANNELS, content=True)))
        return obtain_model(ModelSource(str(path)), image=None, say=lambda _: None)

    return make


def has(connection, opened):
    file = agent_pb2.ModelFile(sha256=opened.frozen.graph_sha256(), size_bytes=opened.frozen.card.graph_bytes)
    return connection.control.HasModel(file, timeout=30).present


def partials(host):
    return list((host.state / "models").glob("*.partial"))


def test_a_model_comes_to_every_host_once(hosts, connections, model):
    opened, said = model(10), []
    first = place_model(connections, opened, said.append)
    assert first.sent == NAMES
    assert said
    for host in hosts.values():
        stored = Store(host.state / "models").path_of(first.sha256)
        with stored.open("rb") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == first.sha256
    said.clear()
    second = place_model(connections, opened, said.append)
    assert (second.sent, said) == ((), [])


def test_a_control_machine_that_dies_in_the_middle_leaves_no_half_file(hosts, connections, model):
    opened = model(30)
    host = pickle.dumps(hosts["edge"].inventory_host()).hex()
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_MIDDLE, host, opened.frozen.path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.endswith(" of net30 to edge\n")
    assert not has(connections["edge"], opened)
    deadline = time.monotonic() + 10
    while partials(hosts["edge"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    edge = {"edge": connections["edge"]}
    assert place_model(edge, opened, lambda _: None).sent == ("edge",)
    assert has(connections["edge"], opened)
    assert partials(hosts["edge"]) == []


def test_a_file_that_is_not_what_was_announced_is_refused(hosts, connections, model):
    opened = model(3)
    with opened.frozen.path.open("r+b") as stream:
        stream.seek(-1000, os.SEEK_END)
        stream.write(b"changed")
    announced = replace(opened, frozen=replace(opened.frozen, card=replace(opened.frozen.card, graph_sha256="0" * 64)))
    with pytest.raises(RunError, match=r"host (edge|cloud), stage model: .*the content's SHA-256 is"):
        place_model(connections, announced, lambda _: None)
    assert not any(has(connection, announced) for connection in connections.values())
    assert not any(partials(host) for host in hosts.values())


def test_old_models_make_room_and_the_one_that_a_slice_is_of_stays(hosts, connections, model):
    edge = {"edge": connections["edge"]}
    used = obtain_model(ModelSource("cnn14"), image=None, say=lambda _: None)
    place_model(edge, used, lambda _: None)
    whole = agent_pb2.RunConfig(
        run_id="whole",
        host="edge",
        previous_host="client",
        stages=[
            agent_pb2.StageConfig(
                name="slice",
                queue=agent_pb2.QueueConfig(places=1, policy=agent_pb2.QUEUE_POLICY_NEWEST),
                slice=agent_pb2.SliceConfig(
                    model_sha256=used.frozen.graph_sha256(), feeds=used.graph.inputs, fetches=used.graph.outputs
                ),
            )
        ],
    )
    edge["edge"].control.Prepare(whole, timeout=60)
    others = [model(cells) for cells in (12, 13, 14, 15)]
    for opened in others:
        place_model(edge, opened, lambda _: None)
    assert [has(edge["edge"], opened) for opened in others] == [False, True, True, True]
    assert has(edge["edge"], used)
    kept = [path for path in (hosts["edge"].state / "models").iterdir() if len(path.name) == 64]
    assert sum(path.stat().st_size for path in kept) <= LIMIT_BYTES


def test_the_agent_image_freezes_what_tensorflow_here_would(tmp_path):
    """On a control machine that has none: once, into the cache; and it says what is wrong with a file."""
    slicebed("image", "build", timeout=1200)
    reference = read_image_facts(find_checkout()).reference
    bare = WithoutTensorflow(tmp_path)
    found = bare.obtain("cnn14", reference)
    assert found["said"] == ["building cnn14 in the agent image: no TensorFlow here"]
    assert found["imported"] == []
    here = obtain_model(ModelSource("cnn14"), image=None, say=lambda _: None)
    assert found["graph_sha256"] == here.frozen.graph_sha256()
    again = bare.obtain("cnn14", None, PATH="")
    assert (again["path"], again["said"]) == (found["path"], [])
    broken = tmp_path / "broken.keras"
    broken.write_text("not a model")
    told = bare.obtain(broken, reference)
    assert told["kind"] == "SpecError"
    assert told["error"].startswith(f"{broken}: truncated, or no Keras model")
    running = subprocess.run(
        ["podman", "ps", "--all", "--quiet", "--filter", "name=slicebed-freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert running == ""
