"""Ansible module: condition of a userspace wire of the embedded lab; runs on the control machine, where the wire is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.slicebed_module import run_module

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slicebed_wire
short_description: Delay, jitter, loss, duplicates and order on a wire between two hosts of the embedded lab
description:
  - For kernels without netem, where nothing inside the hosts can delay a packet.
options:
  wire:
    description: C(a), C(b), and the settings C(forward) (a to b) and C(backward); a direction left out is unshaped.
    type: dict
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read the wire, compare, and (outside check mode) set it; `slicebed` in the result is as of slicebed_host."""
    from slicebed.lab import read_wire, set_wire, wire_setting  # noqa: PLC0415 - Ansible imports modules it only documents

    wire = module.params["wire"]
    a, b = str(wire["a"]), str(wire["b"])
    forward, backward = (wire_setting(wire.get(side) or {}) for side in ("forward", "backward"))
    before = read_wire(a, b)
    changes = [
        {"part": "network", "where": f"wire {way}", "what": name, "now": now, "wanted": wanted.to_plain()[name]}
        for way, held, wanted in ((f"{a} -> {b}", before.forward, forward), (f"{b} -> {a}", before.backward, backward))
        for name, now in held.to_plain().items()
        if now != wanted.to_plain()[name]
    ]
    if changes and not module.check_mode:
        set_wire(a, b, forward=forward, backward=backward)
    said = "".join(f"{each['where']}: {each['what']} {each['now']} -> {each['wanted']}\n" for each in changes)
    answer = {"verb": "wire", "changes": changes, "writes": int(bool(changes)), "at_risk": False}
    return {"changed": bool(changes), "slicebed": answer, "diff": {"prepared": said}}


def main() -> None:
    """Ansible's way in."""
    run_module(run, {"wire": {"type": "dict", "required": True}})


if __name__ == "__main__":
    main()
