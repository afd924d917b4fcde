"""Runs a campaign: blocks of one condition each, inside a block one run after the other, everything journaled."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from slicebed.errors import InterruptedRunError, MissingRequirementError, RunError, SlicebedError, SpecError
from slicebed.run import driver
from slicebed.run.connection import HostConnection
from slicebed.run.evidence import agent_facts, source_version, tool_versions, verification_of
from slicebed.run.found_cuts import resolve_cuts
from slicebed.run.layout import lay_out
from slicebed.run.model_files import files_by_host, place_files
from slicebed.run.probe import PINGS, RECHECK, LinkVerdict, probe_links, require_passed, trips_of
from slicebed.run.samples import read_accounts, write_samples
from slicebed.run.sliced_model import open_choice, slice_model
from slicebed.run.store import Campaign, create_campaign, find_unfinished, hosts_taken, now, write_json
from slicebed.run.summary import summarise
from slicebed.spec.order import PlannedRun, plan_runs
from slicebed.testbed.apply import base_rtts, kept_base_rtts
from slicebed.testbed.conditions import Player
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory
from slicebed.testbed.playbook import Playbook, run_playbook
from slicebed.testbed.sweep import change_conditions
from slicebed.testbed.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from slicebed.run.files import RunFile
    from slicebed.run.probe import Trip
    from slicebed.run.progress import Progress
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.spec.experiment import Configuration, Experiment
    from slicebed.split.model import OpenedModel
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.image import ImageFacts
    from slicebed.testbed.inventory import InventoryHost


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

    def plan(self, model: SlicedModel) -> dict[str, Any]:
        """What campaign.json keeps, and what must be the same for --resume."""
        source = self.experiment.path.read_bytes()
        return {
            "experiment": self.experiment.name,
            "experiment_sha256": hashlib.sha256(source).hexdigest(),
            "runs": [run.run_id for run in self.runs()],
            "frames": self.frames or self.experiment.frames,
            "spec": self.experiment.to_plain(),
            "model": model.to_plain(),
        }


@dataclass(frozen=True)
class _Stage:
    """Where a campaign plays: its files, its hosts, its model, and who listens."""

    checkout: Checkout
    wanted: Wanted
    campaign: Campaign
    progress: Progress
    opened: OpenedModel
    model: SlicedModel

    def play(self, name: str, tags: str | None = None, **variables: Any) -> None:
        """Run one playbook on the campaign's hosts; its record stays in the campaign's folder."""
        artifacts = self.campaign.folder / "ansible" / name.removesuffix(".yml")
        playbook = Playbook(name, self.wanted.inventory, artifacts, variables, tags=tags)
        recap = run_playbook(self.checkout, playbook, lambda task: self.progress.say(f"{name}: {task}"))
        self.campaign.note("playbook", name=name, changed=recap.total_changed)

    def gather(self) -> None:
        """Fetch every host's agent log and facts into the campaign's folder."""
        self.play("gather.yml", gather_directory=str((self.campaign.folder / "hosts").resolve()))


@dataclass(frozen=True)
class _Links:
    """What is asked of a configuration's links, what was measured of them, and the last verification."""

    trips: Sequence[Trip]
    verdicts: Sequence[LinkVerdict]
    verification: dict[str, Any] | None


@dataclass(frozen=True)
class _Cast:
    """The agents, reached, and what every manifest says of them."""

    setting: driver.RunSetting
    neighbours: dict[str, InventoryHost]
    lasting: dict[str, Any]


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
        SpecError: the model lacks a split point, the inventory a host or a link, or there is nothing to resume.
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
        opened = open_choice(wanted.experiment.model, image=_image_if_built(checkout), say=progress.say)
        wanted = replace(wanted, experiment=resolve_cuts(wanted.experiment, opened))
        runs, model = wanted.runs(), slice_model(wanted.experiment, opened)
        image = read_image_facts(checkout)
        hosts = _hosts_of(wanted)
        with hosts_taken(wanted.inventory):
            campaign = find(wanted.results, wanted.experiment.name, wanted.plan(model))
            left = [run for run in runs if not campaign.is_done(run.run_id)]
            stage = _Stage(checkout, wanted, campaign, progress, opened, model)
            progress.begin(campaign.name, len(runs), len(runs) - len(left))
            with _journaled(stage):
                if deploy:
                    stage.play("condition.yml", "host_tools")
                    stage.play("deploy.yml")
                _run_all(stage, hosts, image, left)
            stage.gather()
            campaign.note("campaign_complete")
    finally:
        progress.end()
    return campaign


@contextmanager
def _journaled(stage: _Stage) -> Iterator[None]:
    """Write down what ends the campaign early."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stage.campaign.note("interrupted")
        raise InterruptedRunError(
            "interrupted", where=stage.campaign.name, mend="what is measured is kept; go on with --resume"
        ) from stop
    except SlicebedError as failure:
        stage.campaign.note("campaign_failed", error=str(failure))
        # The agents' logs say most when something went wrong; that they cannot be had must not hide why.
        with suppress(SlicebedError):
            stage.gather()
        raise


def _run_all(stage: _Stage, hosts: dict[str, InventoryHost], image: ImageFacts, left: Sequence[PlannedRun]) -> None:
    """Reach the agents and do the runs that are left, block by block."""
    with ExitStack() as stack:
        connections = {name: stack.enter_context(HostConnection(host)) for name, host in hosts.items()}
        placed = place_files(connections, _files(stage, left), stage.progress.say)
        for name, placement in placed.items():
            stage.campaign.note("model_placed", file=name, **asdict(placement))
        files = {name: asdict(placement) for name, placement in placed.items()}
        lasting = {
            "model": {**stage.model.to_plain(), "placement": files.pop(stage.opened.name)},
            "files": files,
            "git": source_version(stage.checkout.root),
            "versions": tool_versions(),
            "image": asdict(image),
            "hosts": {name: agent_facts(connection) for name, connection in connections.items()},
        }
        setting = driver.RunSetting(stage.wanted.experiment, connections, stage.campaign.name, stage.model)
        cast = _Cast(setting, read_inventory(stage.wanted.inventory), lasting)
        for configuration, block in groupby(left, key=lambda run: run.configuration):
            _run_block(stage, cast, configuration, tuple(block))


def _files(stage: _Stage, runs: Sequence[PlannedRun]) -> dict[RunFile, tuple[str, ...]]:
    """Which hosts need which files for these runs."""
    camera = stage.wanted.experiment.chain[0]
    layouts = [lay_out(run.placement, camera, stage.model.heads_of(run.cut)) for run in runs]
    return files_by_host(stage.opened, stage.model, layouts)


def _image_if_built(checkout: Checkout) -> ImageFacts | None:
    try:
        return read_image_facts(checkout)
    except MissingRequirementError:
        # Only a model that has to be frozen first needs it now, and says then what is missing.
        return None


def _hosts_of(wanted: Wanted) -> dict[str, InventoryHost]:
    """Give the hosts that frames pass; every link between them must be in the inventory.

    A configuration that is the testbed's own is set on all of the testbed's hosts.
    """
    experiment = wanted.experiment
    found = read_inventory(wanted.inventory)
    used = [host for placement in experiment.every_placement for host in placement.chain(experiment.chain[0])]
    whole = any(configuration.as_testbed for configuration in experiment.configurations)
    names = [name for name in experiment.testbed.host_names if whole or name in used]
    missing = [name for name in names if name not in found]
    if missing:
        raise SpecError(
            f"no host {missing[0]} in the inventory", where=str(wanted.inventory), mend=f"it has {', '.join(found)}"
        )
    for a, b in experiment.pairs:
        found[a].link_to(b)
    return {name: found[name] for name in names}


def _run_block(stage: _Stage, cast: _Cast, configuration: Configuration, block: Sequence[PlannedRun]) -> None:
    """Set the links' conditions, measure them, and do the runs that belong to them."""
    setting = cast.setting
    experiment = stage.wanted.experiment
    testbed = configuration.asked_of(experiment.testbed, experiment.pairs)
    hosts = {name: connection.host for name, connection in setting.connections.items()}
    target = Target(stage.checkout, testbed, stage.wanted.inventory, hosts, cast.neighbours, frozenset({"network"}))
    channels = {name: connection.channel for name, connection in setting.connections.items()}
    kept = kept_base_rtts(target)
    if target.uncompensated(kept):
        kept = base_rtts(Player(target, stage.progress.say))
    asked = target.asked(kept)
    outcomes = change_conditions(channels, asked)
    stage.campaign.note(
        "conditions_changed",
        configuration=configuration.name,
        writes={host: outcome["writes"] for host, outcome in outcomes.items()},
    )
    stage.progress.say(f"configuration {configuration.name}: measuring round trips")
    trips = trips_of(configuration, testbed, experiment.pairs)
    verdicts = probe_links(setting.connections, trips, PINGS)
    stage.campaign.note("links_measured", configuration=configuration.name, links=[v.to_plain() for v in verdicts])
    stage.progress.verdicts(configuration.name, verdicts)
    require_passed(verdicts)
    verification = verification_of(target, asked)
    for run in block:
        _run_one(stage, cast, run, _Links(trips, verdicts, verification))


def _run_one(stage: _Stage, cast: _Cast, run: PlannedRun, links: _Links) -> None:
    campaign, setting = stage.campaign, cast.setting
    connections, job = setting.connections, setting.job(run)
    folder = campaign.begin_run(run.run_id)
    started_at = now()
    manifest: dict[str, Any] = {
        "run": run.run_id,
        "campaign": campaign.name,
        "configuration": run.configuration.name,
        "placement": run.placement.name,
        "cut": list(run.cut.points),
        "repeat": run.repeat,
        "status": "failed",
        "started_at": started_at,
        "chain": list(job.chain),
        "stages": {each.host: [stage.name for stage in each.stages] for each in job.layout},
        "wire": "+".join(sorted({verdict.wire for verdict in links.verdicts})) or "none",
        "links": [verdict.to_plain() for verdict in links.verdicts],
        "verification": links.verification,
        "spec": stage.wanted.experiment.to_plain(),
        "frames_asked": run.frames,
        "frames": {},
        **cast.lasting,
    }
    try:
        manifest["slices"] = [asdict(each) for each in driver.prepare(connections, job)]
        stage.progress.run_begins(run)
        status = driver.stream(connections, job, stage.progress.frames)
        driver.finish(connections, job)
        missing = driver.collect(connections, job, folder)
        if missing:
            raise RunError("the agent left no samples", where=f"host {missing[0]}")
        _require_captured(setting, run, status.captured)
        after = probe_links(connections, links.trips, RECHECK)
        manifest["links_after"] = [verdict.to_plain() for verdict in after]
        require_passed(after)
        manifest["frames"] = {name: getattr(status, name) for name in ("captured", "completed", "dropped", "failed")}
        manifest["status"] = "complete"
        samples = write_samples(folder, manifest)
        manifest["summary"] = summarise(samples, read_accounts(folder, manifest), manifest)
        manifest["total_time_s"] = float((samples["captured_s"] + samples["latency_ms"] / 1000).max())
    except (SlicebedError, KeyboardInterrupt) as error:
        driver.abandon(connections, job)
        driver.collect(connections, job, folder)
        manifest["status"] = "failed"
        manifest["error"] = str(error) or "interrupted"
        with suppress(SlicebedError):
            # What the hosts left may itself be what is wrong; the error under way is the one to report.
            write_samples(folder, manifest)
        write_json(folder / "manifest.json", manifest)
        kept = campaign.fail_run(run.run_id)
        if isinstance(error, SlicebedError):
            error.mend = f"{error.mend}; partial samples: {kept}" if error.mend else f"partial samples: {kept}"
        raise
    manifest["ended_at"] = now()
    write_json(folder / "manifest.json", manifest)
    campaign.finish_run(run.run_id)
    for host in job.chain:
        connections[host].remove_samples(job.run_id)
    stage.progress.run_ends(run, manifest)


def _require_captured(setting: driver.RunSetting, run: PlannedRun, captured: int) -> None:
    """Refuse a camera that stopped early, unless its film was over."""
    source = setting.experiment.source
    if captured == run.frames or (source.loops and captured):
        return
    raise RunError(
        f"the camera stopped after {captured} of {run.frames} frames",
        where=f"host {setting.experiment.chain[0]}, stage source",
        mend="see its log: an agent that is stopped ends its camera",
    )
