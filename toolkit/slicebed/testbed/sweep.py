"""Conditions between two runs of a sweep: over the held channels, in milliseconds, without a playbook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError
from slicebed.lab import set_wire, wire_setting
from slicebed.testbed.channel import on_all, open_channel
from slicebed_agent.host.workload import group_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.testbed.channel import HostChannel
    from slicebed.testbed.target import Asked, Target

_TIMEOUT_S = 60.0
CONFIRM_WITHIN_S = 30.0


def require_limited(channels: Mapping[str, HostChannel], asked: Asked) -> None:
    """Make sure that the limits of workloads hold for something.

    Raises:
        ProvisionError: no process is in a control group whose limits are asked for.
    """
    limited = {name: channel for name, channel in channels.items() if asked.wishes.get(name, {}).get("workload")}
    found = on_all(limited, lambda name, channel: channel.call("held", {"host": name}, _TIMEOUT_S))
    for name, answer in found.items():
        if not answer["processes"]:
            raise ProvisionError(
                f"nothing runs in the workload's control group {group_name(name)}: its limits hold for nothing",
                where=f"host {name}",
                mend="without --no-deploy the agent is started in it; by hand: slicebed apply, then slicebed deploy",
            )


def unshape(channels: Mapping[str, HostChannel], target: Target) -> None:
    """Take every condition off the links of a testbed, on its hosts and on the lab's wires.

    Raises:
        ProvisionError: a host did not go back.
    """
    on_all(channels, lambda _, channel: channel.call("restore", {"only": ["network"]}, _TIMEOUT_S))
    bare = replace(target, testbed=replace(target.testbed, links=()), parts=frozenset({"network"}))
    _set_wires(bare.asked({}))


def change_conditions(
    channels: Mapping[str, HostChannel], asked: Asked, on_loan_to: str | None = None
) -> dict[str, dict[str, Any]]:
    """Make hosts and wires as asked, all at once; each host's outcome, as `slicebed apply --json` has it.

    Where an interface that carries SSH is touched, the host's dead-man timer is confirmed over a fresh connection.

    Args:
        channels: to the hosts.
        asked: of them and of the wires.
        on_loan_to: a campaign: limits of hosts hold until `put_back`; None: they stay.

    Raises:
        ProvisionError: a host refused; what it had done of this change is undone.
    """

    def change(name: str, channel: HostChannel) -> dict[str, Any]:
        request = {"wish": asked.wishes[name], "confirm_within_s": CONFIRM_WITHIN_S, "on_loan_to": on_loan_to}
        return _confirmed(channel, channel.call("apply", request, _TIMEOUT_S))

    outcomes = on_all({name: channel for name, channel in channels.items() if name in asked.wishes}, change)
    _set_wires(asked)
    return outcomes


def put_back(channel: HostChannel) -> str | None:
    """Make a host's limits that are on loan to a campaign as they were before it; give its name, None without a loan.

    Raises:
        ProvisionError: the host did not go back.
    """
    outcome = _confirmed(channel, channel.call("put_back", {}, _TIMEOUT_S))
    by: str | None = outcome["on_loan_to"]
    return by


def _confirmed(channel: HostChannel, outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome, whose dead-man timer, if one runs, is stopped over a fresh connection."""
    if outcome["token"] is not None:
        with open_channel(channel.host) as fresh:
            fresh.call("confirm", {"token": outcome["token"]}, _TIMEOUT_S)
    return outcome


def _set_wires(asked: Asked) -> None:
    for wire in asked.wires:
        set_wire(wire["a"], wire["b"], forward=wire_setting(wire["forward"]), backward=wire_setting(wire["backward"]))
