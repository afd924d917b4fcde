"""`slicebed image`: the agent image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from slicebed.cli._console import console, print_json
from slicebed.testbed.checkout import find_checkout
from slicebed.testbed.image import build_image

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The agent image: one for every role."""


@app.command()
def build(
    *,
    base_image: Annotated[
        str | None,
        typer.Option(help="Image with Python 3.11 to start from; without it a Debian base is made with mmdebstrap."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print reference, id and checksums as JSON.")] = False,
) -> None:
    """Build the agent image and the hosts' wheels from this checkout; does nothing when they are up to date."""
    facts, built = build_image(find_checkout(), base_image, lambda text: console(stderr=True).print(f"image: {text}"))
    if as_json:
        print_json({**asdict(facts), "built": built})
    else:
        console().print(f"{'Built' if built else 'Up to date:'} {facts.reference}")
