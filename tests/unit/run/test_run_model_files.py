"""A model's file on its way to the hosts' agents, over real gRPC on loopback."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from slicebed.errors import RunError
from slicebed.run.model_files import place_model
from slicebed_agent.control import Control
from slicebed_agent.model.files import Store
from slicebed_agent.rpc import channel as channels
from slicebed_agent.rpc.flight import Security
from slicebed_agent.rpc.v1 import agent_pb2_grpc

HOSTS = ("client", "edge", "cloud")
SIZE_BYTES = (12 << 20) + 12345
LIMIT_BYTES = 1 << 30


class Agent(Control):
    """An agent's Control that can be made to stop listening in the middle of a file."""

    def __init__(self, host, folder, limit_bytes):
        super().__init__(host, folder, limit_bytes, Security.plaintext())
        self.received = []
        self.hold_at = None
        self.held, self.gate = threading.Event(), threading.Event()

    def PutModel(self, request_iterator, context):  # noqa: N802 - the proto names it
        return super().PutModel(self._watched(request_iterator), context)

    def _watched(self, messages):
        self.received.append(0)
        for message in messages:
            if self.hold_at is not None and self.received[-1] >= self.hold_at:
                self.held.set()
                assert self.gate.wait(20)
            self.received[-1] += len(message.data)
            yield message


class Host:
    """An agent over gRPC, as a held connection shows it."""

    def __init__(self, name, folder, limit_bytes):
        self.folder = folder
        self.agent = Agent(name, folder, limit_bytes)
        self.store = Store(folder / "models")
        self._server = channels.make_server(8)
        agent_pb2_grpc.add_ControlServicer_to_server(self.agent, self._server)
        self._channel = channels.open_channel(f"127.0.0.1:{channels.bind(self._server, '127.0.0.1:0')}")
        self._server.start()
        self.control = agent_pb2_grpc.ControlStub(self._channel)

    def container_state(self):
        return "container running"

    def kill(self):
        self._server.stop(None).wait()

    def close(self):
        self.agent.gate.set()
        self._channel.close()
        self.kill()

    def files(self):
        return sorted(path.name for path in self.store.folder.iterdir()) if self.store.folder.exists() else []


@pytest.fixture
def host(tmp_path):
    with ExitStack() as stack:

        def make(name="edge", limit_bytes=LIMIT_BYTES):
            made = Host(name, tmp_path / name, limit_bytes)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def hosts(host):
    return {name: host(name) for name in HOSTS}


@pytest.fixture
def model(tmp_path):
    """A file of any content: what is in it is nothing to who carries it."""

    def make(content=None, *, name="net"):
        content = os.urandom(SIZE_BYTES) if content is None else content
        path = tmp_path / f"{name}.pb"
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        card = SimpleNamespace(graph_bytes=len(content))
        return SimpleNamespace(
            name=name, sha256=sha256, frozen=SimpleNamespace(path=path, card=card, graph_sha256=lambda: sha256)
        )

    return make


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refused(connections, opened):
    with pytest.raises(RunError) as caught:
        place_model(connections, opened, lambda _: None)
    return str(caught.value)


def test_the_file_comes_to_every_host_and_the_second_time_nothing_is_sent(hosts, model):
    opened = model()
    first = place_model(hosts, opened, lambda _: None)
    assert (first.sha256, first.size_bytes, first.sent) == (opened.sha256, SIZE_BYTES, HOSTS)
    assert set(first.seconds) == set(HOSTS)
    assert all(seconds > 0 for seconds in first.seconds.values())
    for each in hosts.values():
        assert each.store.get(opened.sha256).read_bytes() == opened.frozen.path.read_bytes()
    second = place_model(hosts, opened, lambda _: None)
    assert second.sent == ()
    assert all(each.agent.received == [SIZE_BYTES] for each in hosts.values())


def test_only_the_host_that_lacks_it_is_sent_it(hosts, model):
    opened = model()
    place_model({"edge": hosts["edge"]}, opened, lambda _: None)
    assert place_model(hosts, opened, lambda _: None).sent == ("client", "cloud")
    assert hosts["edge"].agent.received == [SIZE_BYTES]


def test_it_says_how_much_is_sent(hosts, model):
    cloud, sent_mb = hosts["cloud"].agent, []
    cloud.hold_at = 12 << 20

    def say(text):
        sent_mb.append(int(re.fullmatch(r"sent (\d+) of 38 MB of net to client, edge, cloud", text)[1]))
        # The cloud has not taken the last bytes yet: they are sent, and the transfer is not over.
        if sent_mb[-1] == 38:
            cloud.gate.set()

    place_model(hosts, model(), say)
    assert sent_mb == sorted(sent_mb)
    assert sent_mb[-1] == 38


def test_a_host_that_goes_in_the_middle_is_named_and_the_others_are_left_whole(hosts, model):
    opened = model()
    for name in ("edge", "cloud"):
        hosts[name].agent.hold_at = 4 << 20
    said = []
    waiting = threading.Thread(target=lambda: said.append(refused(hosts, opened)))
    waiting.start()
    assert hosts["edge"].agent.held.wait(20)
    assert hosts["cloud"].agent.held.wait(20)
    wait_until(lambda: hosts["client"].store.get(opened.sha256))
    threading.Timer(0.2, hosts["edge"].agent.gate.set).start()
    hosts["edge"].kill()
    waiting.join(20)
    assert said[0].startswith("host edge, stage model: the file of net was not taken (")
    assert "container running" in said[0]
    hosts["cloud"].agent.gate.set()
    for name in ("edge", "cloud"):
        wait_until(lambda folder=hosts[name]: folder.files() == [])
    assert place_model({"cloud": hosts["cloud"]}, opened, lambda _: None).sent == ("cloud",)
    assert place_model({"client": hosts["client"]}, opened, lambda _: None).sent == ()


def test_a_host_without_an_agent_is_named(hosts, model):
    hosts["cloud"].kill()
    opened = model()
    assert "host cloud, stage model: " in refused(hosts, opened)
    assert hosts["client"].agent.received == []


def test_a_file_that_is_not_what_its_name_says_is_refused(hosts, model):
    opened = model()
    opened.frozen.path.write_bytes(os.urandom(SIZE_BYTES))
    assert "the content's SHA-256 is" in refused(hosts, opened)
    wait_until(lambda: not any(each.files() for each in hosts.values()))


def test_a_file_that_has_become_shorter_or_longer_is_refused(hosts, model):
    for change, told in ((-100, f"{SIZE_BYTES} bytes were announced"), (100, "more came")):
        opened = model()
        os.truncate(opened.frozen.path, SIZE_BYTES + change)
        assert told in refused(hosts, opened)
    wait_until(lambda: not any(each.files() for each in hosts.values()))


def test_a_file_that_is_gone_is_told(hosts, model):
    opened = model()
    opened.frozen.path.unlink()
    assert "it cannot be read here: [Errno 2] No such file" in refused(hosts, opened)


def test_a_model_larger_than_the_agents_limit_is_refused(host, model):
    assert "--model-bytes" in refused({"edge": host(limit_bytes=1 << 20)}, model())


def test_old_models_make_room_and_one_in_use_stays(host, model):
    edge = host(limit_bytes=SIZE_BYTES * 2)
    models = [model(name=f"net{number}") for number in range(4)]
    place_model({"edge": edge}, models[0], lambda _: None)
    with edge.store.use(models[0].sha256):
        for each in models[1:]:
            place_model({"edge": edge}, each, lambda _: None)
        kept = [each.name for each in models if edge.store.get(each.sha256)]
    assert kept == ["net0", "net3"]


def test_a_host_that_takes_nothing_is_told(host, model, monkeypatch):
    monkeypatch.setattr("slicebed.run.model_files._STALL_S", 0.5)
    edge = host()
    edge.agent.hold_at = 0
    # More than what the windows on the way hold.
    assert "nothing moved for" in refused({"edge": edge}, model(os.urandom(80 << 20)))
