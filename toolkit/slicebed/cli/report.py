"""`slicebed report`: tables and plots of a campaign, again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import console, print_json


def report(
    campaign: Annotated[Path, typer.Argument(help="Folder of a campaign, such as results/dnn_slicing-...")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Make tables and plots from a campaign's samples, beside the published figures."""
    show_report(campaign, as_json=as_json)


def show_report(campaign: Path, *, as_json: bool) -> None:
    """Write tables/ and plots/ and print the tables."""
    # pandas and matplotlib, not for --help
    from slicebed.results import campaign as folder  # noqa: PLC0415
    from slicebed.results import plots, render, tables  # noqa: PLC0415

    found = folder.read_campaign(campaign)
    table = tables.table_of(found)
    tables.write_tables(campaign)
    drawn = plots.write_plots(campaign)
    if as_json:
        print_json(tables.to_json(found, table))
    else:
        render.render(console(), found, table)
        told = f"Tables: {campaign / 'tables'}"
        console().print(f"{told}  plots: {campaign / 'plots'}" if drawn else told, soft_wrap=True)
