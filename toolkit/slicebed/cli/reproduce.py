"""`slicebed reproduce`: published tables and figures, from this testbed, each statement with its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import ConsoleProgress, console, print_json
from slicebed.cli._options import InventoryOption, inventory_of
from slicebed.testbed.checkout import find_checkout


def reproduce(
    targets: Annotated[
        list[str],
        typer.Argument(
            help=(
                "couper-table5, couper-table6, couper-fig4, couper-fig9, couper-fig10-12, dnn-slicing, or all of"
                " them: all."
            )
        ),
    ],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer models, conditions and frames: all of it in half an hour.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say which campaigns it takes, and how long.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the newest unfinished reproduction of the same targets and form."),
    ] = False,
    deploy: Annotated[bool, typer.Option(help="Make sure first that the agents are deployed and running.")] = True,
    inventory: InventoryOption = None,
    results: Annotated[Path | None, typer.Option(help="Where reproductions go; default: results/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print tables and statements, or the plan, as JSON.")] = False,
) -> None:
    """Run what the published tables and figures need, and show them beside the published ones, with verdicts."""
    # pandas and gRPC, not for --help
    from slicebed.results.reproduce.render import plan_table  # noqa: PLC0415
    from slicebed.run import reproduce as running  # noqa: PLC0415

    checkout = find_checkout()
    planned = running.plan(checkout, targets, quick=quick)
    out = console() if plan else console(stderr=True)
    rows = [(e.part.name, f"experiments/{e.part.file}", e.problems, e.cells, e.seconds) for e in planned]
    freeze = running.models_to_freeze(checkout, planned)
    if plan and as_json:
        names = ("part", "experiment", "problems", "cells", "seconds")
        parts = [dict(zip(names, row, strict=True)) for row in rows]
        print_json({"quick": quick, "parts": parts, "freeze_first": list(freeze)})
        return
    out.print(plan_table(rows))
    if freeze:
        first = f"To be frozen first, beside these minutes, for the cache does not have them: {', '.join(freeze)}"
        out.print(first, markup=False)
    if plan:
        return
    wanted = running.ReproduceWanted(
        tuple(targets), inventory_of(checkout, inventory), results or checkout.results, quick=quick
    )
    found = running.reproduce(
        checkout,
        wanted,
        ConsoleProgress(),
        lambda text: out.print(f"[bold]{text}[/]", soft_wrap=True),
        resume=resume,
        deploy=deploy,
    )
    show_reproduction(found.folder, as_json=as_json)
    running.require_whole(found)


def show_reproduction(folder: Path, *, as_json: bool) -> None:
    """Write tables/ and index.html of a reproduction and print what it says.

    Raises:
        SpecError: it is no reproduction's folder, or its reproduce.json is not whole.
    """
    # As above.
    from slicebed.results.reproduce.render import render_report  # noqa: PLC0415
    from slicebed.results.reproduce.report import to_json, write_report  # noqa: PLC0415
    from slicebed.run.reproduction import Reproduction  # noqa: PLC0415

    found = Reproduction(folder)
    report = write_report(found)
    if as_json:
        print_json(to_json(found, report))
        return
    render_report(console(), report)
    console().print(f"Page: {folder / 'index.html'}  tables: {folder / 'tables'}", markup=False, soft_wrap=True)
