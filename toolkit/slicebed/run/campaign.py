"""Runs a campaign: blocks of one condition each, inside a block one run after the other, everything journaled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from slicebed.run.bench import image_if_built, journaled, reached
from slicebed.run.found_cuts import resolve_cuts
from slicebed.run.sliced_model import open_choice, slice_model
from slicebed.run.stage import Stage, ground_of, hosts_of
from slicebed.run.store import Campaign, create_campaign, find_unfinished
from slicebed.run.taken import hosts_taken
from slicebed.spec.order import PlannedRun, plan_runs
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slicebed.run.bench import Bench
    from slicebed.run.progress import Progress
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.spec.experiment import Experiment
    from slicebed.split.model import OpenedModel
    from slicebed.testbed.checkout import Checkout


@dataclass(frozen=True)
class Wanted:
    """What the caller asks of a campaign: which part of the experiment, on which hosts, where the results go."""

    experiment: Experiment
    inventory: Path
    results: Path
    configurations: tuple[str, ...] | None = None
    cuts: tuple[str, ...] | None = None
    frames: int | None = None

    def runs(self) -> tuple[PlannedRun, ...]:
        """The runs, in order; the same every time."""
        return plan_runs(self.experiment, self.configurations, self.cuts, self.frames)

    def plan(self, model: SlicedModel, ground: Mapping[str, Any]) -> dict[str, Any]:
        """What campaign.json keeps, and what must be the same for --resume; with what `ground_of` gives."""
        source = self.experiment.path.read_bytes()
        return {
            "experiment": self.experiment.name,
            "experiment_sha256": hashlib.sha256(source).hexdigest(),
            "runs": [run.run_id for run in self.runs()],
            "frames": self.frames or self.experiment.frames,
            "spec": self.experiment.to_plain(),
            "model": model.to_plain(),
            **ground,
        }


def run_campaign(
    checkout: Checkout, wanted: Wanted, progress: Progress, *, resume: bool = False, deploy: bool = True
) -> Campaign:
    """Open the model, deploy, run what is not yet done, gather logs; give the campaign.

    Args:
        checkout: where the playbooks are.
        wanted: what to run.
        progress: told what goes on.
        resume: go on with the newest unfinished campaign of this experiment instead of a new one.
        deploy: make sure first that host tools and agents are there and running; False when they surely are.

    Raises:
        SpecError: the model lacks a split point, the inventory a host or a link, or there is nothing to resume on
            these hosts with this image.
        AgentError: the model cannot be opened.
        MissingRequirementError: there is no agent image, or no such inventory.
        ConflictError: another campaign runs on these hosts.
        ProvisionError: a playbook failed.
        VerdictError: a link's measured round trip is not the asked one.
        RunError: a run failed; its samples are kept in a folder named .failed-N.
        InterruptedRunError: Ctrl-C; the run under way is kept the same way.
    """
    if not wanted.experiment.is_cut_by_rule:
        wanted.runs()  # a wrong option shows before the model is opened, which takes a while
    find = find_unfinished if resume else create_campaign
    try:
        # First what the experiment's file alone is to blame for: that a typo shows must not take a lab and an image.
        opened = open_choice(wanted.experiment.model, image=image_if_built(checkout), say=progress.say)
        wanted = replace(wanted, experiment=resolve_cuts(wanted.experiment, opened))
        runs, model = wanted.runs(), slice_model(wanted.experiment, opened)
        image = read_image_facts(checkout)
        found = read_inventory(wanted.inventory)
        hosts = hosts_of(wanted.experiment, wanted.inventory, found)
        plan = wanted.plan(model, ground_of(image, hosts))
        with (
            hosts_taken(wanted.inventory, found),
            find(wanted.results, wanted.experiment.name, plan).taken() as campaign,
        ):
            left = [run for run in runs if not campaign.is_done(run.run_id)]
            stage = Stage(checkout, wanted.inventory, hosts, campaign, progress, campaign.folder)
            progress.begin(campaign.name, len(runs), len(runs) - len(left))
            with journaled(campaign, (stage,)):
                stage.make_ready(deploy=deploy)
                with reached(stage, image) as bench:
                    _run_all(bench, wanted.experiment, (opened, model), left)
            stage.gather()
            campaign.complete()
    finally:
        progress.end()
    return campaign


def _run_all(
    bench: Bench, experiment: Experiment, model: tuple[OpenedModel, SlicedModel], left: Sequence[PlannedRun]
) -> None:
    """Do the runs that are left, block by block."""
    subject = bench.place(experiment, *model, left)
    for configuration, block in groupby(left, key=lambda run: run.configuration):
        links = bench.set_conditions(experiment, configuration)
        for run in block:
            bench.run(subject, run, links)
