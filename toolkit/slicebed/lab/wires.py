"""Wires between lab hosts: start one, read what is set on it, change it while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.errors import ConflictError, ProvisionError
from slicebed.lab import paths
from slicebed.lab.layout import WireKind
from slicebed.lab.state import read_state
from slicebed.lab.tools import run, succeeds
from slicebed.lab.wirefilter import Wirefilter, WireReading, WireSetting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slicebed.lab.layout import LabPlan, LinkPlan

START_TIMEOUT_S = 5.0
SIDES = ("left", "right")

__all__ = ["WireChange", "WireReading", "WireSetting", "read_wire", "set_wire", "start_vde_wire"]


@dataclass(frozen=True)
class WireChange:
    """What set_wire found and left; ``changed`` is False when it had nothing to do."""

    before: WireReading
    after: WireReading
    changed: bool


def management_socket(index: int) -> Path:
    """The socket over which the wirefilter of one link is read and changed."""
    return paths.wire_dir(index) / "wirefilter"


def start_vde_wire(plan: LabPlan, link: LinkPlan, lab_id: str) -> None:
    """Two switches, each with its tap in its host's namespace, and a wirefilter between; returns when both taps exist.

    All three programs stay in the parent's mount namespace: a host can neither see nor stop its wires.
    """
    directory = paths.wire_dir(link.index)
    directory.mkdir(parents=True)
    for side, end in zip(SIDES, link.ends, strict=True):
        namespace = paths.NETNS_DIR / plan.host(end.host).namespace
        switch = ["vde_switch", "-tap", end.interface, "-s", str(directory / f"{side}.ctl"), "-m", "0600"]
        management = ["-M", str(directory / f"{side}.mgmt"), "--mgmtmode", "0600"]
        run(
            ["nsenter", f"--net={namespace}", *switch, *management, "-d", "-p", str(directory / f"{side}.pid")],
            lab_id,
        )
    plugs = ":".join(str(directory / f"{side}.ctl") for side in SIDES)
    pid_file = str(directory / "wirefilter.pid")
    # vde_switch -d returns before its sockets and tap exist.
    _wait(lambda: all((directory / f"{side}.ctl/ctl").exists() for side in SIDES), link, "vde_switch has no socket")
    run(
        ["wirefilter", "-v", plugs, "-M", str(management_socket(link.index)), "--daemon", "--pidfile", pid_file],
        lab_id,
    )
    _wait(lambda: management_socket(link.index).exists(), link, "wirefilter has no management socket")
    _wait(lambda: _taps_exist(plan, link), link, "vde_switch made no tap")


def read_wire(a: str, b: str) -> WireReading:
    """What is set on the vde wire between two hosts of the running lab; ``forward`` is from ``a`` to ``b``.

    Raises:
        ConflictError: no lab is up, or its wires are netem, set inside the hosts.
        SpecError: there is no such host or link.
        ProvisionError: the wire does not answer.
    """
    link = _vde_link(a, b)
    with Wirefilter(management_socket(link.index)) as wire:
        return _oriented(wire.read(), link, a)


def set_wire(a: str, b: str, wanted: WireSetting) -> WireChange:
    """Set both directions of the vde wire between two hosts while it runs, and read back that it is so.

    Nothing is sent when both directions are as wanted already; then ``changed`` is False.

    Raises:
        ConflictError: no lab is up, or its wires are netem, set inside the hosts.
        SpecError: there is no such host or link, or the setting is impossible.
        ProvisionError: the wire does not answer, or does not keep what was set.
    """
    link = _vde_link(a, b)
    with Wirefilter(management_socket(link.index)) as wire:
        before = wire.read()
        changed = not before.matches(wanted)
        if changed:
            wire.set(wanted)
        after = wire.read() if changed else before
    if not after.matches(wanted):
        raise ProvisionError(f"asked for {wanted}, wirefilter holds {after.forward}", where=f"wire {a}-{b}")
    return WireChange(_oriented(before, link, a), _oriented(after, link, a), changed)


def _oriented(reading: WireReading, link: LinkPlan, first: str) -> WireReading:
    if link.ends[0].host == first:
        return reading
    return WireReading(reading.backward, reading.forward, tuple((name, r, le) for name, le, r in reading.raw))


def _vde_link(a: str, b: str) -> LinkPlan:
    state = read_state()
    if state is None:
        raise ConflictError("no lab is up", mend="run slicebed lab up")
    for name in (a, b):
        state.plan.host(name)
    link = state.plan.link(a, b)
    if state.plan.wire is not WireKind.VDE:
        raise ConflictError(
            "this lab's wires are netem, set inside the hosts",
            where=f"wire {a}-{b}",
            mend="use the network role, or tc in the hosts",
        )
    return link


def _taps_exist(plan: LabPlan, link: LinkPlan) -> bool:
    return all(
        succeeds(["ip", "-n", plan.host(end.host).namespace, "link", "show", "dev", end.interface]) for end in link.ends
    )


def _wait(ready: Callable[[], bool], link: LinkPlan, complaint: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if time.monotonic() > deadline:
            raise ProvisionError(complaint, where=f"wire {'-'.join(link.between)}")
        time.sleep(0.01)
