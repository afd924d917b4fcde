"""The main job on the embedded lab: real SSH, Ansible, containers, TensorFlow and frames, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
from measured import measured
from slicebed_command import REPOSITORY, SLICEBED, by_hand, on, slicebed
from small_graphs import classifier

HOSTS = ("client", "edge", "cloud")

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="no podman: run make setup"),
    pytest.mark.timeout(1200),
]

RATE = {"rate_bit_per_s": 7_000_000}
EXPERIMENT = """
name: {name}
testbed: {testbed}
model: {model}
chain: [client, edge, cloud]
frames: {frames}
source: {{rate: 8 frame/s, batch_size: 4, seed: 7, queue: 4}}
queues: {{inbound: 8, outbound: 4}}
repeats: 1
order: {{randomised: true, seed: 1}}
cuts: {cuts}
configurations:
  - name: near
    hosts:
      client: {{overhead_ratio: 1, latency: 2.5 ms, max_throughput: {limit} B}}
      edge: {{overhead_ratio: {overhead}, latency: 2.5 ms, max_throughput: {limit} B}}
      cloud: {{overhead_ratio: 1, latency: 10 ms, max_throughput: {limit} B}}
"""


@pytest.fixture
def start():
    begun = []

    def begin(*arguments):
        begun.append(_popen(*arguments))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def _popen(*arguments):
    return subprocess.Popen(
        [SLICEBED, *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
    )


@pytest.fixture
def experiment(tmp_path):
    def write(*, model="cnn14", frames=8, cuts=("3-8",), limit=500_000, overhead=1, name="small"):  # noqa: PLR0913 - an experiment has more
        path = tmp_path / f"{name}.yml"
        path.write_text(
            EXPERIMENT.format(
                name=name,
                testbed=REPOSITORY / "inventory" / "testbeds" / "lab.yml",
                model=model,
                frames=frames,
                cuts=json.dumps(list(cuts)),
                limit=limit,
                overhead=overhead,
            )
        )
        return path

    return write


def campaigns(results):
    return sorted(path.parent for path in results.glob("*/campaign.json"))


def wait_for(running, condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.1)


def frames_under_way(results):
    """True once a run's first samples are on the first host's disk."""
    found = [path.name for folder in campaigns(results) for path in folder.glob("*.partial")]
    if not found:
        return False
    name = f"{campaigns(results)[-1].name}.{found[0].removesuffix('.partial')}"
    spool = f"/var/lib/slicebed/agent/spool/{name}/client.jsonl"
    return '"end"' in on("client", "sh", "-c", f"cat {spool} 2>/dev/null || true")


def test_the_second_deploy_changes_nothing(testbed):
    recap = json.loads(slicebed("deploy", "--json").stdout)
    assert set(recap["ok"]) == set(HOSTS)
    assert sum(recap["changed"].values()) == 0


def test_check_mode_changes_nothing_and_says_what_would_change(testbed):
    before = slicebed("lab", "status", "--json").stdout
    wish = {"host": "client", "network": {"links": [{"peer": "edge", "peer_address": "10.198.0.2", "condition": RATE}]}}
    done = by_hand("site.yml", "--check", "--diff", "-e", json.dumps({"slicebed_wishes": {"client": wish}}))
    assert done.returncode == 0, done.stdout
    assert "rate_bit_per_s None -> 7000000" in done.stdout
    assert "changed=1" in done.stdout
    assert slicebed("lab", "status", "--json").stdout == before


def test_containers_have_their_limits_and_no_rights(testbed):
    status = on("edge", "podman", "exec", "slicebed-agent", "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["64071"] * 4
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Cpus_allowed_list"] == "1"
    facts = json.loads(on("edge", "podman", "container", "inspect", "slicebed-agent"))[0]
    # The limits are those of the control group above the container's own.
    assert "/slicebed.edge/" in on("edge", "cat", f"/proc/{facts['State']['Pid']}/cgroup")
    either = "cat /sys/fs/cgroup/memory/slicebed.edge/memory.limit_in_bytes /sys/fs/cgroup/slicebed.edge/memory.max"
    assert on("edge", "sh", "-c", f"{either} 2>/dev/null || true") == f"{2 * 1024**3}\n"
    assert facts["HostConfig"]["ReadonlyRootfs"] is True


def test_sliced_runs_answer_as_the_whole_model(testbed, experiment, tmp_path):
    results = tmp_path / "results"
    done = slicebed("run", experiment(cuts=("1-8", "3-11")), "--results", results, "--json")
    report = json.loads(done.stdout)
    assert {row["cut"] for row in report["rows"]} == {"1-8", "3-11"}
    assert report["wire"] in {"tap", "netem"}
    for row in report["rows"]:
        assert row["captured"] == row["completed"] + row["dropped"] + row["failed"] == 8
        assert row["completed"] > 0
        assert row["labels_equal_share"] == 1
        assert row["max_abs_error"] <= 1e-5
        assert row["accuracy"] > 0.9
    (campaign,) = campaigns(results)
    runs = sorted(path.parent for path in campaign.glob("*/manifest.json"))
    assert len(runs) == 2
    for run in runs:
        manifest = json.loads((run / "manifest.json").read_text())
        wan = next(link for link in manifest["links"] if link["b"] == "cloud")
        assert wan["passed"]
        assert abs(wan["median_rtt_ms"] - 25) <= 3
        assert manifest["versions"]["grpcio"]
        assert manifest["hosts"]["edge"]["tensorflow_version"]
        frames = pd.read_parquet(run / "samples.parquet")
        done_frames = frames[frames["end"] == "completed"]
        # Out and back over links of 5 and 12.5 ms one way: no frame can be faster than that.
        assert (done_frames["latency_ms"] > 35).all()
        assert len(pd.read_csv(run / "samples.csv")) == 8
    for host in HOSTS:
        assert "control port" in (campaign / "hosts" / host / "agent.log").read_text()
    assert list((campaign / "plots").glob("*.svg"))


def test_a_file_s_model_runs_cut_at_names_where_two_branches_lie_side_by_side(testbed, experiment, tmp_path):
    results, model = tmp_path / "results", classifier(tmp_path / "net.pb")
    cuts = (["stem", "body"], ["left_out+right", "flat"])
    spec = experiment(model=model.name, cuts=cuts, limit=2000, name="branches")
    report = json.loads(slicebed("run", spec, "--results", results, "--json", "--no-deploy").stdout)
    assert [row["split"] for row in report["rows"]] == ["stem - body", "left_out+right - flat"]
    for row in report["rows"]:
        assert row["completed"] + row["dropped"] == 8
        assert row["completed"] > 0
        assert row["labels_equal_share"] == 1
        assert row["accuracy"] is None
    (campaign,) = campaigns(results)
    manifests = [json.loads(path.read_text()) for path in campaign.glob("*/manifest.json")]
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    for manifest in manifests:
        assert manifest["model"] | {"name": "net", "graph_sha256": sha256, "weights": "file"} == manifest["model"]
        assert set(manifest["model"]["placement"]["sent"]) == set(HOSTS)
    (two,) = (manifest for manifest in manifests if manifest["cut"] == cuts[1])
    assert (
        [each["name"] for each in two["slices"][0]["outputs"]] == two["slices"][1]["feeds"] == ["left_out:0", "right:0"]
    )
    for host in HOSTS:
        assert on(host, "sha256sum", f"/var/lib/slicebed/agent/models/{sha256}").startswith(sha256)


@measured
def test_the_first_frame_finds_a_long_link_as_warm_as_the_last(testbed, experiment, tmp_path):
    far = experiment(cuts=("1-8",), frames=6)
    text = far.read_text().replace("latency: 2.5 ms", "latency: 50 ms").replace("latency: 10 ms", "latency: 100 ms")
    far.write_text(text.replace("rate: 8 frame/s", "rate: 1 frame/s"))
    slicebed("run", far, "--results", tmp_path / "results")
    (samples,) = (tmp_path / "results").glob("*/*/samples.parquet")
    latency_ms = pd.read_parquet(samples).sort_values("frame_id")["latency_ms"]
    # 0.35 MB over links of 0.2 and 0.3 s there and back: new connections take five round trips, not half a one.
    assert 500 < latency_ms.median() < 1000
    assert latency_ms.iloc[0] < 1.2 * latency_ms.median()


def test_small_parts_flood_the_queue_of_a_busy_host(testbed, experiment, tmp_path):
    """The same load, the same delays: only the limit on a message differs, and with it how many frames are lost."""
    rates = {}
    for limit in (500_000, 10_000):
        spec = experiment(frames=24, cuts=("1-8",), limit=limit, overhead=40, name=f"limit{limit}")
        report = json.loads(slicebed("run", spec, "--results", tmp_path / "results", "--json", "--no-deploy").stdout)
        (row,) = report["rows"]
        rates[limit] = row["frame_drop_rate"]
    assert rates[10_000] > rates[500_000]
    assert {"host": "edge", "stage": "inbound"}.items() <= row["dropped_where"][0].items()


def test_a_killed_agent_is_named_in_seconds_and_the_next_run_works(testbed, start, experiment, tmp_path):
    results = tmp_path / "results"
    spec = experiment(frames=400)
    running = start("run", spec, "--results", results, "--no-deploy")
    wait_for(running, lambda: frames_under_way(results), "frames")
    on("edge", "podman", "kill", "--signal", "KILL", "slicebed-agent")
    killed = time.monotonic()
    # The command also gathers the logs before it ends; the journal has the moment of the verdict.
    _, said = running.communicate(timeout=120)
    assert running.returncode == 7, said
    (campaign,) = campaigns(results)
    journal = [json.loads(line) for line in (campaign / "journal.jsonl").read_text().splitlines()]
    failed_at = pd.Timestamp(next(line["at"] for line in journal if line["event"] == "run_failed"))
    waited_s = (pd.Timestamp.now(tz="UTC") - failed_at).total_seconds()
    assert time.monotonic() - killed - waited_s < 10
    assert "host edge" in said
    assert "stage" in said
    (kept,) = campaign.glob("*.failed-1")
    manifest = json.loads((kept / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "edge" in manifest["error"]
    assert '"end"' in (kept / "hosts" / "client" / "samples.jsonl").read_text()
    report = json.loads(slicebed("run", experiment(), "--results", results, "--json").stdout)
    assert report["rows"][0]["completed"] > 0


def test_a_camera_that_is_stopped_early_is_no_result(testbed, start, experiment, tmp_path):
    results = tmp_path / "results"
    running = start("run", experiment(frames=400), "--results", results, "--no-deploy")
    wait_for(running, lambda: frames_under_way(results), "frames")
    on("client", "podman", "stop", "slicebed-agent")
    _, said = running.communicate(timeout=120)
    assert running.returncode == 7, said
    assert "host client" in said
    (kept,) = campaigns(results)[0].glob("*.failed-1")
    assert json.loads((kept / "manifest.json").read_text())["status"] == "failed"
    assert len(pd.read_parquet(kept / "samples.parquet")) > 0
    on("client", "podman", "start", "slicebed-agent")


def test_a_link_that_somebody_changes_during_a_run_spoils_it(testbed, start, experiment, tmp_path):
    results = tmp_path / "results"
    running = start("run", experiment(frames=40), "--results", results, "--no-deploy")
    wait_for(running, lambda: frames_under_way(results), "frames")
    slicebed("lab", "wire", "edge", "cloud", "--delay-us", "100000")
    _, said = running.communicate(timeout=120)
    assert running.returncode == 6, said
    found = re.search(r"link edge - cloud: asked 25\.0 ms round trip, measured ([0-9.]+) ms", said)
    assert found, said
    assert abs(float(found[1]) - 200) < 10
    assert list(campaigns(results)[0].glob("*.invalid-1"))


def test_resume_repeats_only_what_is_not_finished(testbed, start, experiment, tmp_path):
    results = tmp_path / "results"
    spec = experiment(frames=16, cuts=("1-8", "1-9", "3-8"))
    running = start("run", spec, "--results", results, "--no-deploy")
    wait_for(
        running,
        lambda: campaigns(results) and list(campaigns(results)[0].glob("*/manifest.json")),
        "the first run's end",
    )
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    (campaign,) = campaigns(results)
    whole = {path.parent.name: path.stat().st_mtime_ns for path in campaign.glob("*/manifest.json")}
    assert 1 <= len(whole) < 3
    slicebed("run", spec, "--results", results, "--no-deploy", "--resume")
    assert campaigns(results) == [campaign]
    runs = {path.parent.name: path.stat().st_mtime_ns for path in campaign.glob("*_r1/manifest.json")}
    assert len(runs) == 3
    assert {name: runs[name] for name in whole} == whole


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_control_c_keeps_what_is_measured_and_frees_the_agents(testbed, start, experiment, tmp_path, stop):
    results = tmp_path / "results"
    running = start("run", experiment(frames=400), "--results", results, "--no-deploy")
    wait_for(running, lambda: frames_under_way(results), "frames")
    running.send_signal(stop)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "--resume" in said
    (campaign,) = campaigns(results)
    assert list(campaign.glob("*.failed-1/hosts/client/samples.jsonl"))
    report = json.loads(slicebed("run", experiment(name="after"), "--results", results, "--json", "--no-deploy").stdout)
    assert report["rows"][0]["captured"] == 8


@pytest.mark.parametrize(
    ("cut", "says"),
    [("8-3", "edge cut (3) is not after"), (["stem", "bode"], "no split point is named 'bode'; the nearest are body")],
)
def test_a_wrong_experiment_touches_no_host(testbed, experiment, tmp_path, cut, says):
    results = tmp_path / "results"
    path = experiment(model="cnn14" if isinstance(cut, str) else classifier(tmp_path / "net.pb").name, cuts=(cut,))
    before = on("client", "ls", "/var/lib/slicebed/agent/spool")
    done = slicebed("run", path, "--results", results, check=False)
    assert done.returncode == 2
    assert f"{path}:11:" in done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not results.exists()
    assert on("client", "ls", "/var/lib/slicebed/agent/spool") == before
