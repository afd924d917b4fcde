"""`slicebed gather`: logs and facts of the hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import console
from slicebed.cli._options import InventoryOption, inventory_of
from slicebed.testbed.checkout import find_checkout
from slicebed.testbed.playbook import Playbook, run_playbook


def gather(
    *,
    inventory: InventoryOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder to fill; default: results/gathered.")] = None,
) -> None:
    """Fetch every host's agent log and facts (playbooks/gather.yml)."""
    checkout = find_checkout()
    folder = (out or checkout.results / "gathered").resolve()
    playbook = Playbook("gather.yml", inventory_of(checkout, inventory), None, {"gather_directory": str(folder)})
    run_playbook(checkout, playbook, lambda _: None)
    console().print(f"Gathered into {folder}")
