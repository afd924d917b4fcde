"""`slicebed demo`: the whole way, from nothing to tables, on the embedded lab."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from slicebed import lab
from slicebed.cli._console import ConsoleProgress, console
from slicebed.cli.provision import deploy
from slicebed.cli.report import show_report
from slicebed.spec.experiment import load_experiment
from slicebed.spec.testbed import load_testbed
from slicebed.testbed.checkout import find_checkout
from slicebed.testbed.image import build_image

_FRAMES = 20
# The extremes of the paper's eight: large and small tensors on both links.
_CUTS = ("1-8", "1-11", "3-8", "3-11")
_EXPERIMENT = Path("experiments") / "dnn_slicing.yml"


def demo(
    *,
    frames: Annotated[int, typer.Option(min=1, help="Frames per cut; the paper's experiment has 50.")] = _FRAMES,
) -> None:
    """Image, lab, playbooks, the paper's experiment in small, tables and plots. The lab stays up."""
    from slicebed.run.campaign import Wanted, run_campaign  # noqa: PLC0415 - pandas and gRPC, not for --help

    began = time.monotonic()
    out = console(stderr=True)
    checkout = find_checkout()

    def say(text: str) -> None:
        out.print(f"[bold]{time.monotonic() - began:6.1f} s[/]  {text}")

    say("agent image")
    build_image(checkout, None, say)
    say("embedded lab")
    lab.up(load_testbed(checkout.root / "inventory" / "testbeds" / "lab.yml"), root=checkout.root)
    say("playbooks/site.yml")
    deploy()
    say(f"{_EXPERIMENT}: three configurations, cuts {', '.join(_CUTS)}, {frames} frames each")
    wanted = Wanted(
        experiment=load_experiment(checkout.root / _EXPERIMENT),
        inventory=checkout.inventory,
        results=checkout.results,
        cuts=_CUTS,
        frames=frames,
    )
    campaign = run_campaign(checkout, wanted, ConsoleProgress(), deploy=False)
    show_report(campaign.folder, as_json=False)
    say(f"done; results in {campaign.folder}")
    out.print(
        f"The whole experiment: slicebed run {_EXPERIMENT}. The lab is still up: slicebed lab status,"
        " slicebed lab ssh edge, slicebed lab down."
    )
