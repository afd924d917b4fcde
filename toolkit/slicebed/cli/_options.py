"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slicebed.testbed.checkout import Checkout

InventoryOption = Annotated[
    Path | None,
    typer.Option("--inventory", "-i", help="Ansible inventory of the hosts; default: inventory/lab/hosts.yml."),
]
TestbedOption = Annotated[Path, typer.Option("--testbed", "-t", help="The testbed file.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only this part: network, cpu or workload; may be given several times."),
]


def inventory_of(checkout: Checkout, asked: Path | None) -> Path:
    """The inventory asked for, else the embedded lab's."""
    return asked if asked is not None else checkout.inventory
