"""Conditions of hosts and links through the command line: planned, applied, measured, watched and taken back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from measured import measured
from slicebed_command import REPOSITORY, SLICEBED, by_hand, on, slicebed

from slicebed import lab
from slicebed.errors import ProvisionError
from slicebed.spec.testbed import load_testbed
from slicebed.testbed.channel import open_channel, open_channels
from slicebed.testbed.checkout import Checkout
from slicebed.testbed.inventory import read_inventory
from slicebed.testbed.sweep import change_conditions
from slicebed.testbed.target import load_target

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="raises namespace hosts: needs root"),
    pytest.mark.timeout(900),
]

TESTBED = """
name: conditions_test
hosts:
  near: {role: client, cores: [0], memory: 256 MiB, cpu_quota: 0.5}
  far: {role: cloud, memory: 512 MiB}
links:
  - {between: [near, far], rtt: 10 ms, rate: 20 Mbit/s}
lab:
  management: 10.195.0.0/24
  data: 10.194.0.0/16
"""
INVENTORY = REPOSITORY / "inventory/lab/hosts.yml"
HOSTS = ("near", "far")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("testbed") / "testbed.yml"
    path.write_text(TESTBED)
    return path


@pytest.fixture(scope="module")
def raised(spec):
    if lab.status().health is not lab.Health.DOWN:
        pytest.fail("a lab is up on this machine and these tests would take it down: run slicebed lab down first")
    lab.up(load_testbed(spec), root=REPOSITORY)
    yield
    lab.down(root=REPOSITORY)


@pytest.fixture
def untouched(raised, spec):
    """The lab without any condition, and the same again afterwards."""
    before = machine_state()
    yield before
    put_back(spec)
    assert machine_state() == before


@pytest.fixture
def applied(untouched, spec):
    """The testbed's conditions, over held channels; they go with `untouched`."""
    if not on("near", "sh", "-c", "ls -d /opt/slicebed 2>/dev/null || true"):
        slicebed("apply", "-t", spec, "--only", "workload", "--no-verify")
    target = load_target(Checkout(REPOSITORY), spec, INVENTORY)
    with open_channels(target.hosts) as channels:
        change_conditions(channels, target.asked({}))
    return untouched


def put_back(spec):
    """As `slicebed restore`, which has a test of its own, without the seconds that a playbook takes."""
    target = load_target(Checkout(REPOSITORY), spec, INVENTORY)
    if on("near", "sh", "-c", "ls -d /opt/slicebed 2>/dev/null || true"):
        with open_channels(target.hosts) as channels:
            for channel in channels.values():
                channel.call("restore", {}, 60)
    if is_tap():
        lab.set_wire("near", "far", forward=lab.WireSetting(), backward=lab.WireSetting())


STATE_OF_HOST = """
for what in qdisc class filter; do for dev in $(ls /sys/class/net); do tc -j $what show dev $dev; done; done
echo ---
ls /sys/class/net
echo ---
ls /var/lib/slicebed/conditions 2>/dev/null || true
"""


def machine_state():
    """Everything that a restore must put back, to the byte."""
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda host: on(host, "sh", "-c", STATE_OF_HOST), HOSTS))
    traffic, devices, saved = zip(*(each.split("---\n") for each in told), strict=True)
    return {
        **dict(zip(HOSTS, traffic, strict=True)),
        "devices": devices,
        "groups": sorted(name for name, _, _ in os.walk("/sys/fs/cgroup") if "slicebed." in name),
        "wires": [json.dumps(asdict_wire(lab.read_wire("near", "far")))] if is_tap() else [],
        "saved": saved,
    }


def is_tap():
    return "wire: tap" in INVENTORY.read_text()


def asdict_wire(reading):
    return [reading.forward.to_plain(), reading.backward.to_plain()]


def edit_rate_of_near(rate):
    """What somebody does behind Slicebed's back."""
    on("near", *f"tc class change dev to-far parent 5b1d: classid 5b1d:10 htb rate {rate}".split())


def ask(*arguments, check=True):
    return json.loads(slicebed(*arguments, "--json", check=check).stdout)


def test_a_plan_names_every_change_and_leaves_nothing_on_a_host_that_never_saw_slicebed(untouched, spec):
    planned = ask("plan", "-t", spec)["changes"]
    assert {"host", "part", "where", "what", "now", "wanted"} == set(planned[0])
    found = {(row["host"], row["what"], row["wanted"]) for row in planned}
    assert ("near", "rate_bit_per_s", 20_000_000) in found
    assert any(row["what"] == "delay_us" and row["wanted"] == 5000 for row in planned)
    assert {row["part"] for row in planned} == {"network", "workload"}
    for host in HOSTS:
        assert on(host, "sh", "-c", "ls -d /opt/slicebed /tmp/slicebed-plan-* 2>/dev/null || true") == ""
    assert machine_state() == untouched


def test_apply_does_what_was_planned_and_the_second_time_nothing(untouched, spec):
    planned = ask("plan", "-t", spec)
    applied = ask("apply", "-t", spec, "--no-verify")
    assert applied["changes"] == planned["changes"]
    assert sum(applied["writes"].values()) > 0
    again = ask("apply", "-t", spec, "--no-verify")
    assert (again["changes"], sum(again["writes"].values())) == ([], 0)
    assert ask("plan", "-t", spec)["changes"] == []
    assert ask("drift", "-t", spec)["changes"] == []


@measured
def test_what_is_applied_is_measured_and_passes(untouched, spec):
    done = slicebed("apply", "-t", spec, "--json")
    verdicts = {(row["link"], row["quantity"]): row for row in json.loads(done.stdout)["verdicts"]}
    assert all(row["passed"] for row in verdicts.values())
    assert verdicts["near -> far", "rtt_ms"]["asked"] == 10
    assert verdicts["near -> far", "rtt_ms"]["base_ms"] < 2
    assert verdicts["far -> near", "goodput_mbit_per_s"]["samples"] > 1
    assert verdicts["near", "cpu_quota"]["measured"] == pytest.approx(0.5, rel=0.05)
    assert verdicts["near", "memory_bytes"]["measured"] == 256 * 1024**2
    assert verdicts["near", "cores"]["passed"]


@measured
def test_verify_fails_on_a_link_that_is_not_as_asked(applied, spec):
    edit_rate_of_near("9mbit")
    done = slicebed("verify", "-t", spec, "--only", "network", "--json", check=False)
    assert done.returncode == 6
    failed = [row for row in json.loads(done.stdout)["verdicts"] if not row["passed"]]
    assert [(row["link"], row["quantity"]) for row in failed] == [("near -> far", "goodput_mbit_per_s")]
    assert failed[0]["measured"] == pytest.approx(8.6, rel=0.1)


def test_drift_names_what_somebody_changed_and_apply_repairs_only_that(applied, spec):
    edit_rate_of_near("3mbit")
    done = slicebed("drift", "-t", spec, "--json", check=False)
    assert done.returncode == 6
    (change,) = json.loads(done.stdout)["changes"]
    assert (change["host"], change["what"], change["now"], change["wanted"]) == (
        "near", "rate_bit_per_s", 3_000_000, 20_000_000,
    )  # fmt: skip
    repaired = ask("apply", "-t", spec, "--no-verify")
    assert repaired["changes"] == [change]
    assert sum(repaired["writes"].values()) == 1


@pytest.mark.parametrize("seed", range(2))
def test_an_apply_that_is_killed_is_restored_exactly(untouched, spec, seed):
    running = subprocess.Popen(
        [SLICEBED, "apply", "-t", spec, "--no-verify"],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(seed).uniform(3, 12))
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    slicebed("restore", "-t", spec)
    assert machine_state() == untouched


def test_parts_are_restored_one_by_one(applied, spec):
    slicebed("restore", "-t", spec, "--only", "network")
    assert machine_state()["near"] == applied["near"]
    assert machine_state()["groups"] != applied["groups"]
    changed = ask("plan", "-t", spec)["changes"]
    assert {row["part"] for row in changed} == {"network"}
    restored = ask("restore", "-t", spec)
    assert {row["part"] for row in restored["changes"]} == {"workload"}
    assert ask("restore", "-t", spec)["changes"] == []
    assert machine_state() == applied


@pytest.mark.parametrize(
    ("wish", "line", "said"),
    [
        (("cores: [0]", "online_cores: 999"), 4, "online_cores 999 is more than this machine has; allowed: 1 to"),
        (("memory: 512 MiB", "memory: 4000 GiB"), 5, "cannot be had; allowed:"),
        (("rate: 20 Mbit/s", "rate: 0 Mbit/s"), 7, "allowed: 8 kbit/s to"),
        (("rtt: 10 ms", "rtt: 10 ms, jitter: 11 ms"), 7, "jitter"),
        (("[near, far]", "[near, nowhere]"), 7, 'unknown host "nowhere"'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_plan_with_its_line_and_what_is_allowed(untouched, tmp_path, wish, line, said):
    path = tmp_path / "impossible.yml"
    path.write_text(TESTBED.replace(*wish))
    done = slicebed("plan", "-t", path, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{path}:{line}:" in done.stderr
    assert said in done.stderr
    assert machine_state() == untouched


def test_a_delay_that_no_host_can_hold_is_refused_on_its_line(untouched, spec, tmp_path):
    """As on real machines whose kernel has no netem: nothing falls back in silence."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY.read_text().replace("wire: tap", "wire: netem"))
    done = slicebed("apply", "-t", spec, "-i", inventory, "--only", "network", "--no-verify", check=False)
    if done.returncode:
        assert done.returncode == 2
        assert f"{spec}:7: host" in done.stderr
        assert "sch_netem" in done.stderr


def test_the_way_in_is_never_shaped_unless_asked_and_then_comes_back(applied, spec):
    host = read_inventory(INVENTORY)["near"]
    # Eight bits a second with room for one packet: as good as losing all.
    cut = {"rate_bit_per_s": 8, "queue_packets": 1}
    link = {"peer": "control", "peer_address": "10.195.0.1", "interface": "mgmt", "condition": cut}
    wish = {"host": "near", "network": {"links": [link]}}
    with open_channel(host) as channel:
        with pytest.raises(ProvisionError, match="where the SSH connection to this host comes from"):
            channel.call("plan", {"wish": wish}, 30)
        wish["network"]["shape_control_path"] = True
        assert channel.call("plan", {"wish": wish}, 30)["at_risk"]
        # The bucket's first tokens may still carry the answer.
        with suppress(ProvisionError):
            channel.call("apply", {"wish": wish, "confirm_within_s": 15}, 4)
    begun = time.monotonic()
    with pytest.raises(ProvisionError, match="no SSH connection"), open_channel(host):
        pass
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with open_channel(host) as channel:
                assert channel.call("summary", {}, 30)["changed_parts"] == []
                break
        except ProvisionError:
            time.sleep(0.5)
    assert time.monotonic() - begun < 60
    assert "restored" in on("near", "cat", "/run/slicebed/deadman.log")


def test_a_confirmation_needs_a_fresh_connection_and_then_the_condition_stays(applied):
    host = read_inventory(INVENTORY)["near"]
    link = {
        "peer": "control",
        "peer_address": "10.195.0.77",
        "interface": "mgmt",
        "condition": {"rate_bit_per_s": 10**7},
    }
    with open_channel(host) as channel:
        outcome = channel.call(
            "apply", {"wish": {"host": "near", "network": {"links": [link]}}, "confirm_within_s": 5}, 30
        )
        with pytest.raises(ProvisionError, match="fresh SSH connection"):
            channel.call("confirm", {"token": outcome["token"]}, 30)
        with open_channel(host) as fresh:
            fresh.call("confirm", {"token": outcome["token"]}, 30)
        time.sleep(6)
        assert channel.call("summary", {}, 30)["changed_parts"] == ["network", "workload"]


def test_conditions_change_over_held_channels_between_two_runs(applied, tmp_path):
    other = tmp_path / "other.yml"
    other.write_text(TESTBED.replace("rtt: 10 ms, rate: 20 Mbit/s", "rtt: 30 ms, rate: 10 Mbit/s"))
    target = load_target(Checkout(REPOSITORY), other, INVENTORY, frozenset({"network"}))
    with open_channels(target.hosts) as channels:
        changed = change_conditions(channels, target.asked({}))
        assert {name: outcome["writes"] for name, outcome in changed.items()} == {"near": 1, "far": 1}
        assert sum(outcome["writes"] for outcome in change_conditions(channels, target.asked({})).values()) == 0
    assert ask("plan", "-t", other, "--only", "network")["changes"] == []


def test_doctor_says_what_can_be_applied_and_why_not(untouched, spec):
    found = ask("doctor", "-t", spec)["hosts"]
    assert set(found) == set(HOSTS)
    by_name = {row["name"]: row for row in found["near"]}
    assert by_name["link.htb"]["available"]
    if not by_name["link.netem"]["available"]:
        assert "modprobe sch_netem" in by_name["link.netem"]["detail"]
    if not Path("/sys/devices/system/cpu/cpufreq/policy0").exists():
        assert not by_name["cpu.frequency"]["available"]


def test_the_playbooks_do_the_same_by_hand(untouched, spec):
    def played(playbook, *options):
        done = by_hand(playbook, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "rate_bit_per_s None -> 20000000" in played("condition.yml", "--check", "--diff")
    played("condition.yml")
    assert ask("plan", "-t", spec)["changes"] == []
    assert played("condition.yml").count("changed=0") == 2
    played("restore.yml")
