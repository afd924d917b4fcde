"""`slicebed run`: an experiment, from its file to tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import ConsoleProgress
from slicebed.cli._options import InventoryOption, inventory_of
from slicebed.cli.report import show_report
from slicebed.spec.experiment import load_experiment
from slicebed.testbed.checkout import find_checkout


def run(
    experiment: Annotated[Path, typer.Argument(help="Experiment file, such as experiments/dnn_slicing.yml.")],
    *,
    configuration: Annotated[
        list[str] | None, typer.Option(help="Only this configuration; may be given several times.")
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(help="Only this cut, such as 1-8, by its label in the results; may be given several times."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames per run instead of the file's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest unfinished campaign.")] = False,
    deploy: Annotated[bool, typer.Option(help="Make sure first that the agents are deployed and running.")] = True,
    inventory: InventoryOption = None,
    results: Annotated[Path | None, typer.Option(help="Where campaigns go; default: results/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Run an experiment on the testbed and leave samples, tables and plots in one folder."""
    from slicebed.run.campaign import Wanted, run_campaign  # noqa: PLC0415 - pandas and gRPC, not for --help

    checkout = find_checkout()
    wanted = Wanted(
        experiment=load_experiment(experiment),
        inventory=inventory_of(checkout, inventory),
        results=results or checkout.results,
        configurations=tuple(configuration) if configuration else None,
        cuts=tuple(cut) if cut else None,
        frames=frames,
    )
    campaign = run_campaign(checkout, wanted, ConsoleProgress(), resume=resume, deploy=deploy)
    show_report(campaign.folder, as_json=as_json)
