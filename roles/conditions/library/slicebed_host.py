"""Ansible module: one verb of the host tools. The planner and executor are the held channel's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.slicebed_module import run_module

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slicebed_host
short_description: Plans, applies, checks and restores the conditions of a host
description:
  - C(PYTHONPATH) must hold the host tools (role C(host_tools)).
  - Check mode plans; C(changed) is true exactly when something was, or would be, written.
options:
  verb:
    description: What to do.
    type: str
    choices: [plan, apply, confirm, restore, drift, doctor]
    required: true
  wish:
    description: The conditions wanted, for C(plan) and C(apply).
    type: dict
  token:
    description: What C(apply) returned, for C(confirm).
    type: str
  only:
    description: The parts that C(restore) takes back; default all.
    type: list
    elements: str
  confirm_within_s:
    description: Seconds until the dead-man timer of C(apply) restores.
    type: float
    default: 30
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""


def run(module: AnsibleModule) -> dict[str, Any]:
    """Call the verb; `slicebed` in the result is its answer."""
    from slicebed_agent.host import verbs  # noqa: PLC0415 - only the host has it, by PYTHONPATH

    asked = module.params
    match asked["verb"]:
        case "plan":
            # Refuses what cannot be, on every host, before any host is changed.
            verbs.plan({"wish": asked["wish"]})
            return {"changed": False}
        case "apply" if module.check_mode:
            answer = verbs.plan({"wish": asked["wish"]})
        case "apply":
            answer = verbs.apply({"wish": asked["wish"], "confirm_within_s": asked["confirm_within_s"]})
        case "restore":
            answer = verbs.restore({"only": asked["only"], "check": module.check_mode})
        case "drift":
            return {"changed": False, "slicebed": {"verb": "drift", **verbs.drift({})}}
        case "doctor":
            return {"changed": False, "slicebed": {"verb": "doctor", **verbs.doctor({})}}
        case _:
            verbs.confirm({"token": asked["token"]})
            return {"changed": False}
    said = [f"{each['where']}: {each['what']} {each['now']} -> {each['wanted']}" for each in answer["changes"]]
    return {
        "changed": bool(answer["writes"]),
        "slicebed": {"verb": asked["verb"], **answer},
        "diff": {"prepared": "".join(f"{line}\n" for line in said)},
    }


def main() -> None:
    """Ansible's way in."""
    run_module(
        run,
        {
            "verb": {
                "type": "str",
                "required": True,
                "choices": ["plan", "apply", "confirm", "restore", "drift", "doctor"],
            },
            "wish": {"type": "dict"},
            "token": {"type": "str", "no_log": False},
            "only": {"type": "list", "elements": "str"},
            "confirm_within_s": {"type": "float", "default": 30.0},
        },
        required_if=[("verb", "plan", ["wish"]), ("verb", "apply", ["wish"]), ("verb", "confirm", ["token"])],
    )


if __name__ == "__main__":
    main()
