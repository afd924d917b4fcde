"""Ansible module: conditions of a host's outgoing links through netlink; runs in the host tools' own Python."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from ansible.module_utils.slicebed_module import STATE, run_module

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slicebed_links
short_description: One-way delay, jitter and rate towards peers, one class per peer
description:
  - Everything on the interface that is not for a named peer passes unshaped, SSH among it.
  - Changes in place where it can; the second run changes nothing.
options:
  links:
    description: Peers with their conditions.
    type: list
    elements: dict
    required: true
  state:
    description: C(absent) takes everything of Slicebed off the interfaces that the links name.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

LINK = {
    "interface": {"type": "str", "required": True},
    "peer_address": {"type": "str", "required": True},
    "delay_us": {"type": "int", "default": 0},
    "jitter_us": {"type": "int", "default": 0},
    "rate_bit_per_s": {"type": "int"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read, plan, and (outside check mode) apply; `steps` says what was or would be done."""
    from slicebed_agent.host import kernel_links, links  # noqa: PLC0415 - only the host tools' Python has it

    wishes = [
        links.Wish(
            link["interface"],
            IPv4Address(link["peer_address"]),
            links.Condition(link["delay_us"], link["jitter_us"], link["rate_bit_per_s"]),
        )
        for link in module.params["links"]
    ]
    with kernel_links.open_netlink() as netlink:
        found = kernel_links.read(netlink, [wish.interface for wish in wishes])
        steps = links.plan(wishes, found) if module.params["state"] == "present" else links.plan_absent(found)
        if not module.check_mode:
            kernel_links.apply(netlink, steps)
            left = kernel_links.read(netlink, [wish.interface for wish in wishes])
            again = links.plan(wishes, left) if module.params["state"] == "present" else links.plan_absent(left)
            if again:
                module.fail_json(msg=f"the kernel did not take: {'; '.join(map(str, again))}")
    said = [str(step) for step in steps]
    return {"changed": bool(steps), "steps": said, "diff": {"prepared": "".join(f"{line}\n" for line in said)}}


def main() -> None:
    """Ansible's way in."""
    links = {"type": "list", "elements": "dict", "required": True, "options": LINK}
    run_module(run, {"links": links, "state": STATE})


if __name__ == "__main__":
    main()
