"""Ansible module: a host's certificate of the testbed's own authority; runs on the control machine, where that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.slicebed_module import run_module

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: slicebed_certificate
short_description: Certificate and key of one host, made or renewed where needed
description:
  - The authority and what it issued are below C($XDG_STATE_HOME/slicebed/tls) on the control machine.
  - The result has paths and a fingerprint; no private key.
options:
  host:
    description: The host's name in the inventory.
    type: str
    required: true
  testbed:
    description: Whatever tells testbeds apart; each has an authority of its own.
    type: str
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""


def run(module: AnsibleModule) -> dict[str, Any]:
    """Make what is missing; in check mode only say so."""
    from slicebed.testbed.tls import authority_folder, host_certificate  # noqa: PLC0415 - Ansible imports modules it only documents

    folder = authority_folder(module.params["testbed"])
    files = host_certificate(folder, module.params["host"], check=module.check_mode)
    paths = {"ca": files.authority, "cert": files.certificate, "key": files.key}
    return {
        "changed": files.changed,
        "files": {name: str(path) for name, path in paths.items()},
        "fingerprint": files.fingerprint,
    }


def main() -> None:
    """Ansible's way in."""
    run_module(run, {"host": {"type": "str", "required": True}, "testbed": {"type": "str", "required": True}})


if __name__ == "__main__":
    main()
