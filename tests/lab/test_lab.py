"""The embedded lab on this machine: real namespaces, real sshd, real wires."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from lab_machine import FIVE, THREE, look, why_not

from slicebed import lab
from slicebed.errors import ConflictError
from slicebed.lab import checks, image_store, paths, processes
from slicebed.lab.login import ssh_arguments
from slicebed.lab.sweep import CGROUP_ROOT
from slicebed.spec.testbed import LabNetworks, load_testbed

pytestmark = [pytest.mark.lab, pytest.mark.skipif(why_not() is not None, reason=f"no lab here: {why_not()}")]


def on(host: str, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(ssh_arguments(host, command), capture_output=True, text=True, check=False, timeout=60)


def said(host: str, command: str) -> str:
    done = on(host, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rtt_ms(host: str, address: str) -> float:
    """The median time of an answer to a connection to a closed port: one round trip, and no program to install."""
    program = (
        "import socket,time,statistics\ntimes=[]\n"
        "for _ in range(9):\n"
        " s=socket.socket(); b=time.monotonic_ns(); s.settimeout(5)\n"
        f" s.connect_ex(('{address}',9)); times.append(time.monotonic_ns()-b); s.close()\n"
        "print(statistics.median(times)/1e6)"
    )
    return float(said(host, f'/usr/bin/python3 -c "{program}"'))


def test_three_hosts_are_three_machines(three):
    assert three.changed
    names = [host.name for host in three.plan.hosts]
    assert [said(name, "hostname") for name in names] == names == ["client", "edge", "cloud"]
    said("client", "echo mine > /srv/only-here; echo mine > /tmp/only-here; echo mine > /dev/shm/only-here")
    for place in ("/srv", "/tmp", "/dev/shm"):
        assert said("client", f"cat {place}/only-here") == "mine"
        assert on("edge", f"cat {place}/only-here").returncode != 0
        assert not Path(place, "only-here").exists()
    assert int(said("client", "ls -d /proc/[0-9]* | wc -l")) < 12
    assert said("edge", "ls /sys/class/net").split() == ["lo", "mgmt", "to-client", "to-cloud"]
    assert said("edge", "ls -A /root") == ".bashrc\n.profile\n.ssh"
    assert said("cloud", f"ls -A {paths.STATE_ROOT}") == ""
    assert "ssh_host_ed25519_key" in said("cloud", "ls /etc/ssh")
    keys = {said(name, "cat /etc/ssh/ssh_host_ed25519_key.pub") for name in names}
    assert len(keys) == 3


def test_a_zombie_is_reaped(three):
    # The parent of the sleeper ends at once, so the host's first process inherits it.
    said("client", "sh -c 'sleep 0.1 & exit 0'")
    deadline = time.monotonic() + 10
    while "sleep" in said("client", "cat /proc/[0-9]*/comm 2>/dev/null"):
        assert time.monotonic() < deadline


def test_up_twice_changes_nothing(three, tmp_path):
    before = look()
    again = lab.up(load_testbed(THREE), root=tmp_path)
    assert not again.changed
    assert look() == before


def test_down_twice_and_another_up(machine, tmp_path):
    for _ in range(2):
        lab.up(load_testbed(THREE), root=tmp_path)
        assert lab.down().anything
        assert look() == machine
        assert not lab.down().anything
    assert not (tmp_path / paths.INVENTORY_FILE).exists()
    assert look() == machine


def test_status_tells_of_a_host_that_died_and_up_mends_it(three, tmp_path):
    assert lab.status().health is lab.Health.UP
    inode = processes.namespace_inode(paths.NETNS_DIR / "sb-edge")
    inits = [pid for pid in processes.in_namespace(inode) if _comm(pid) == "catatonit"]
    assert len(inits) == 1
    os.kill(inits[0], signal.SIGKILL)
    found = lab.status()
    assert found.health is lab.Health.BROKEN
    assert [host.up for host in found.hosts] == [True, False, True]
    assert lab.up(load_testbed(THREE), root=tmp_path).changed
    assert lab.status().health is lab.Health.UP


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_status_as_json_names_wires_and_settings(three):
    found = lab.status().as_json()
    assert (found["state"], found["lab"]) == ("up", "lab")
    assert found["wire"] in {"tap", "netem"}
    assert [(host["name"], host["up"], host["address"]) for host in found["hosts"]][1] == ("edge", True, "10.199.0.3")
    assert all(host["processes"] >= 2 for host in found["hosts"])
    first = found["links"][0]
    assert first["between"] == ["client", "edge"]
    assert first["interfaces"] == ["to-edge", "to-client"]
    assert first["forward"] == {"delay_us": 0, "jitter_us": 0, "loss": 0.0, "rate_bit_per_s": None}


def test_a_wire_is_as_slow_as_it_is_set(three):
    slow = lab.WireSetting(delay_us=20_000)
    if three.plan.wire is not lab.WireKind.TAP:
        with pytest.raises(ConflictError, match="netem"):
            lab.set_wire("client", "edge", forward=slow, backward=slow)
        pytest.skip("this kernel has netem: the wires are set inside the hosts, by the role conditions")
    assert rtt_ms("client", "10.198.0.2") < 10
    change = lab.set_wire("client", "edge", forward=slow, backward=slow)
    assert change.changed
    assert change.before.forward == lab.WireSetting()
    assert 40 <= rtt_ms("client", "10.198.0.2") < 50
    assert 40 <= rtt_ms("edge", "10.198.0.1") < 50
    assert rtt_ms("edge", "10.198.0.6") < 10
    assert rtt_ms("client", "10.199.0.3") < 10
    assert not lab.set_wire("edge", "client", forward=slow, backward=slow).changed
    # Named from the other end, the same direction is the backward one.
    assert lab.set_wire("edge", "client", forward=lab.WireSetting(), backward=slow).changed
    assert lab.read_wire("client", "edge").forward == slow
    assert 20 <= rtt_ms("client", "10.198.0.2") < 30
    first = lab.status().as_json()["links"][0]
    assert (first["forward"]["delay_us"], first["backward"]["delay_us"]) == (20_000, 0)


def test_wires_of_a_kernel_with_netem_are_veth_pairs(machine, tmp_path, monkeypatch):
    # The pair itself needs no netem: so it is tried on every kernel.
    monkeypatch.setattr(checks, "detect_wire", lambda: lab.WireKind.NETEM)
    result = lab.up(load_testbed(THREE), root=tmp_path)
    assert result.plan.wire is lab.WireKind.NETEM
    assert "wire: netem" in result.inventory.read_text()
    assert rtt_ms("client", "10.198.0.2") < 10
    assert rtt_ms("cloud", "10.198.0.5") < 10
    assert lab.status().health is lab.Health.UP
    assert not any(name == "slicebed-wire" for _, name in look().processes - machine.processes)
    with pytest.raises(ConflictError, match="netem, set inside the hosts"):
        lab.read_wire("client", "edge")


def test_an_interactive_shell_has_a_terminal(three):
    arguments = ssh_arguments("edge", "tty")
    done = subprocess.run(
        [arguments[0], "-tt", *arguments[1:]], capture_output=True, text=True, check=False, timeout=60
    )
    assert re.match(r"/dev/pts/\d+", done.stdout)


def test_another_checkout_takes_the_inventory_with_it(three, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    assert lab.up(load_testbed(THREE), root=elsewhere).changed
    assert (elsewhere / paths.INVENTORY_FILE).exists()
    assert not three.inventory.exists()


def test_ansible_reads_the_inventory(three):
    ansible = Path(sys.executable).with_name("ansible")
    if not ansible.exists():
        pytest.skip("ansible is not installed beside this Python")
    done = subprocess.run(
        [ansible, "-i", three.inventory, "testbed", "-m", "ansible.builtin.ping"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"ping": "pong"') + done.stdout.count("ping: pong") == 3


def test_five_hosts(machine, tmp_path):
    result = lab.up(load_testbed(FIVE), root=tmp_path)
    names = [host.name for host in result.plan.hosts]
    assert len(names) == 5
    assert [said(name, "hostname") for name in names] == names
    for link in result.plan.links:
        for end in link.ends:
            assert rtt_ms(end.host, str(end.peer_address)) < 20
    with pytest.raises(ConflictError, match='"lab_five"'):
        lab.up(load_testbed(THREE), root=tmp_path)
    assert lab.status().health is lab.Health.UP


def test_an_address_range_in_use_is_told_before_anything_is_made(machine, tmp_path):
    wanted = replace(load_testbed(THREE), lab=LabNetworks(IPv4Network("127.0.0.0/24"), IPv4Network("10.198.0.0/16")))
    with pytest.raises(ConflictError, match=r"127\.0\.0\.0/24 is in use: .* on interface lo"):
        lab.up(wanted, root=tmp_path)
    assert look() == machine


def test_the_command_line_ends_with_the_code_of_the_remote_command(three):
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", "from slicebed.cli import main; main()", "lab", "ssh", *words]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)

    assert command("edge", "--", "hostname").stdout == "edge\n"
    assert command("edge", "--", "sh", "-c", "exit 7").returncode == 7
    assert command("edge", "--", "echo $HOSTNAME").stdout == "edge\n"
    refused = command("nowhere", "--", "true")
    assert refused.returncode == 2
    assert "client, edge, cloud" in refused.stderr


@pytest.mark.skipif(not (shutil.which("podman") and shutil.which("runc")), reason="podman and runc are not installed")
def test_a_container_has_its_limits_and_goes_with_the_lab(three, machine):
    said(
        "client",
        "mkdir -p /srv/image/bin && cp /bin/sleep /srv/image/bin && cd /srv/image && "
        "ldd /bin/sleep | grep -o '/[^ ]*' | xargs -I{} cp --parents {} . && tar -c . | podman import -q - tiny:1",
    )
    identity = said(
        "client", "podman run -d --network host --cpuset-cpus 0 --memory 64m --name c tiny:1 /bin/sleep 600 2>/dev/null"
    )
    assert re.fullmatch(r"[0-9a-f]{64}", identity)
    assert said("client", "podman ps --format '{{.Names}}'") == "c"
    assert said("edge", "podman ps --format '{{.Names}}'") == ""
    groups = _cgroups_of(identity)
    limits = [file.read_text() for group in groups for name in LIMIT_FILES if (file := group / name).exists()]
    assert limits == [f"{64 * 1024 * 1024}\n"]
    removed = lab.down()
    assert {str(group) for group in groups} <= set(removed.cgroups)
    assert _cgroups_of(identity) == []
    assert look() == machine


def test_the_control_groups_of_workloads_go_with_the_lab(three, machine):
    # One hierarchy is enough here: where they are made is the workload's own test.
    roots = [path for path in (CGROUP_ROOT / "cpuset", CGROUP_ROOT) if (path / "cgroup.procs").exists()]
    groups = [roots[0] / "slicebed.client", roots[0] / "slicebed.client/inner"]
    for group in groups:
        group.mkdir()
    removed = lab.down()
    assert {str(group) for group in groups} <= set(removed.cgroups)
    assert not any(group.exists() for group in groups)


# Of cgroup v1 and v2.
LIMIT_FILES = ("memory.limit_in_bytes", "memory.max")


def _cgroups_of(identity: str) -> list[Path]:
    return [Path(name) for name, _, _ in os.walk("/sys/fs/cgroup") if Path(name).name == f"libpod-{identity}"]


def test_an_image_of_the_parent_is_on_every_host(three):
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    assert image_store.PARENT_IMAGE_STORE.is_dir()
    listed = subprocess.run(["podman", "images", "--quiet"], capture_output=True, text=True, check=True).stdout.split()
    for host in ("client", "cloud"):
        assert set(listed) <= set(said(host, "podman images --quiet 2>/dev/null").split())
    assert on("client", f"touch {paths.HOST_IMAGE_STORE}/x").returncode != 0
