"""What Slicebed's Ansible modules share: check mode, and every failure as one line of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}


def run_module(
    run: Callable[[AnsibleModule], dict[str, Any]], argument_spec: dict[str, Any], **constraints: Any
) -> None:
    """Read the arguments, call `run`, and hand its result to Ansible.

    Args:
        run: does the work; changes nothing when the module's check_mode is set.
        argument_spec: the module's options.
        constraints: further keywords of AnsibleModule, such as required_if.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **constraints)
    try:
        result = run(module)
    except Exception as error:  # noqa: BLE001 - Ansible wants every failure as JSON, and the line says what failed
        refusal = {name: getattr(error, name, None) for name in ("what", "where", "mend", "asked")}
        module.fail_json(msg=f"{type(error).__name__}: {error}", **({"refusal": refusal} if refusal["what"] else {}))
    module.exit_json(**result)
