"""Agents as processes of their own: stopped, killed, and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Chain, camera, make_agent, waits

from slicebed_agent.rpc import channel as channels
from slicebed_agent.rpc.v1 import agent_pb2

AGENT = Path(__file__).parents[3] / "agent"
STREAM = {"source": camera(frames=1000, frames_per_s=50), "queue": waits(4)}


def _environment():
    return os.environ | {"PYTHONPATH": str(AGENT)}


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "slicebed_agent", *arguments],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Process:
    """One agent in its own process, on ports that survive its restart."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.control, self.data = _free_ports(2)
        self.log = folder / "agent.log"

    def start(self) -> None:
        addresses = ["--control", f"127.0.0.1:{self.control}", "--data", f"127.0.0.1:{self.data}"]
        state = ["--state-dir", str(self.folder)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "slicebed_agent",
                    "serve",
                    "--plaintext",
                    "--host",
                    self.host,
                    *addresses,
                    *state,
                ],
                env=_environment(),
                stderr=log,
            )

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + 60
        while _health(self.control) != channels.SERVING:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def _health(port):
    with channels.open_channel(f"127.0.0.1:{port}") as channel:
        return channels.ask_health(channel, 1.0, wait=False)


def _free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@pytest.fixture(scope="module")
def processes(cnn14, tmp_path_factory):
    """Client and edge as processes; the cloud in this one."""
    started = {host: Process(host, tmp_path_factory.mktemp(host)) for host in ("client", "edge")}
    for one in started.values():
        one.start()
    cloud_state = tmp_path_factory.mktemp("cloud")
    cloud = make_agent("cloud", cloud_state)
    for one in started.values():
        one.wait_healthy()
    chain = Chain(
        cnn14,
        {host: one.control for host, one in started.items()} | {"cloud": cloud.control_port},
        {host: one.data for host, one in started.items()} | {"cloud": cloud.data_ports[0]},
        {host: one.folder for host, one in started.items()} | {"cloud": cloud_state},
    )
    chain.place(cnn14)
    yield started, chain
    chain.close()
    cloud.stop()
    for one in started.values():
        one.end()


def test_pythons_tensorflow_is_never_loaded_while_serving(processes):
    """Its libraries are; what only its Python package needs would cost every agent 290 MB."""
    started, chain = processes
    assert chain.whole_run("lean").footer["completed"] == 10
    for one in started.values():
        pid = one.process.pid
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "libtensorflow_cc.so" in maps
        assert "pywrap" not in maps
        status = Path(f"/proc/{pid}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < 300_000  # kB; about 170,000, and 790,000 with the package


def test_a_killed_middle_agent_is_named_and_the_next_run_works(processes):
    started, chain = processes
    chain.prepare("killed", client=STREAM)
    chain.start("killed")
    chain.wait("killed", lambda status: status.completed >= 5)
    started["edge"].process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    status = chain.wait_over("killed", timeout_s=10)
    assert time.monotonic() - killed < 2
    assert status.phase == agent_pb2.RUN_PHASE_FAILED
    assert (status.error_host, status.error_stage) == ("edge", "link")
    assert status.error.startswith("edge: link: ")
    chain.finish("killed", "client", "cloud")
    samples = chain.samples("killed")
    samples.assert_conserved()
    assert {end["end_host"] for end in samples.ends if end["end"] == "failed"} <= {"edge"}

    started["edge"].process.wait(10)
    started["edge"].start()
    started["edge"].wait_healthy()
    assert chain.whole_run("after-kill").footer["completed"] == 10


def test_a_stream_resumes_behind_a_killed_agent_that_comes_back(processes):
    """With time to reconnect: the edge is killed, started and prepared again; no frame is without an end."""
    started, chain = processes
    waiting = {"reconnect_s": 30.0}
    chain.prepare("resumed", client=STREAM | waiting, edge=waiting, cloud=waiting)
    chain.start("resumed")
    chain.wait("resumed", lambda status: status.completed >= 5)
    started["edge"].process.send_signal(signal.SIGKILL)
    started["edge"].process.wait(10)
    assert chain.switch("resumed", 1, (3, 8)) > 0
    started["edge"].start()
    started["edge"].wait_healthy()
    status = chain.status("resumed")
    assert status.phase == agent_pb2.RUN_PHASE_RUNNING
    assert not status.link.connected
    # It joins at the version that is in use now.
    chain.stub["edge"].Prepare(chain.config("edge", "resumed", (3, 8), version=1, **waiting), timeout=30)
    back = chain.wait("resumed", lambda now: now.completed >= status.completed + 10)
    assert back.link.reconnects >= 1
    chain.finish("resumed")
    samples = chain.samples("resumed")
    samples.assert_conserved()
    assert samples.ended().keys() <= {
        ("completed", None, None),
        ("failed", "edge", "link"),
        ("failed", "edge", "slice"),
        ("dropped", "client", "source"),
        ("dropped", "client", "outbound"),
    }
    # Of the seconds without an edge; whether a frame was just then on the link is chance.
    assert samples.ended()["dropped", "client", "source"] + samples.ended()["dropped", "client", "outbound"] > 0
    # Those that waited for the link have the old version, which the edge no longer knows.
    old = {end["end_reason"] for end in samples.ends if end["end_stage"] == "slice"}
    assert old <= {"slice: version 0 of the cut is not on this host"}
    completed = [end["frame_id"] for end in samples.ends if end["end"] == "completed"]
    assert completed == sorted(completed)
    assert [line["event"] for line in samples.of("link")] == ["broken", "reopened"]
    assert all(end["labels_equal"] == 4 for end in samples.ends if end["end"] == "completed")


def test_a_stopped_middle_agent_keeps_its_samples_and_says_why(processes):
    started, chain = processes
    chain.prepare("stopped", client=STREAM)
    chain.start("stopped")
    chain.wait("stopped", lambda status: status.completed >= 5)
    started["edge"].process.terminate()
    assert started["edge"].process.wait(15) == 0, started["edge"].log.read_text()
    status = chain.wait_over("stopped", timeout_s=5)
    assert status.phase == agent_pb2.RUN_PHASE_FAILED
    assert "edge" in status.error
    assert "the agent was stopped" in status.error
    chain.finish("stopped", "client", "cloud")
    chain.samples("stopped").assert_conserved()
    chain.samples("stopped", "edge")
    started["edge"].start()
    started["edge"].wait_healthy()


def test_a_stopped_first_agent_loses_no_sample(processes):
    started, chain = processes
    chain.prepare("drained", client=STREAM)
    chain.start("drained")
    chain.wait("drained", lambda status: status.completed >= 5)
    started["client"].process.terminate()
    assert started["client"].process.wait(15) == 0, started["client"].log.read_text()
    samples = chain.samples("drained")
    samples.assert_conserved()
    assert samples.footer["completed"] >= 5
    assert samples.footer["failed"] == 0
    assert _health(started["client"].control) == "UNAVAILABLE"
    chain.finish("drained", "edge", "cloud")
    assert chain.samples("drained", "cloud").footer["completed"] == samples.footer["completed"]


def test_a_model_is_frozen_on_demand(cnn14):
    done = _run("freeze", "cnn14", "--cache", str(cnn14.path.parents[1]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "graph_sha256": cnn14.sha256,
        "bytes": cnn14.path.stat().st_size,
        "name": "cnn14",
        "weights": "trained",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cnn15"], "error: model: no model 'cnn15' in the zoo"),
        (["cnn14", "--input-shape", "28,x"], "no shape in '28,x'"),
        (["cnn14", "--weights", "no.npz"], "error: no.npz: no such file of weights"),
    ],
)
def test_what_cannot_be_frozen_is_one_line(tmp_path, arguments, says):
    done = _run("freeze", "--cache", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.pb"))


def test_a_head_that_is_no_graph_file_is_refused_before_any_work():
    done = _run("train-exit", "cnn14", "--after", "3", "--out", "head.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: head.txt: a head is a frozen graph; give a name that ends in .pb\n"


def test_a_store_of_nothing_is_refused(tmp_path):
    where = ["--control", "127.0.0.1:0", "--data", "127.0.0.1:0", "--state-dir", str(tmp_path)]
    done = _run("serve", "--plaintext", "--host", "h", *where, "--model-bytes", "0")
    assert done.returncode == 2
    assert "--model-bytes" in done.stderr


@pytest.mark.parametrize("protection", [[], ["--plaintext", "--tls", "somewhere"]], ids=["none", "both"])
def test_the_data_plane_is_protected_or_said_not_to_be(tmp_path, protection):
    where = ["--control", "127.0.0.1:0", "--data", "127.0.0.1:0", "--state-dir", str(tmp_path)]
    done = _run("serve", "--host", "h", *where, *protection)
    assert done.returncode == 2
    assert "--tls" in done.stderr
    assert "--plaintext" in done.stderr


def test_a_missing_certificate_is_one_line(tmp_path):
    where = ["--control", "127.0.0.1:0", "--data", "127.0.0.1:0", "--state-dir", str(tmp_path)]
    done = _run("serve", "--host", "h", *where, "--tls", str(tmp_path))
    assert done.returncode == 2
    assert f"error: {tmp_path}/ca.pem: cannot be read: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_control_beyond_this_host_is_refused(tmp_path):
    where = ["--control", "0.0.0.0:7070", "--data", "127.0.0.1:0", "--state-dir", str(tmp_path)]
    done = _run("serve", "--plaintext", "--host", "h", *where)
    assert done.returncode == 2
    assert "error: --control: Control may not listen on 0.0.0.0:7070" in done.stderr


def test_a_taken_port_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
        where = ["--control", "127.0.0.1:0", "--data", address, "--state-dir", str(tmp_path)]
        done = _run("serve", "--plaintext", "--host", "h", *where)
    assert done.returncode == 1
    assert f"error: {address}: cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_health_tells_that_nobody_is_there():
    done = _run("health", "--control", f"127.0.0.1:{_free_ports(1)[0]}")
    assert (done.returncode, done.stdout) == (1, "UNAVAILABLE\n")


def test_version_is_printed():
    from slicebed_agent import __version__

    assert _run("version").stdout == f"{__version__}\n"


def test_no_import_but_the_models_first_use_brings_tensorflow():
    code = (
        "import sys, slicebed_agent, slicebed_agent.__main__, slicebed_agent.server, slicebed_agent.pipeline.run,"
        " slicebed_agent.model.held, slicebed_agent.model.codec, slicebed_agent.model.train\n"
        "found = sorted(name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'keras', 'sklearn'))\n"
        "sys.exit(found[0] if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_training_without_scikit_learn_says_what_to_install(monkeypatch):
    from slicebed_agent.errors import AgentConfigError
    from slicebed_agent.model import train

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(AgentConfigError, match=r"install slicebed\[train\]"):
        train.train(seed=1, epochs=1)
