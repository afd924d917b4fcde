"""The workload's group where control groups are version 2 alone: limits in force, everything put back."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.delivered import sample_quota
from slicebed_agent.host.wish import WorkloadWish
from slicebed_agent.host.workload import Workload, steps

ROOT = Path("/sys/fs/cgroup")
GROUP = ROOT / "slicebed.edge"
WISH = WorkloadWish(cores=(1,), memory_bytes=64 << 20, cpu_quota=0.5)


def tree():
    return (ROOT / "cgroup.subtree_control").read_bytes(), sorted(path for path in ROOT.rglob("*") if path.is_dir())


@pytest.fixture
def workload():
    part = Workload("edge")
    before = tree()
    saved = part.save(WISH)
    yield part
    part.apply(part.plan_restore(saved))
    assert tree() == before
    assert not part.plan_restore(saved).changes


def apply(part, wish):
    part.apply(part.plan(wish))
    again = part.plan(wish)
    assert (again.changes, again.steps) == ((), ())


@contextmanager
def inside(code, group=GROUP):
    """A child that enters the group before it does anything, ended when the test is through with it."""
    enter = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
    with subprocess.Popen([sys.executable, "-S", "-c", enter + code], stdout=subprocess.PIPE, text=True) as child:
        yield child
        child.kill()


def test_only_version_2_is_here():
    assert {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if "cgroup" in line} == {
        "cgroup2"
    }


def test_the_group_has_its_limits(workload):
    apply(workload, WISH)
    found = {name: (GROUP / name).read_text().strip() for name in ("cpuset.cpus", "cpu.max", "memory.max")}
    assert found == {"cpuset.cpus": "1", "cpu.max": "50000 100000", "memory.max": str(64 << 20)}
    with inside("print(*os.sched_getaffinity(0))") as child:
        assert child.communicate()[0] == "1\n"


def test_a_limit_that_is_no_longer_wished_is_lifted(workload):
    apply(workload, WISH)
    apply(workload, WorkloadWish(cpu_quota=1.5))
    found = [(GROUP / name).read_text().strip() for name in ("cpuset.cpus", "cpu.max", "memory.max")]
    assert found == ["", "150000 100000", "max"]


def test_a_quota_is_in_force(workload):
    apply(workload, WorkloadWish(cpu_quota=0.5, cores=(1,)))
    found = sample_quota("edge", 2.0)
    assert (found.asked, found.processes) == (0.5, 1)
    assert 0.4 < found.share < 0.56


def test_a_greedy_process_is_ended_by_the_memory_limit(workload):
    apply(workload, WorkloadWish(memory_bytes=32 << 20))
    with inside("x = bytearray(96 << 20)") as child:
        assert child.wait() == -9


def test_processes_live_on_when_the_group_goes(workload):
    saved = workload.save(WISH)
    apply(workload, WISH)
    nested = GROUP / "container"
    nested.mkdir()
    with inside("print('in', flush=True)\nimport time; time.sleep(60)", nested) as child:
        assert child.stdout.readline() == "in\n"
        workload.apply(workload.plan_restore(saved))
        assert not GROUP.exists()
        assert child.poll() is None
        assert Path(f"/proc/{child.pid}/cgroup").read_text() == "0::/\n"


def test_a_group_that_was_there_before_keeps_its_limits():
    (ROOT / "cgroup.subtree_control").write_text("+cpu")
    GROUP.mkdir()
    (GROUP / "cpu.max").write_text("70000 200000")
    part = Workload("edge")
    saved = part.save(WISH)
    apply(part, WISH)
    part.apply(part.plan_restore(saved))
    assert (GROUP / "cpu.max").read_text() == "70000 200000\n"
    assert (ROOT / "cgroup.subtree_control").read_text() == "cpu\n"
    GROUP.rmdir()
    (ROOT / "cgroup.subtree_control").write_text("-cpu")


def test_another_hosts_group_keeps_its_controllers(workload):
    saved = workload.save(WISH)
    apply(workload, WISH)
    other = Workload("cloud")
    others = other.save(WISH)
    apply(other, WISH)
    workload.apply(workload.plan_restore(saved))
    assert (ROOT / "slicebed.cloud/cpu.max").read_text() == "50000 100000\n"
    other.apply(other.plan_restore(others))
    assert os.listxattr(ROOT) == []


def test_the_first_refusal_of_the_kernel_undoes_the_rest(workload):
    plan = workload.plan(WISH)
    before = tree()
    spoilt = replace(plan, steps=(*plan.steps, steps.Write(GROUP / "cpu.max", "much")))
    with pytest.raises(HostError, match=r"slicebed\.edge/cpu\.max: the kernel refused 'much'"):
        workload.apply(spoilt)
    assert tree() == before


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (WorkloadWish(cores=(1, 7)), "cores 7 are not online; allowed: 0-1"),
        (WorkloadWish(memory_bytes=1 << 50), "allowed: 4096 to "),
        (WorkloadWish(cpu_quota=2.5), "2.5 cannot be had of 2 cores; allowed: 0.01 to 2"),
        (WorkloadWish(cores=(1,), cpu_quota=1.5), "1.5 cannot be had of 1 cores"),
        (WorkloadWish(gpu=True), "/dev/nvidia0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(workload, wish, said):
    before = tree()
    with pytest.raises(HostError, match=said):
        workload.plan(wish)
    assert tree() == before
