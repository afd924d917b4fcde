"""`slicebed deploy` and `slicebed teardown`: the playbooks through ansible-runner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import console, print_json
from slicebed.cli._options import InventoryOption, inventory_of
from slicebed.run.taken import hosts_taken
from slicebed.testbed.checkout import find_checkout
from slicebed.testbed.inventory import read_inventory
from slicebed.testbed.playbook import Playbook, Recap, run_playbook

CheckOption = Annotated[bool, typer.Option("--check", help="Say what would change and change nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print Ansible's count per host as JSON.")]


def deploy(*, inventory: InventoryOption = None, check: CheckOption = False, as_json: JsonOption = False) -> None:
    """Condition the hosts and links, start the agents, fetch logs (playbooks/site.yml). Twice changes nothing."""
    _show(_play("site.yml", inventory, check=check), as_json=as_json)


def teardown(*, inventory: InventoryOption = None, check: CheckOption = False, as_json: JsonOption = False) -> None:
    """Undo everything that deploy did (playbooks/teardown.yml)."""
    _show(_play("teardown.yml", inventory, check=check), as_json=as_json)


def _play(name: str, inventory: Path | None, *, check: bool) -> Recap:
    checkout = find_checkout()
    out = console(stderr=True)
    hosts = inventory_of(checkout, inventory)
    with hosts_taken(hosts, read_inventory(hosts)), out.status(name) as status:
        playbook = Playbook(name, hosts, check=check)
        return run_playbook(checkout, playbook, lambda task: status.update(f"{name}: {task}"))


def _show(recap: Recap, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": dict(recap.ok), "changed": dict(recap.changed)})
        return
    for host, ok in sorted(recap.ok.items()):
        console().print(f"{host}: ok={ok} changed={recap.changed.get(host, 0)}")
