"""Ansible module: condition of a vde wire of the embedded lab; runs on the control machine, where the wire is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.slicebed_module import run_module

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slicebed_wire
short_description: Delay, jitter and rate of a userspace wire between two hosts of the embedded lab
description:
  - For kernels without netem, where nothing inside the hosts can delay a packet.
options:
  a:
    description: One end.
    type: str
    required: true
  b:
    description: The other end.
    type: str
    required: true
  delay_us:
    description: One-way delay in microseconds, in both directions.
    type: int
    default: 0
  jitter_us:
    description: Standard deviation of the delay in microseconds.
    type: int
    default: 0
  rate_bit_per_s:
    description: Rate; without it the wire is not limited.
    type: int
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read the wire, compare, and (outside check mode) set it."""
    from slicebed.lab.wires import WireSetting, read_wire, set_wire  # noqa: PLC0415 - Ansible imports modules it only documents

    a, b = module.params["a"], module.params["b"]
    wanted = WireSetting(module.params["delay_us"], module.params["jitter_us"], module.params["rate_bit_per_s"])
    before = read_wire(a, b)
    if before.matches(wanted):
        return {"changed": False}
    if not module.check_mode:
        set_wire(a, b, wanted)
    return {"changed": True, "diff": {"before": f"{before.forward}\n", "after": f"{wanted}\n"}}


def main() -> None:
    """Ansible's way in."""
    name = {"type": "str", "required": True}
    number = {"type": "int", "default": 0}
    run_module(run, {"a": name, "b": name, "delay_us": number, "jitter_us": number, "rate_bit_per_s": {"type": "int"}})


if __name__ == "__main__":
    main()
