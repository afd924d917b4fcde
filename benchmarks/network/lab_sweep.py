"""Conditions changed over held channels: what each of three lab hosts and wires takes between two runs of a sweep."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.network.stats import median

from slicebed import lab
from slicebed.spec.testbed import load_testbed
from slicebed.testbed.channel import on_all, open_channels
from slicebed.testbed.checkout import Checkout
from slicebed.testbed.conditions import Player
from slicebed.testbed.sweep import change_conditions
from slicebed.testbed.target import load_target

if TYPE_CHECKING:
    from slicebed.testbed.channel import HostChannel
    from slicebed.testbed.target import Asked

ROOT = Path(__file__).parents[2]
_TESTBEDS = ROOT / "inventory/testbeds"
_PRESET = _TESTBEDS / "couper_table3.yml"
_CHANGES = 30
_TIMEOUT_S = 60.0


def sweep() -> str:
    """Raise the lab, change its links to and fro over held channels, take it down; a paragraph with the figures."""
    if lab.status().health is not lab.Health.DOWN:
        return "Not measured: a lab is up on this machine; run slicebed lab down first."
    plan = lab.up(load_testbed(_PRESET), root=ROOT)
    try:
        target = load_target(Checkout(ROOT), _PRESET, plan.inventory, frozenset({"network"}))
        Player(target).bring_tools()
        asked = target.asked({}, before_measuring=True)
        with open_channels(target.hosts) as channels:
            change_conditions(channels, asked)
            hosts: dict[str, list[float]] = {name: [] for name in channels}
            whole = []
            for number in range(_CHANGES):
                other = _other(asked, 1 + number % 2)
                begin = time.monotonic()
                for name, seconds in on_all(channels, partial(_timed, other)).items():
                    hosts[name].append(1000 * seconds)
                change_conditions({}, other)
                whole.append(1000 * (time.monotonic() - begin))
    finally:
        lab.down(root=ROOT)
    shown = [f"{name} {_shown(values)}" for name, values in hosts.items()]
    return (
        f"Rate of every link changed {_CHANGES} times, wires of kind {plan.plan.wire.value} set alike; request to "
        "answer over SSH, median with its 95 % interval, and the longest: "
        f"{'; '.join(shown)}; all hosts and wires {_shown(whole)}."
    )


def _other(asked: Asked, factor: int) -> Asked:
    """The same links at another rate."""
    wishes = {}
    for name, wish in asked.wishes.items():
        links = []
        for link in wish["network"]["links"]:
            rate = link["condition"]["rate_bit_per_s"] // factor
            links.append({**link, "condition": {**link["condition"], "rate_bit_per_s": rate}})
        wishes[name] = {**wish, "network": {**wish["network"], "links": links}}
    return type(asked)(wishes, asked.wires)


def _timed(asked: Asked, name: str, channel: HostChannel) -> float:
    begin = time.monotonic()
    channel.call("apply", {"wish": asked.wishes[name]}, _TIMEOUT_S)
    return time.monotonic() - begin


def _shown(values: list[float]) -> str:
    middle = median(values)
    return f"{middle.median:.0f} ms [{middle.low:.0f}, {middle.high:.0f}], longest {max(values):.0f}"
