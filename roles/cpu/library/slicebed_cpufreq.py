"""Ansible module: one fixed processor frequency through cpufreq; runs in the host tools' own Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.slicebed_module import STATE, run_module

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slicebed_cpufreq
short_description: Run every processor at one frequency, or put back the limits that were found
options:
  frequency_khz:
    description: The frequency, within the hardware's range; required with C(state=present).
    type: int
  saved:
    description: File on the host that keeps the limits found before the first change.
    type: path
    required: true
  state:
    description: C(absent) puts back the saved limits and removes the file.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

SYSFS = Path("/sys/devices/system/cpu/cpufreq")


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read, plan, save what was found, apply and read back."""
    from slicebed_agent.host import cpufreq  # noqa: PLC0415 - only the host tools' Python has it

    saved = Path(module.params["saved"])
    policies = cpufreq.read_policies(SYSFS)
    if module.params["state"] == "present":
        steps = cpufreq.plan(module.params["frequency_khz"], policies)
        changed = bool(steps)
    else:
        before = json.loads(saved.read_text()) if saved.exists() else {}
        steps = cpufreq.plan_restore(before, policies)
        changed = saved.exists()
    if not module.check_mode:
        if steps and module.params["state"] == "present":
            cpufreq.save(saved, policies)
        cpufreq.apply(steps)
        if module.params["state"] == "absent":
            saved.unlink(missing_ok=True)
    said = "".join(f"{path}: {khz} kHz\n" for path, khz in steps)
    return {"changed": changed, "diff": {"prepared": said}, "driver": policies[0].driver if policies else None}


def main() -> None:
    """Ansible's way in."""
    run_module(
        run,
        {"frequency_khz": {"type": "int"}, "saved": {"type": "path", "required": True}, "state": STATE},
        required_if=[("state", "present", ["frequency_khz"])],
    )


if __name__ == "__main__":
    main()
