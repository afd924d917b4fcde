"""`slicebed report`: tables and plots of a campaign, again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import console, print_json
from slicebed.cli.reproduce import show_reproduction
from slicebed.errors import SpecError


def report(
    campaign: Annotated[Path, typer.Argument(help="Folder of a campaign, such as results/dnn_slicing-...")],
    *,
    pareto: Annotated[
        str | None,
        typer.Option(help="Of a search: the front of two metrics, such as latency,drop_rate.", metavar="METRIC,METRIC"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Make tables and plots from a campaign's samples, beside the published figures; of a search, the referee's.

    A folder of slicebed reproduce gives its page again.
    """
    from slicebed.results.referee.folder import is_search  # noqa: PLC0415 - pandas and matplotlib, not for --help

    if pareto is None and (campaign / "reproduce.json").is_file():
        show_reproduction(campaign, as_json=as_json)
        return
    if is_search(campaign):
        _show_search(campaign, pareto, as_json=as_json)
        return
    if pareto is not None and campaign.is_dir():
        raise SpecError("--pareto is of a search", where=str(campaign), mend="name a folder that slicebed search made")
    show_report(campaign, as_json=as_json)


def show_report(campaign: Path, *, as_json: bool) -> None:
    """Write tables/ and plots/ of a campaign that is no search and print the tables."""
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


def _show_search(campaign: Path, pareto: str | None, *, as_json: bool) -> None:
    """Write tables/, plots/ and report.html of a search and print what the referee says."""
    # As above.
    from slicebed.results.referee.front import LATENCY_AND_DROPS, metrics_of  # noqa: PLC0415
    from slicebed.results.referee.report import write_judged  # noqa: PLC0415
    from slicebed.results.referee.tables import referee_of, to_json  # noqa: PLC0415
    from slicebed.results.referee.terminal import show  # noqa: PLC0415

    judged = referee_of(campaign, LATENCY_AND_DROPS if pareto is None else metrics_of(pareto))
    page = write_judged(judged, campaign)
    if as_json:
        print_json(to_json(judged))
    else:
        show(console(), judged, front=pareto is not None)
        console().print(f"Report: {page}  tables: {campaign / 'tables'}", markup=False, soft_wrap=True)
