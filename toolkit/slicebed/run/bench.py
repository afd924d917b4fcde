"""What `slicebed run` and `slicebed search` share: hosts reached, given a condition, checked; one run on them."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slicebed.errors import (
    InterruptedRunError,
    MissingRequirementError,
    RunError,
    SlicebedError,
    VerdictError,
)
from slicebed.run import driver
from slicebed.run.evidence import agent_facts, source_version, tool_versions, verification_of
from slicebed.run.layout import lay_out
from slicebed.run.model_files import files_by_host, place_files
from slicebed.run.probe import PINGS, RECHECK, probe_links, require_passed, trips_of
from slicebed.run.samples import read_accounts, write_samples
from slicebed.run.store import FAILED, INVALID, now, write_json
from slicebed.run.stream.agents import Agents
from slicebed.run.summary import summarise
from slicebed.testbed.apply import base_rtts, kept_base_rtts
from slicebed.testbed.conditions import Player
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory
from slicebed.testbed.sweep import change_conditions, require_limited, unshape
from slicebed.testbed.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed.run.connection import HostConnection
    from slicebed.run.probe import LinkVerdict, Trip
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.run.stage import Stage
    from slicebed.run.store import Campaign
    from slicebed.spec.experiment import Configuration, Experiment
    from slicebed.spec.order import PlannedRun
    from slicebed.split.model import OpenedModel
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.image import ImageFacts
    from slicebed.testbed.inventory import InventoryHost

NETWORK = frozenset({"network"})


@dataclass(frozen=True)
class Subject:
    """What is run: an experiment with its model, and what every manifest says of where it ran.

    Attributes:
        experiment: source, queues, codec, testbed.
        model: its own, looked up.
        lasting: the model's files, versions, hosts.
    """

    experiment: Experiment
    model: SlicedModel
    lasting: Mapping[str, Any]


@dataclass(frozen=True)
class Links:
    """What is asked of a condition's links, what was measured of them, and the last `slicebed verify` of them."""

    trips: Sequence[Trip]
    verdicts: Sequence[LinkVerdict]
    verification: dict[str, Any] | None


@dataclass(frozen=True)
class Bench:
    """The reached hosts of a stage.

    Attributes:
        stage: where runs play.
        agents: held connections to every host.
        neighbours: every host of the inventory.
        image: that the agents run.
        facts: what every agent says of itself, by host.
    """

    stage: Stage
    agents: Agents
    neighbours: Mapping[str, InventoryHost]
    image: ImageFacts
    facts: Mapping[str, Mapping[str, Any]]

    @property
    def connections(self) -> Mapping[str, HostConnection]:
        """By host; those of now."""
        return self.agents.connections

    def place(
        self, experiment: Experiment, opened: OpenedModel, model: SlicedModel, runs: Sequence[PlannedRun]
    ) -> Subject:
        """Bring the files that these runs need to the hosts that need them.

        Raises:
            RunError: a file did not come to a host.
        """
        layouts = [lay_out(run.placement, experiment.chain[0], model.heads_of(run.cut)) for run in runs]
        placed = place_files(self.connections, files_by_host(opened, model, layouts), self.stage.progress.say)
        for name, placement in placed.items():
            self.stage.campaign.note("model_placed", file=name, **asdict(placement))
        files = {name: asdict(placement) for name, placement in placed.items()}
        lasting = {
            "model": {**model.to_plain(), "placement": files.pop(opened.name)},
            "files": files,
            "git": source_version(self.stage.checkout.root),
            "versions": tool_versions(),
            "image": asdict(self.image),
            "hosts": self.facts,
        }
        return Subject(experiment, model, lasting)

    def set_conditions(
        self, experiment: Experiment, configuration: Configuration, parts: frozenset[str] = NETWORK
    ) -> Links:
        """Make hosts and links as a configuration asks, over the held channels, and measure the links.

        Limits of hosts are on loan to the campaign: whoever asks for them puts them back.

        Args:
            experiment: names testbed and links.
            configuration: one of its own.
            parts: which parts of the testbed to set.

        Raises:
            ProvisionError: a host refused, a host's limits hold for nothing, or a link gives no reply.
            VerdictError: a link's measured round trip is not the asked one.
        """
        stage, connections = self.stage, self.connections
        testbed = configuration.asked_of(experiment.testbed, experiment.pairs)
        hosts = {name: connection.host for name, connection in connections.items()}
        target = Target(stage.checkout, testbed, stage.inventory, hosts, self.neighbours, parts)
        channels = {name: each.channel for name, each in connections.items()}
        kept = kept_base_rtts(target)
        if target.uncompensated(kept):
            # What an earlier run left on the links would be measured with them.
            unshape(channels, target)
            kept = base_rtts(Player(target, stage.progress.say))
        asked = target.asked(kept)
        outcomes = change_conditions(channels, asked, stage.campaign.name)
        stage.campaign.note(
            "conditions_changed",
            configuration=configuration.name,
            writes={host: outcome["writes"] for host, outcome in outcomes.items()},
        )
        require_limited(channels, asked)
        stage.progress.say(f"configuration {configuration.name}: measuring round trips")
        trips = trips_of(configuration, testbed, experiment.pairs)
        verdicts = probe_links(connections, trips, PINGS)
        plain = [verdict.to_plain() for verdict in verdicts]
        stage.campaign.note("links_measured", configuration=configuration.name, links=plain)
        stage.progress.verdicts(configuration.name, verdicts)
        require_passed(verdicts)
        return Links(trips, verdicts, verification_of(target, asked))

    def run(
        self, subject: Subject, run: PlannedRun, links: Links, about: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Do one run into the campaign's folder; give its manifest.

        Args:
            subject: what is run.
            run: its place in the plan.
            links: as they were measured before.
            about: what the manifest says besides.

        Raises:
            RunError: the run failed; its samples are kept in a folder named .failed-N.
            VerdictError: a link is not as asked any more; they are kept in one named .invalid-N.
            KeyboardInterrupt: the run is kept as one that failed.
            OSError: so it is where something cannot be written, as far as it can be kept.
        """
        campaign, connections, begin = self.stage.campaign, self.connections, time.monotonic()
        job = driver.RunSetting(subject.experiment, connections, campaign.name, subject.model).job(run)
        folder = campaign.begin_run(run.run_id)
        manifest: dict[str, Any] = {
            "run": run.run_id,
            "campaign": campaign.name,
            "configuration": run.configuration.name,
            "placement": run.placement.name,
            "cut": list(run.cut.points),
            "repeat": run.repeat,
            "status": FAILED,
            "started_at": now(),
            "chain": list(job.chain),
            "stages": {each.host: [stage.name for stage in each.stages] for each in job.layout},
            "wire": "+".join(sorted({verdict.wire for verdict in links.verdicts})) or "none",
            "links": [verdict.to_plain() for verdict in links.verdicts],
            "verification": links.verification,
            "spec": subject.experiment.to_plain(),
            "frames_asked": run.frames,
            "frames": {},
            **subject.lasting,
            **(about or {}),
        }
        try:
            manifest["slices"] = [asdict(each) for each in driver.prepare(connections, job)]
            self.stage.progress.run_begins(run)
            status = driver.stream(connections, job, self.stage.progress.frames)
            driver.finish(connections, job)
            missing = driver.collect(connections, job, folder)
            if missing:
                raise RunError("the agent left no samples", where=f"host {missing[0]}")
            _require_captured(subject.experiment, run, status.captured)
            after = probe_links(connections, links.trips, RECHECK)
            manifest["links_after"] = [verdict.to_plain() for verdict in after]
            require_passed(after)
            manifest["frames"] = {
                name: getattr(status, name) for name in ("captured", "completed", "dropped", "failed")
            }
            manifest["status"] = "complete"
            samples = write_samples(folder, manifest)
            manifest["summary"] = summarise(samples, read_accounts(folder, manifest), manifest)
            manifest["total_time_s"] = float((samples["captured_s"] + samples["latency_ms"] / 1000).max())
            manifest["ended_at"] = now()
            # In the manifest, not the journal: it appears together with the run or not at all.
            manifest["testbed_s"] = time.monotonic() - begin
            write_json(folder / "manifest.json", manifest)
        except (SlicebedError, KeyboardInterrupt, OSError) as error:
            driver.abandon(connections, job)
            manifest["status"] = INVALID if isinstance(error, VerdictError) else FAILED
            manifest["error"] = str(error) or "interrupted"
            with suppress(SlicebedError, OSError):
                # What the hosts left may itself be what is wrong; the error under way is the one to report.
                driver.collect(connections, job, folder)
                write_samples(folder, manifest)
            with suppress(OSError):
                # What cannot be put aside now is when the run begins anew.
                write_json(folder / "manifest.json", manifest)
                kept = campaign.fail_run(run.run_id, manifest["status"])
                if isinstance(error, SlicebedError):
                    error.mend = f"{error.mend}; partial samples: {kept}" if error.mend else f"partial samples: {kept}"
            raise
        campaign.finish_run(run.run_id)
        for host in job.chain:
            connections[host].remove_samples(job.run_id)
        self.stage.progress.run_ends(run, manifest)
        return manifest


@contextmanager
def reached(stage: Stage, image: ImageFacts) -> Iterator[Bench]:
    """Hold connections to a stage's hosts and their agents for the `with` block.

    Raises:
        ProvisionError: no SSH connection to a host.
        RunError: an agent does not answer.
    """
    with Agents(stage.hosts, tuple(stage.hosts)) as agents:
        facts = {name: agent_facts(connection) for name, connection in agents.connections.items()}
        yield Bench(stage, agents, read_inventory(stage.inventory), image, facts)


@contextmanager
def journaled(campaign: Campaign, stages: Sequence[Stage]) -> Iterator[None]:
    """Write down what ends a campaign early.

    Raises:
        RunError: something cannot be written, or read, on this machine: its disk is full, say.
        InterruptedRunError: Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        _note_end(campaign, "interrupted")
        raise InterruptedRunError(
            "interrupted", where=campaign.name, mend="what is measured is kept; go on with --resume"
        ) from stop
    except OSError as error:
        # Of hosts, errors of Slicebed's own tell.
        failure = RunError(
            f"this machine: {error.strerror or error}",
            where=error.filename or str(campaign.folder),
            mend="mend that, then go on with --resume: what is measured is kept",
        )
        _end(campaign, stages, failure)
        raise failure from error
    except SlicebedError as failure:
        _end(campaign, stages, failure)
        raise


def _end(campaign: Campaign, stages: Sequence[Stage], failure: SlicebedError) -> None:
    _note_end(campaign, "campaign_failed", error=str(failure))
    # The agents' logs say most when something went wrong; that they cannot be had must not hide why.
    for stage in stages:
        with suppress(SlicebedError, OSError):
            stage.gather()


def _note_end(campaign: Campaign, event: str, **facts: str) -> None:
    # Of a full disk, the error under way tells.
    with suppress(OSError):
        campaign.note(event, **facts)


def image_if_built(checkout: Checkout) -> ImageFacts | None:
    """The agent image last built; None without one, which only a model that has to be frozen first is in want of."""
    try:
        return read_image_facts(checkout)
    except MissingRequirementError:
        return None


def _require_captured(experiment: Experiment, run: PlannedRun, captured: int) -> None:
    """Refuse a camera that stopped early, unless its film was over."""
    if captured == run.frames or (experiment.source.loops and captured):
        return
    raise RunError(
        f"the camera stopped after {captured} of {run.frames} frames",
        where=f"host {experiment.chain[0]}, stage source",
        mend="see its log: an agent that is stopped ends its camera",
    )
