"""`slicebed search`: the best cut by some methods, over real runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from slicebed.cli._console import ConsoleProgress, console, print_json
from slicebed.cli._options import InventoryOption, inventory_of
from slicebed.cli._search_lines import decision_lines, read_decisions
from slicebed.errors import SpecError
from slicebed.spec.experiment import load_experiment, own_search
from slicebed.spec.model_checks import zoo_name
from slicebed.spec.search_model import MAX_BUDGET
from slicebed.testbed.checkout import find_checkout


def search(
    experiment: Annotated[Path, typer.Argument(help="Experiment file, such as experiments/couper_search.yml.")],
    *,
    method: Annotated[
        list[str] | None,
        typer.Option(help="By this method instead of the file's; several share what is measured."),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="What is minimised instead of the file's: a metric, or as docs/search.md says.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, max=MAX_BUDGET, help="The most candidates that a method may measure.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model of the search; may be given several times.")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="Only this testbed of the search; may be given several times.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames per run instead of the file's.")] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="Take the hosts' profiles from this folder of an earlier search where they fit.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest unfinished search.")] = False,
    deploy: Annotated[bool, typer.Option(help="Make sure first that the agents are deployed and running.")] = True,
    inventory: InventoryOption = None,
    results: Annotated[Path | None, typer.Option(help="Where searches go; default: results/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decisions as JSON.")] = False,
) -> None:
    """Find the best cut in a few runs, and leave runs, tables and a report in one folder."""
    from slicebed.results.referee import write_report  # noqa: PLC0415 - pandas and matplotlib, not for --help
    from slicebed.run.search.engine import SearchWanted, run_search  # noqa: PLC0415 - gRPC, not for --help
    from slicebed.split.search.objective import parse  # noqa: PLC0415 - as above

    checkout = find_checkout()
    loaded = load_experiment(experiment)
    asked = loaded.search or own_search(loaded)
    if inventory is not None and asked.sites:
        raise SpecError(
            "the file names sites of its own", where="--inventory", mend="leave it out, or the file's sites"
        )
    wanted = SearchWanted(
        experiment=replace(loaded, search=asked),
        inventory=inventory_of(checkout, inventory),
        results=results or checkout.results,
        methods=tuple(method) if method else asked.methods,
        objective=parse(objective) if objective is not None else asked.objective,
        budget=asked.budget if budget is None else budget,
        models=tuple(zoo_name(each) or each for each in model) if model else None,
        conditions=tuple(condition) if condition else None,
        frames=frames,
        profiles=profiles,
        seed=loaded.order.seed,
    )
    campaign = run_search(checkout, wanted, ConsoleProgress(), resume=resume, deploy=deploy)
    report = write_report(campaign.folder)
    decisions = read_decisions(campaign.folder)
    if as_json:
        told = {"campaign": campaign.name, "folder": str(campaign.folder), "report": str(report)}
        print_json({**told, "decisions": [decision.to_plain() for decision in decisions]})
        return
    for decision in decisions:
        for line in decision_lines(decision):
            console().print(line, markup=False, soft_wrap=True)
    console().print(f"Report: {report}", markup=False, soft_wrap=True)
