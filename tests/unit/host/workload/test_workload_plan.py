"""Plans for the workload's group on version 1, version 2 and both; the kernels do it in tests/lab and tests/kernel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.wish import WorkloadWish
from slicebed_agent.host.workload import plan as planner
from slicebed_agent.host.workload.hierarchies import Hierarchy, Version, find_hierarchies
from slicebed_agent.host.workload.steps import Enable, MakeGroup, Release, RemoveGroup, Write

ROOT = Path("/sys/fs/cgroup")
GROUP = "slicebed.edge"
ALL = frozenset({"cpuset", "cpu", "memory"})
V2 = (Hierarchy(ROOT, Version.V2, ALL),)
V1 = tuple(Hierarchy(ROOT / name, Version.V1, frozenset({name})) for name in ("cpuset", "cpu", "memory"))
NO_LIMIT = "9223372036854771712\n"
V1_ROOT = {
    "cpuset/cpuset.cpus": "0-3\n",
    "cpuset/cpuset.mems": "0\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpu/cpu.cfs_quota_us": "-1\n",
    "memory/memory.limit_in_bytes": NO_LIMIT,
    "memory/memory.memsw.limit_in_bytes": NO_LIMIT,
}
LIMITS = (
    *("cpuset.cpus", "cpu.max", "memory.max", "memory.swap.max"),
    *("cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
)


def facts(hierarchies, files=None, groups=(), neighbours=(), ours=()):
    return planner.Facts(
        root=ROOT,
        group=GROUP,
        hierarchies=hierarchies,
        files={ROOT / name: text for name, text in (files or {}).items()},
        groups=frozenset(ROOT / name for name in groups),
        below=frozenset(),
        neighbours=frozenset(ROOT / name for name in neighbours),
        enabled_by_us={ROOT: frozenset(ours)} if ours else {},
        online=(0, 1, 2, 3),
        memory_bytes=8 << 30,
        page_bytes=4096,
        has_gpu=False,
    )


def said(plan):
    return [str(change) for change in plan.changes]


def test_version_2_turns_on_only_the_controllers_that_are_needed():
    found = facts(V2, {"cgroup.subtree_control": "cpu\n"})
    plan = planner.plan(WorkloadWish(cpu_quota=1.5, memory_bytes=1_000_000), found)
    assert said(plan) == [
        "cgroup .: cgroup.subtree_control cpu -> cpu memory",
        "cgroup slicebed.edge: group absent -> present",
        "cgroup slicebed.edge: cpu.max - -> 150000 100000",
        "cgroup slicebed.edge: memory.max - -> 999424",
        "cgroup slicebed.edge: memory.swap.max - -> 0",
    ]
    assert plan.steps[:2] == (Enable(ROOT, ("memory",)), MakeGroup(ROOT / GROUP))


def test_version_1_gives_a_new_group_cores_and_memory_nodes_always():
    plan = planner.plan(WorkloadWish(cpu_quota=0.5), facts(V1, V1_ROOT))
    assert said(plan) == [
        "cgroup cpuset/slicebed.edge: group absent -> present",
        "cgroup cpuset/slicebed.edge: cpuset.mems - -> 0",
        "cgroup cpuset/slicebed.edge: cpuset.cpus - -> 0-3",
        "cgroup cpu/slicebed.edge: group absent -> present",
        "cgroup cpu/slicebed.edge: cpu.cfs_quota_us - -> 50000",
        "cgroup memory/slicebed.edge: group absent -> present",
    ]


def test_a_shorter_period_comes_before_its_quota():
    smooth = WorkloadWish(cpu_quota=0.25, cpu_period_us=10_000)
    (found,) = [line for line in said(planner.plan(smooth, facts(V2))) if "cpu.max" in line]
    assert found == "cgroup slicebed.edge: cpu.max - -> 2500 10000"
    root, groups = V1_ROOT, [f"{each.mount.name}/{GROUP}" for each in V1]
    assert [line for line in said(planner.plan(smooth, facts(V1, root))) if "cfs" in line] == [
        "cgroup cpu/slicebed.edge: cpu.cfs_period_us - -> 10000",
        "cgroup cpu/slicebed.edge: cpu.cfs_quota_us - -> 2500",
    ]
    own = {f"cpu/{GROUP}/cpu.cfs_period_us": "10000\n", f"cpu/{GROUP}/cpu.cfs_quota_us": "2500\n"}
    back = planner.plan(WorkloadWish(cpu_quota=0.25), facts(V1, root | own, groups))
    assert [line for line in said(back) if "cfs" in line] == [
        "cgroup cpu/slicebed.edge: cpu.cfs_period_us 10000 -> 100000",
        "cgroup cpu/slicebed.edge: cpu.cfs_quota_us 2500 -> 25000",
    ]


@pytest.mark.parametrize(
    ("hierarchies", "root"), [(V2, {"cgroup.subtree_control": "cpu memory cpuset\n"}), (V1, V1_ROOT)]
)
def test_every_value_that_is_told_is_the_text_of_a_file(hierarchies, root):
    wish = WorkloadWish(cores=(1,), cpu_quota=0.5, memory_bytes=1 << 20)
    new = planner.plan(wish, facts(hierarchies, root))
    files = {f"{each.mount.relative_to(ROOT)}/{GROUP}/{name}": "7\n" for each in hierarchies for name in LIMITS}
    groups = [f"{each.mount.relative_to(ROOT)}/{GROUP}" for each in hierarchies]
    old = planner.plan(wish, facts(hierarchies, root | files, groups))
    back = planner.plan_restore(
        dict.fromkeys(files, "0\n") | dict.fromkeys(groups, "present"), facts(hierarchies, root | files, groups)
    )
    told = [(change.now, change.wanted) for plan in (new, old, back) for change in plan.changes]
    assert (None, "1") in told
    assert ("7", "1") in told
    assert ("7", "0") in told
    assert all(isinstance(wanted, str) and isinstance(now, str | None) for now, wanted in told)


def test_a_limit_with_swap_goes_first_when_it_grows_and_last_when_it_shrinks():
    groups = [f"{each.mount.name}/{GROUP}" for each in V1]
    for now, wanted, first in ((1, 2, "memory.memsw.limit_in_bytes"), (2, 1, "memory.limit_in_bytes")):
        text = f"{now << 20}\n"
        own = {f"memory/{GROUP}/{name}": text for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")}
        plan = planner.plan(WorkloadWish(memory_bytes=wanted << 20), facts(V1, V1_ROOT | own, groups))
        written = [step.path.name for step in plan.steps if isinstance(step, Write) and step.path.name in str(own)]
        assert written[0] == first
        assert len(written) == 2


def written_cores(plan):
    tree = ROOT / "cpuset" / GROUP
    return [
        (str(step.path.parent.relative_to(tree)), step.text)
        for step in plan.steps
        if isinstance(step, Write) and step.path.name == "cpuset.cpus"
    ]


# The kernel takes no core from a group whose child has it, and gives a child none that its parent has not.
@pytest.mark.parametrize(
    ("now", "wanted", "writes"),
    [
        ({".": "0-3", "box": "0-3", "box/in": "0-3"}, (0,), [("box/in", "0"), ("box", "0"), (".", "0")]),
        ({".": "0", "box": "0", "box/in": "0"}, None, [(".", "0-3"), ("box", "0-3"), ("box/in", "0-3")]),
        ({".": "0", "box": "0"}, (1,), [(".", "0-1"), ("box", "0-1"), ("box", "1"), (".", "1")]),
        # Its own limit, of which something, all and nothing remains; and a group that was made but never used.
        ({".": "0-3", "box": "2-3"}, (0, 1, 2), [("box", "2"), (".", "0-2")]),
        ({".": "0-3", "box": "1"}, (0, 1), [(".", "0-1")]),
        ({".": "0-1", "box": "1"}, (0,), [("box", "0-1"), ("box", "0"), (".", "0")]),
        ({".": "0-3", "box": ""}, (0,), [(".", "0")]),
    ],
)
def test_cores_of_groups_below_go_along_in_the_kernel_s_order(now, wanted, writes):
    files = {f"cpuset/{GROUP}/{name}/cpuset.cpus": f"{cores}\n" for name, cores in now.items()}
    groups = [f"{each.mount.name}/{GROUP}" for each in V1]
    below = frozenset(ROOT / "cpuset" / GROUP / name for name in now if name != ".")
    found = replace(facts(V1, V1_ROOT | files, groups), below=below)
    assert written_cores(planner.plan(WorkloadWish(cores=wanted), found)) == writes


def test_groups_below_have_their_own_cores_back():
    tree = f"cpuset/{GROUP}"
    names = (tree, f"{tree}/one", f"{tree}/two", f"{tree}/new")
    files = {f"{name}/cpuset.cpus": "0\n" for name in names}
    saved = {tree: "present", f"{tree}/cpuset.cpus": "0-3\n", f"{tree}/gone/cpuset.cpus": "0-3\n"}
    saved |= {f"{tree}/one/cpuset.cpus": "0-1\n", f"{tree}/two/cpuset.cpus": "2-3\n"}
    found = replace(facts(V1, V1_ROOT | files, [tree]), below=frozenset(ROOT / name for name in names[1:]))
    plan = planner.plan_restore(saved, found)
    assert dict(written_cores(plan)) == {".": "0-3", "one": "0-1", "two": "2-3", "new": "0-3"}
    # The group itself has its own again, those below have not.
    files = {f"{name}/cpuset.cpus": "0-3\n" for name in names}
    found = replace(facts(V1, V1_ROOT | files, [tree]), below=frozenset(ROOT / name for name in names[1:]))
    plan = planner.plan_restore(saved, found)
    assert dict(written_cores(plan)) == {"one": "0-1", "two": "2-3"}
    assert said(plan)[0] == "cgroup cpuset/slicebed.edge/two: cpuset.cpus 0-3 -> 2-3"


@pytest.mark.parametrize(
    ("wish", "hierarchies", "message"),
    [
        (WorkloadWish(cores=(2, 4, 5)), V2, "cores 4-5 are not online; allowed: 0-3"),
        (WorkloadWish(cpu_quota=0.05, cpu_period_us=10_000), V2, "0.05 of 10000 us is less .*allowed: at least 20000"),
        (WorkloadWish(memory_bytes=9 << 30), V2, f"{9 << 30} bytes .*allowed: 4096 to {8 << 30}"),
        (WorkloadWish(cpu_quota=4.5), V2, "4.5 cannot be had of 4 cores; allowed: 0.01 to 4"),
        (WorkloadWish(cores=(1,), cpu_quota=2), V2, "2 cannot be had of 1 cores; allowed: 0.01 to 1"),
        (WorkloadWish(gpu=True), V2, "/dev/nvidia0 nor /dev/dri/renderD"),
        (WorkloadWish(memory_bytes=1 << 30), V1[:2], "workload.memory_bytes: .*no memory .*cgroup_enable=memory"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(wish, hierarchies, message):
    with pytest.raises(HostError, match=message):
        planner.plan(wish, facts(hierarchies))


def test_controllers_that_we_turned_on_go_off_with_the_last_group():
    saved = {GROUP: "absent", "cgroup.subtree_control": "memory\n"}
    files = {"cgroup.subtree_control": "cpu memory pids\n"}
    alone = planner.plan_restore(saved, facts(V2, files, [GROUP], ours=["cpu", "memory"]))
    assert said(alone) == [
        "cgroup slicebed.edge: group present -> absent",
        "cgroup .: cgroup.subtree_control cpu memory pids -> pids",
    ]
    assert alone.steps == (RemoveGroup(ROOT / GROUP), Release(ROOT, GROUP, frozenset()))
    beside = planner.plan_restore(saved, facts(V2, files, [GROUP], ["slicebed.cloud"], ["cpu", "memory"]))
    assert said(beside) == said(alone)[:1]
    # Killed after the group went: the controllers are still ours to turn off.
    assert said(planner.plan_restore(saved, facts(V2, files, ours=["cpu"]))) == [
        "cgroup .: cgroup.subtree_control cpu memory pids -> memory pids"
    ]


def test_controllers_that_a_group_had_before_us_stay_on():
    saved = {GROUP: "present", "cgroup.subtree_control": "cpu\n"}
    found = facts(V2, {"cgroup.subtree_control": "cpu memory\n"}, [GROUP], ours=["cpu", "memory"])
    assert said(planner.plan_restore(saved, found)) == ["cgroup .: cgroup.subtree_control cpu memory -> cpu"]


def test_limits_read_from_a_group_of_our_own_making_are_not_put_back():
    saved = {f"cpu/{GROUP}": "absent", f"cpu/{GROUP}/cpu.cfs_quota_us": "50000\n"}
    plan = planner.plan_restore(saved, facts(V1, V1_ROOT))
    assert plan.steps == ()


def test_a_part_of_the_saved_state_takes_nothing_from_a_group_in_use():
    """After a reboot the files of a group that an earlier apply had made are names that no wish speaks of."""
    found = facts(V2, {"cgroup.subtree_control": "cpu\n"}, ours=["cpu"])
    assert planner.plan_restore({f"{GROUP}/cpu.max": "50000 100000\n"}, found).steps == ()


def test_the_trees_of_a_hybrid_machine_are_found():
    mounts = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/cpuset rw,relatime shared:9 master:2 - cgroup cgroup rw,cpuset
36 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
40 31 0:32 / /elsewhere/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:32 / /sys/fs/cgroup/again\\040here rw,relatime - cgroup cgroup rw,cpuset
"""
    assert find_hierarchies(mounts, ROOT) == (
        Hierarchy(ROOT / "cpu,cpuacct", Version.V1, frozenset({"cpu"})),
        Hierarchy(ROOT / "cpuset", Version.V1, frozenset({"cpuset"})),
        Hierarchy(ROOT / "systemd", Version.V1, frozenset()),
    )
