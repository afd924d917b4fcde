"""The workload's control group on this machine's own kernel: limits in force, containers below it, all put back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.delivered import Source, sample_frequency, sample_quota
from slicebed_agent.host.wish import WorkloadWish
from slicebed_agent.host.workload import Workload, group_name, steps
from slicebed_agent.host.workload.hierarchies import find_hierarchies

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root"),
]
ROOT = Path("/sys/fs/cgroup")
HOST = "workload-test"
GROUP = group_name(HOST)
MIB = 1 << 20


def hierarchies():
    return find_hierarchies(Path("/proc/self/mountinfo").read_text(), ROOT)


def holding(controller):
    return next(each.mount / GROUP for each in hierarchies() if controller in each.controllers)


def groups():
    found = {str(path) for each in hierarchies() for path in each.mount.rglob(f"{GROUP}*") if path.is_dir()}
    return found, [path.read_bytes() for path in ROOT.rglob("cgroup.subtree_control")]


@pytest.fixture
def workload():
    part = Workload(HOST)
    before = groups()
    saved = part.save()
    yield part
    part.apply(part.plan_restore(saved))
    assert groups() == before
    assert not part.plan_restore(saved).steps


def apply(part, wish):
    part.apply(part.plan(wish))
    again = part.plan(wish)
    assert (again.changes, again.steps) == ((), ())


@contextmanager
def inside(code, *controllers):
    files = [str(holding(controller) / "cgroup.procs") for controller in controllers]
    enter = f"import os\nfor file in {files}: open(file, 'w').write(str(os.getpid()))\nprint('in', flush=True)\n"
    with subprocess.Popen([sys.executable, "-S", "-c", enter + code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "in\n"
        yield child
        child.kill()


def test_a_quota_of_half_a_core_gives_half_a_core(workload):
    apply(workload, WorkloadWish(cpu_quota=0.5))
    found = sample_quota(HOST, 2.0)
    assert found.asked == 0.5
    # A busy machine gives less than the limit allows; a period may begin early.
    assert 0.3 < found.share <= 0.56


def test_a_core_to_itself_gives_a_whole_core_at_most(workload):
    with pytest.raises(HostError, match="apply the workload first"):
        sample_quota(HOST, 0.1)
    apply(workload, WorkloadWish(cores=(0,)))
    found = sample_quota(HOST, 0.5)
    assert (found.asked, found.processes) == (None, 1)
    assert 0.2 < found.share < 1.05


def test_a_clock_without_a_source_says_why_for_each():
    found = sample_frequency(0, 0.05)
    if found.source in (Source.CYCLES, Source.APERF_MPERF):
        assert 100 < found.mhz < 10_000
    else:
        assert "cycles: " in found.reason
    assert set(found.to_plain()) == {"core", "mhz", "source", "throttled", "reason"}
    with pytest.raises(HostError, match="core 4096 is not online"):
        sample_frequency(4096, 0.05)


def test_a_greedy_process_is_ended_by_the_memory_limit(workload):
    apply(workload, WorkloadWish(memory_bytes=32 * MIB))
    with inside(f"x = bytearray({16 * MIB})", "memory") as child:
        assert child.wait() == 0
    with inside(f"x = bytearray({96 * MIB})", "memory") as child:
        assert child.wait() == -signal.SIGKILL


def test_the_group_s_cores_are_all_that_a_process_may_use(workload):
    apply(workload, WorkloadWish(cores=(0,)))
    with inside("print(*os.sched_getaffinity(0))", "cpuset") as child:
        assert child.stdout.read() == "0\n"


def test_limits_grow_shrink_and_are_lifted(workload):
    for mib in (64, 256, 16):
        apply(workload, WorkloadWish(memory_bytes=mib * MIB + 1, cpu_quota=mib / 256))
    apply(workload, WorkloadWish())


def test_processes_live_on_when_the_group_goes(workload):
    saved = workload.save()
    apply(workload, WorkloadWish(cpu_quota=0.5))
    nested = holding("cpu") / "container"
    nested.mkdir()
    with inside("import time; time.sleep(60)", "cpu") as child:
        (nested / "cgroup.procs").write_text(str(child.pid))
        workload.apply(workload.plan_restore(saved))
        assert child.poll() is None
        assert GROUP not in Path(f"/proc/{child.pid}/cgroup").read_text()


def test_what_the_limits_hold_for_is_counted(workload):
    assert workload.processes() == 0
    apply(workload, WorkloadWish(cpu_quota=0.5))
    assert workload.processes() == 0
    with inside("import time; time.sleep(60)", *{name for each in hierarchies() for name in each.controllers}) as child:
        assert workload.processes() == 1
        nested = holding("cpu") / "container"
        nested.mkdir()
        (nested / "cgroup.procs").write_text(str(child.pid))
        assert workload.processes() == 1
        # Limits of a tree that it is not in do not hold for it.
        (nested.parents[1] / "cgroup.procs").write_text(str(child.pid))
        assert workload.processes() == 0


def test_a_group_that_was_there_before_has_its_limits_back():
    cpu = holding("cpu")
    cpu.mkdir()
    try:
        before = {path.name: path.read_bytes() for path in cpu.glob("cpu.*") if not path.name.startswith("cpu.stat")}
        part = Workload(HOST)
        saved = part.save()
        apply(part, WorkloadWish(cpu_quota=0.25, memory_bytes=MIB))
        # What a second apply saves is not the original.
        saved = part.save() | saved
        part.apply(part.plan_restore(saved))
        assert {path.name: path.read_bytes() for path in cpu.glob("cpu.*") if path.name in before} == before
        assert [each.mount.name for each in hierarchies() if (each.mount / GROUP).exists()] == [cpu.parent.name]
    finally:
        cpu.rmdir()


@pytest.mark.skipif(not (ROOT / "cpuset").is_dir(), reason="version 2 keeps no group from having fewer cores")
def test_groups_below_one_that_was_there_before_have_their_cores_back():
    cpuset = holding("cpuset")
    below = [cpuset / "both", cpuset / "both" / "inner", cpuset / "second"]
    part, saved = Workload(HOST), None
    try:
        for folder, cores in zip((cpuset, *below), ("0-1", "0-1", "0", "1"), strict=True):
            folder.mkdir()
            (folder / "cpuset.mems").write_text((cpuset.parent / "cpuset.mems").read_text())
            (folder / "cpuset.cpus").write_text(cores)
        saved = part.save()
        for cores, expected in (((0,), "0 0 0"), ((1,), "1 1 1"), ((0, 1), "0-1 0-1 0-1")):
            apply(part, WorkloadWish(cores=cores))
            assert " ".join((folder / "cpuset.cpus").read_text().strip() for folder in below) == expected
        part.apply(part.plan_restore(saved))
        assert [(folder / "cpuset.cpus").read_text() for folder in below] == ["0-1\n", "0\n", "1\n"]
    finally:
        if saved:
            part.apply(part.plan_restore(saved))
        for folder in (*reversed(below), cpuset):
            folder.rmdir()


def test_a_refusal_undoes_the_rest(workload):
    apply(workload, WorkloadWish(memory_bytes=256 * MIB, cpu_quota=0.5, cores=(0,)))
    before = workload.save()
    plan = workload.plan(WorkloadWish(memory_bytes=128 * MIB, cpu_quota=1.0))
    spoilt = replace(plan, steps=(*plan.steps, steps.Write(holding("cpu") / "cgroup.procs", "much")))
    with pytest.raises(HostError, match="the kernel refused 'much'"):
        workload.apply(spoilt)
    assert workload.save() == before


KILLED = """
import os, signal, sys
from slicebed_agent.host.wish import WorkloadWish
from slicebed_agent.host.workload import Workload, steps
run, left = steps.run, int(sys.argv[1])
def counted(step):
    global left
    run(step)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
steps.run = counted
part = Workload(sys.argv[2])
part.apply(part.plan(WorkloadWish(cpu_quota=0.5, cores=(0,), memory_bytes=1 << 26)))
"""


@pytest.mark.parametrize("after", [1, 3, 5])
def test_killed_in_the_middle_of_apply_it_is_restored_all_the_same(workload, after):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(after), HOST], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert groups()[0]


@pytest.fixture
def tiny_image(tmp_path):
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    copy = "cd {0} && mkdir bin && cp /bin/sleep bin && ldd /bin/sleep | grep -o '/[^ ]*' | xargs -I@ cp --parents @ ."
    subprocess.run(["sh", "-c", copy.format(tmp_path)], check=True)
    script = f"tar -C {tmp_path} -c . | podman import -q - slicebed-workload-test:1"
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)
    yield "slicebed-workload-test:1"
    subprocess.run(["podman", "rmi", "--force", "slicebed-workload-test:1"], check=True, capture_output=True)


def test_a_container_sits_below_the_group_and_under_its_limits(workload, tiny_image):
    apply(workload, WorkloadWish(cores=(0,), memory_bytes=64 * MIB, cpu_quota=0.5))
    command = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--detach", "--network", "host"]
    command += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    command += ["--cgroup-parent", f"/{GROUP}", tiny_image, "/bin/sleep", "600"]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", name)
    try:
        [state] = json.loads(subprocess.run(["podman", "inspect", name], check=True, capture_output=True).stdout)
        pid = state["State"]["Pid"]
        assert f"/{GROUP}/libpod-{name}" in Path(f"/proc/{pid}/cgroup").read_text()
        for controller in ("cpu", "memory", "cpuset"):
            assert pid in map(int, (holding(controller) / f"libpod-{name}" / "cgroup.procs").read_text().split())
        assert os.sched_getaffinity(pid) == {0}
        # More cores, others and fewer, while it runs.
        for cores in ((0, 1), (1,), (0,)):
            apply(workload, WorkloadWish(cores=cores))
            assert os.sched_getaffinity(pid) == set(cores)
        apply(workload, WorkloadWish())
        assert os.sched_getaffinity(pid) == os.sched_getaffinity(0)
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", name], check=True, capture_output=True)
