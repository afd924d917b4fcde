"""Wires between lab hosts: start one, read what is set on it, change it while it runs."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.errors import ConflictError, ProvisionError, SpecError
from slicebed.lab import paths
from slicebed.lab._wire import WireSetting
from slicebed.lab.layout import WireKind
from slicebed.lab.state import read_state
from slicebed.lab.tools import environment, last_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.lab.layout import LabPlan, LinkPlan

START_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0
_MAX_MESSAGE_BYTES = 65536

__all__ = ["WireChange", "WireReading", "WireSetting", "ask_wire", "read_wire", "set_wire", "wire_setting"]


@dataclass(frozen=True)
class WireReading:
    """What is set on a wire now.

    Attributes:
        forward: from its first host to its second.
        backward: the other way.
        realtime: whether the wire runs before ordinary processes; without that a busy machine adds delay.
        overflow_packets: packets dropped since it started because it held too many.
    """

    forward: WireSetting
    backward: WireSetting
    realtime: bool
    overflow_packets: int


@dataclass(frozen=True)
class WireChange:
    """What set_wire found and left; ``changed`` is False when it had nothing to do."""

    before: WireReading
    after: WireReading
    changed: bool


def wire_setting(plain: Mapping[str, Any]) -> WireSetting:
    """The setting of one direction from plain data, such as an entry of the inventory's ``slicebed_wires``.

    Raises:
        SpecError: an unknown key, or a value that no wire can have.
    """
    try:
        return WireSetting(**plain)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"not a setting of a wire: {error}", mend="see docs/testbed.md for what a link can do"
        ) from error


def control_socket(index: int) -> Path:
    """The socket over which the wire of one link is read and changed."""
    return paths.wire_dir(index) / "control"


def start_tap_wire(plan: LabPlan, link: LinkPlan, lab_id: str) -> None:
    """Start the process that joins two taps, one in each host's network; returns when both exist.

    It stays in the parent's namespaces: a host can neither see nor stop its wires.

    Raises:
        ProvisionError: it could not be started, or did not report in time; what it said last is quoted.
    """
    directory = paths.wire_dir(link.index)
    directory.mkdir(parents=True)
    report, report_child = os.pipe()
    ends = [[str(paths.NETNS_DIR / plan.host(end.host).namespace), end.interface] for end in link.ends]
    wanted = {
        "forward_from": ends[0],
        "backward_from": ends[1],
        "control": str(control_socket(link.index)),
        "ready_fd": report_child,
    }
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("_wire.py")), json.dumps(wanted)]
    try:
        with (directory / "console.log").open("wb") as console:
            # As a host's first process: handed to the machine's init, it outlives this command.
            subprocess.run(
                ["setsid", "--fork", *program],
                env=environment(lab_id),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[report_child],
                check=True,
            )
        os.close(report_child)
        report_child = -1
        _wait_for_wire(link, report)
    finally:
        os.close(report)
        if report_child >= 0:
            os.close(report_child)


def read_wire(a: str, b: str) -> WireReading:
    """What is set on the wire between two hosts of the running lab; ``forward`` is from ``a`` to ``b``.

    Raises:
        ConflictError: no lab is up, or its wires are netem, set inside the hosts.
        SpecError: there is no such host or link.
        ProvisionError: the wire does not answer.
    """
    link = _tap_link(a, b)
    return _oriented(ask_wire(link.index), link, a)


def set_wire(a: str, b: str, *, forward: WireSetting, backward: WireSetting) -> WireChange:
    """Set both directions of the wire between two hosts while it runs; packets on it keep their delay.

    Both change at once, between two packets. Nothing is sent when both are as wanted; then ``changed`` is False.

    Args:
        a: a host.
        b: the host at the other end.
        forward: what packets from ``a`` to ``b`` meet.
        backward: what packets from ``b`` to ``a`` meet.

    Raises:
        ConflictError: no lab is up, or its wires are netem, set inside the hosts.
        SpecError: there is no such host or link.
        ProvisionError: the wire does not answer, or does not keep what was set.
    """
    link = _tap_link(a, b)
    before = _oriented(ask_wire(link.index), link, a)
    if (before.forward, before.backward) == (forward, backward):
        return WireChange(before, before, changed=False)
    ways = (forward, backward) if link.ends[0].host == a else (backward, forward)
    wanted = {name: way.to_plain() for name, way in zip(("forward", "backward"), ways, strict=True)}
    after = _oriented(ask_wire(link.index, wanted), link, a)
    if (after.forward, after.backward) != (forward, backward):
        raise ProvisionError(f"asked for {forward} and {backward}, the wire holds {after}", where=f"wire {a}-{b}")
    return WireChange(before, after, changed=True)


def ask_wire(index: int, wanted: Mapping[str, Mapping[str, object]] | None = None) -> WireReading:
    """Read the wire of one link, after changing what ``wanted`` names.

    Raises:
        ProvisionError: nobody answers, or the wire refused.
    """
    path = control_socket(index)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(ANSWER_TIMEOUT_S)
            client.connect(str(path))
            client.sendall(json.dumps(wanted or {}).encode())
            answer = json.loads(client.recv(_MAX_MESSAGE_BYTES))
    except (OSError, ValueError) as error:
        mend = "run slicebed lab down, then slicebed lab up"
        raise ProvisionError(f"the wire does not answer: {error}", where=str(path), mend=mend) from error
    if "error" in answer:
        raise ProvisionError(f"the wire refused: {answer['error']}", where=str(path))
    forward, backward = WireSetting(**answer["forward"]), WireSetting(**answer["backward"])
    return WireReading(forward, backward, bool(answer["realtime"]), int(answer["overflow_packets"]))


def _oriented(reading: WireReading, link: LinkPlan, first: str) -> WireReading:
    if link.ends[0].host == first:
        return reading
    return WireReading(reading.backward, reading.forward, reading.realtime, reading.overflow_packets)


def _tap_link(a: str, b: str) -> LinkPlan:
    state = read_state()
    if state is None:
        raise ConflictError("no lab is up", mend="run slicebed lab up")
    for name in (a, b):
        state.plan.host(name)
    link = state.plan.link(a, b)
    if state.plan.wire is not WireKind.TAP:
        raise ConflictError(
            "this lab's wires are netem, set inside the hosts",
            where=f"wire {a}-{b}",
            mend="use slicebed apply, or tc in the hosts",
        )
    return link


def _wait_for_wire(link: LinkPlan, report: int) -> None:
    readable, _, _ = select.select([report], [], [], START_TIMEOUT_S)
    text = os.read(report, 4096).decode() if readable else "no report in time"
    if text != "ready\n":
        log = paths.wire_dir(link.index) / "console.log"
        said = text.removeprefix("failed ").strip() or last_line(log.read_text(errors="replace"))
        raise ProvisionError(f"the wire could not be started: {said}", where=f"wire {'-'.join(link.between)}")
