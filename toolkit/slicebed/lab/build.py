"""Raise the lab: checks, then the state file, then the acts."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.errors import ConflictError
from slicebed.lab import checks, paths
from slicebed.lab.host import make_keys, prepare_host, start_host, wait_for_hosts
from slicebed.lab.image_store import begin_store
from slicebed.lab.inventory import find_root, remove_inventory, write_inventory
from slicebed.lab.layout import LabPlan, plan_lab
from slicebed.lab.network import build_management, build_wires
from slicebed.lab.state import LabState, Phase, lab_lock, read_state, remove_lock, write_state
from slicebed.lab.survey import answering_hosts, is_whole
from slicebed.lab.sweep import CGROUP_ROOT, Removed, sweep
from slicebed.lab.tools import MARKER

if TYPE_CHECKING:
    from slicebed.spec.testbed import Testbed


@dataclass(frozen=True)
class UpResult:
    """What ``up`` did; ``changed`` is False when the very same lab was up already."""

    changed: bool
    plan: LabPlan
    inventory: Path
    duration_s: float


def up(testbed: Testbed, *, root: Path | None = None) -> UpResult:
    """Raise the lab of a testbed and write its Ansible inventory; returns when every host's sshd answers.

    Wires carry no delay, jitter or rate yet: those are conditions, and applied to a lab as to any testbed.
    The same testbed again changes nothing; remains of a lab that did not come up whole are removed first.

    Args:
        testbed: what to raise.
        root: the repository, where ``inventory/lab/hosts.yml`` is written; found upward from the cwd when None.

    Raises:
        MissingRequirementError: root, a package or a kernel feature is missing; nothing was made.
        ConflictError: another lab is up, an address range is in use, or another lab command runs; nothing was made.
        SpecError: the lab's networks are too small or overlap each other.
        ProvisionError: a step failed; what was made has been removed again.
    """
    begun = time.monotonic()
    _require_parent()
    checks.require_programs(checks.PROGRAMS)
    wire = checks.detect_wire()
    plan = plan_lab(testbed, wire)
    inventory = (root or find_root(Path.cwd())).resolve() / paths.INVENTORY_FILE
    with lab_lock():
        found = read_state()
        if found is not None and _keeps_running(found, plan):
            changed = _refresh(found, plan, inventory)
        else:
            _clean(inventory)
            try:
                checks.require_free_ranges([plan.management, plan.data])
                checks.require_kernel(wire)
                _build(plan, inventory)
            except BaseException:
                # Ctrl-C too: whatever was made so far goes again.
                _clean(inventory)
                remove_lock()
                raise
            changed = True
    return UpResult(changed, plan, inventory, time.monotonic() - begun)


def down(*, root: Path | None = None) -> Removed:
    """Remove the lab and everything it made or left, also after a crash; safe to repeat.

    Raises:
        MissingRequirementError: not root.
        ConflictError: another lab command runs.
        ProvisionError: something would not go; it says what.
    """
    _require_parent()
    with lab_lock():
        removed = sweep((root or find_root(Path.cwd())).resolve() / paths.INVENTORY_FILE)
        remove_lock()
    return removed


def _require_parent() -> None:
    checks.require_root()
    if MARKER in os.environ:
        raise ConflictError("this is a lab host", mend="run lab commands on the machine that holds the lab")


def _keeps_running(found: LabState, plan: LabPlan) -> bool:
    """Whether the lab that was found is this one and whole; False when its remains may be cleaned away."""
    if found.phase is not Phase.UP:
        return False
    if found.plan.same_network(plan):
        return is_whole(found.plan)
    if answering_hosts(found.plan):
        hosts = ", ".join(host.name for host in found.plan.hosts)
        raise ConflictError(
            f'another lab is up: "{found.plan.name}" ({hosts}), of another testbed', mend="run slicebed lab down first"
        )
    return False


def _refresh(found: LabState, plan: LabPlan, inventory: Path) -> bool:
    """The same hosts and wires: bring only the facts of the inventory up to date."""
    if found.plan != plan or found.inventory != inventory:
        write_state(replace(found, plan=plan, inventory=inventory))
    if found.inventory != inventory:
        remove_inventory(found.inventory)
    return write_inventory(plan, inventory)


def _clean(inventory: Path) -> None:
    sweep(inventory)


def _build(plan: LabPlan, inventory: Path) -> None:
    lab_id = uuid.uuid4().hex
    shared = (paths.NETNS_DIR, paths.PARENT_IMAGE_STORE.parent, paths.PARENT_IMAGE_STORE, *_engine_cgroups())
    absent = tuple(path for path in shared if not path.exists())
    state = LabState(lab_id, Phase.STARTING, plan, inventory, absent)
    write_state(state)
    begin_store()
    make_keys(plan, lab_id)
    for host in plan.hosts:
        prepare_host(plan, host, lab_id)
    build_management(plan, lab_id)
    with ExitStack() as reports:
        starting = []
        for host in plan.hosts:
            starting.append(start_host(host, lab_id))
            reports.callback(os.close, starting[-1].report)
        build_wires(plan, lab_id)
        wait_for_hosts(starting)
    write_inventory(plan, inventory)
    write_state(replace(state, phase=Phase.UP))


def _engine_cgroups() -> tuple[Path, ...]:
    """Where podman puts its containers' cgroups, in every hierarchy (v1) or the one (v2)."""
    roots = (CGROUP_ROOT, *(path for path in CGROUP_ROOT.iterdir() if path.is_dir() and not path.is_symlink()))
    return tuple(root / name for root in roots for name in ("libpod_parent", "libpod_parent/conmon"))
