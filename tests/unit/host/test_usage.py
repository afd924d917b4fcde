"""The meter of a container and its host: this process's own counters, and trees as other machines have them."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from slicebed_agent.host.usage import Meter

MIB = 1 << 20
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup ro - tmpfs cgroup rw,mode=755\n"
    "32 31 0:30 /slicebed.edge/libpod-1 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 /slicebed.edge/libpod-1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "41 31 0:38 /slicebed.edge/libpod-1 /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n"
)
V1_OWN = "9:cpu,cpuacct:/slicebed.edge/libpod-1\n4:memory:/slicebed.edge/libpod-1\n0::/slicebed.edge/libpod-1\n"
NET = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n"
    "    lo: 9000 9 0 0 0 0 0 0 9000 9 0 0 0 0 0 0\n"
    "  eth0: 1000 9 0 0 0 0 0 0 200 9 0 0 0 0 0 0\n"
    " sbi-7: 1000 9 0 0 0 0 0 0 1000 9 0 0 0 0 0 0\n"
    "to-edge:   30 9 0 0 0 0 0 0 4 9 0 0 0 0 0 0\n"
)


@pytest.fixture
def machine(tmp_path):
    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def processes(mounts, own):
    return {"proc/self/mountinfo": mounts, "proc/self/cgroup": own}


def test_a_container_on_version_2(machine):
    groups = "sys/fs/cgroup"
    root = machine(
        {
            **processes(V2_MOUNTS, "0::/\n"),
            f"{groups}/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n",
            f"{groups}/memory.current": f"{300 * MIB}\n",
            f"{groups}/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            "proc/self/net/dev": NET,
        }
    )
    assert Meter(root).read() == {
        "cpu_ns": 2_500_000_000,
        "memory_bytes": 200 * MIB,
        "received_bytes": 1030,
        "sent_bytes": 204,
        "energy_uj": None,
    }


def test_a_container_on_version_1_with_its_group_seen_at_the_mount(machine):
    groups = "sys/fs/cgroup"
    root = machine(
        {
            **processes(V1_MOUNTS, V1_OWN),
            f"{groups}/cpu,cpuacct/cpuacct.usage": "123456789\n",
            f"{groups}/memory/memory.usage_in_bytes": f"{50 * MIB}\n",
            f"{groups}/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {20 * MIB}\n",
        }
    )
    read = Meter(root).read()
    assert (read["cpu_ns"], read["memory_bytes"]) == (123_456_789, 30 * MIB)
    assert (read["received_bytes"], read["sent_bytes"]) == (None, None)


def test_a_group_of_its_own_below_the_mount(machine):
    mounts = "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
    root = machine(
        {
            **processes(mounts, "2:cpuacct:/a/b\n"),
            "sys/fs/cgroup/cpuacct/cpuacct.usage": "999\n",
            "sys/fs/cgroup/cpuacct/a/b/cpuacct.usage": "7\n",
        }
    )
    assert Meter(root).read()["cpu_ns"] == 7


def test_a_machine_that_tells_nothing(tmp_path):
    assert set(Meter(tmp_path).read().values()) == {None}


def test_energy_is_counted_over_packages_and_past_the_end_of_the_counter(machine):
    zones = "sys/class/powercap"
    package = {"max_energy_range_uj": "1000\n", "name": "package-0\n"}
    files = {f"{zones}/intel-rapl:{n}/{name}": text for n in (0, 1) for name, text in package.items()}
    # A part of package 0, which must not count twice.
    files[f"{zones}/intel-rapl:0:0/energy_uj"] = "5\n"
    files |= {f"{zones}/intel-rapl:0/energy_uj": "900\n", f"{zones}/intel-rapl:1/energy_uj": "10\n"}
    root = machine(files)
    meter = Meter(root)
    assert meter.read()["energy_uj"] == 0
    (root / zones / "intel-rapl:0/energy_uj").write_text("50\n")
    (root / zones / "intel-rapl:1/energy_uj").write_text("30\n")
    assert meter.read()["energy_uj"] == 150 + 20
    (root / zones / "intel-rapl:0/energy_uj").write_text("60\n")
    assert meter.read()["energy_uj"] == 150 + 20 + 10


def test_energy_of_one_package_alone_is_no_figure(machine):
    root = machine(
        {
            "sys/class/powercap/intel-rapl:0/energy_uj": "5\n",
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000\n",
            "sys/class/powercap/intel-rapl:1/max_energy_range_uj": "1000\n",
        }
    )
    assert Meter(root).read()["energy_uj"] is None


@pytest.mark.skipif(not Path("/sys/fs/cgroup").is_dir(), reason="no control groups here")
def test_this_very_process_uses_time_and_memory():
    meter = Meter()
    before = meter.read()
    if before["cpu_ns"] is None:
        pytest.skip("this process's control group tells no processor time")
    own = time.process_time_ns()
    held = bytearray(64 * MIB)
    while time.process_time_ns() < own + 50_000_000:
        pass
    after = meter.read()
    assert len(held) == 64 * MIB
    # The kernel accounts by ticks.
    assert after["cpu_ns"] - before["cpu_ns"] >= 30_000_000
    assert set(after) == set(before)


def test_traffic_over_the_loopback_is_not_the_hosts():
    meter = Meter()
    before = meter.read()["sent_bytes"]
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            for _ in range(64):
                near.sendall(bytes(1 << 16))
                left = 1 << 16
                while left:
                    left -= len(far.recv(left))
    after = meter.read()["sent_bytes"]
    assert (before is None) == (after is None)
    if before is not None:
        assert after - before < 4 << 20
