"""From a wanted stream to a running one: model, hosts, agents and files in place, then the session until its end."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from slicebed.errors import InterruptedRunError, MissingRequirementError, SpecError
from slicebed.run.evidence import agent_facts, source_version, tool_versions
from slicebed.run.layout import lay_out
from slicebed.run.loans import put_back_limits
from slicebed.run.model_files import files_by_host, place_files
from slicebed.run.sliced_model import open_experiment
from slicebed.run.store import create_campaign
from slicebed.run.stream.agents import Agents
from slicebed.run.stream.desk import Desk, socket_path
from slicebed.run.stream.session import Session, Stage
from slicebed.run.stream.timeline import BEGINS, Timeline
from slicebed.run.taken import hosts_taken
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory
from slicebed.testbed.playbook import Playbook, run_playbook
from slicebed_agent.errors import OneLineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slicebed.run.sliced_model import SlicedModel
    from slicebed.run.store import Campaign
    from slicebed.run.stream.figures import StreamFigures
    from slicebed.run.stream.timeline import Event
    from slicebed.run.stream.wanted import WantedStream
    from slicebed.split.model import OpenedModel
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.image import ImageFacts
    from slicebed.testbed.inventory import InventoryHost

_OF_FRAMES: Final = frozenset({"frame", "end"})


class Watcher:
    """Hears of a stream and shows nothing; override what is of interest."""

    def say(self, text: str) -> None:
        """Something that takes a moment begins."""

    def event(self, event: Event) -> None:
        """Something happened to the stream."""

    def figures(self, figures: StreamFigures) -> None:
        """The agents were looked at; some times a second."""


@dataclass(frozen=True)
class Place:
    """Where a stream runs and where its results go.

    Attributes:
        checkout: where the playbooks are.
        inventory: of the hosts.
        results: folder of campaigns.
        deploy: make sure first that host tools and agents are there and running.
    """

    checkout: Checkout
    inventory: Path
    results: Path
    deploy: bool = True


def run_stream(wanted: WantedStream, place: Place, watcher: Watcher) -> Campaign:
    """Stream until Ctrl-C, ``--stop`` or the last of the asked frames; give the folder with what is kept.

    Raises:
        SpecError: the model lacks a split point, or the inventory a host or a link.
        AgentError: the model cannot be opened.
        MissingRequirementError: there is no agent image, or no such inventory.
        ConflictError: a campaign or another stream runs on these hosts.
        ProvisionError: a playbook or an SSH connection failed.
        RunError: an agent is not there or refuses, and nothing is kept; or an agent was lost too often, or the samples
            do not add up: what there is of them is kept, and the error says where.
        KeyboardInterrupt: Ctrl-C before the first frame; nothing is kept.
        InterruptedRunError: a second one, while the stream was being ended.
    """
    checkout = place.checkout
    built: ImageFacts | None = None
    with suppress(MissingRequirementError):
        # Only a model that has to be frozen first needs it already; where hosts need it, its absence is an error below.
        built = read_image_facts(checkout)
    opened, model = open_experiment(wanted.experiment, image=built, say=watcher.say)
    image = read_image_facts(checkout) if place.deploy else built
    inventory = read_inventory(place.inventory)
    hosts = _hosts_of(wanted, inventory, place.inventory)
    with hosts_taken(place.inventory, inventory) as share:
        campaign = create_campaign(place.results, f"stream-{opened.name}", _plan(wanted, model))

        def keep(event: Event) -> None:
            campaign.note(event.name, at_s=round(event.at_s, 3), **event.facts)
            watcher.event(event)

        timeline = Timeline(keep)
        with discarded_when_early(campaign, timeline):
            if place.deploy:
                _play("condition.yml", place, campaign, watcher, tags="host_tools")
            # Of a search that was killed.
            put_back_limits(hosts, campaign, watcher.say)
            if place.deploy:
                _play("deploy.yml", place, campaign, watcher)
            with Agents(hosts, wanted.chain) as agents:
                _place_files(agents, opened, model, wanted, watcher)
                lasting = {
                    "model": model.to_plain(),
                    "git": source_version(checkout.root),
                    "versions": tool_versions(),
                    "image": None if image is None else asdict(image),
                    "hosts": {name: agent_facts(connection) for name, connection in agents.connections.items()},
                }
                stage = Stage(wanted, opened, agents, hosts, campaign, timeline, lasting)
                session = Session(stage, model, watcher.figures)
                with Desk(socket_path(place.inventory), session.answer):
                    share()
                    session.run()
    return campaign


@contextmanager
def discarded_when_early(campaign: Campaign, timeline: Timeline) -> Iterator[None]:
    """Leave no folder behind when the stream fails, or Ctrl-C comes, before anything was measured.

    A folder that the error itself names (a playbook's record) stays, and so do samples: then the error says where.

    Raises:
        OneLineError: as it was raised inside.
        KeyboardInterrupt: it came so early.
        InterruptedRunError: it came later, while the stream was being ended.
    """
    try:
        yield
    except OneLineError as error:
        if _begun(timeline) or _measured(campaign):
            error.mend = "; ".join(filter(None, (error.mend, f"what there is of its samples: {campaign.folder}")))
        elif str(campaign.folder) not in str(error):
            campaign.discard()
        raise
    except KeyboardInterrupt as stop:
        if _begun(timeline):
            raise InterruptedRunError(
                "interrupted while it was being ended",
                where=campaign.name,
                mend="what there was of its samples is kept",
            ) from stop
        campaign.discard()
        raise


def _begun(timeline: Timeline) -> bool:
    return any(event.name == BEGINS for event in timeline.events())


def _measured(campaign: Campaign) -> bool:
    """Whether a host told of a frame; one whose agent was only prepared has lines of other kinds."""
    return any(_has_frames(spool) for spool in campaign.folder.glob("part*/hosts/*/samples*.jsonl"))


def _has_frames(spool: Path) -> bool:
    with spool.open(encoding="utf-8", errors="replace") as lines:
        # A killed agent's last line may be cut off.
        return any(json.loads(line)["kind"] in _OF_FRAMES for line in lines if line.endswith("}\n"))


def _play(name: str, place: Place, campaign: Campaign, watcher: Watcher, tags: str | None = None) -> None:
    playbook = Playbook(name, place.inventory, campaign.folder / "ansible" / name.removesuffix(".yml"), tags=tags)
    run_playbook(place.checkout, playbook, lambda task: watcher.say(f"{name}: {task}"))


def _plan(wanted: WantedStream, model: SlicedModel) -> dict[str, Any]:
    return {
        "experiment": wanted.experiment.name,
        "stream": True,
        "runs": [],
        "frames": wanted.frames,
        "spec": wanted.experiment.to_plain(),
        "model": model.to_plain(),
        "candidates": [cut.label for cut in wanted.candidates],
    }


def _hosts_of(wanted: WantedStream, found: dict[str, InventoryHost], inventory: Path) -> dict[str, InventoryHost]:
    """The inventory's hosts of the chain; every link of it must be there."""
    missing = [name for name in wanted.chain if name not in found]
    if missing:
        raise SpecError(
            f"no host {missing[0]} in the inventory", where=str(inventory), mend=f"it has {', '.join(found)}"
        )
    for a, b in wanted.placement.pairs(wanted.experiment.chain[0]):
        found[a].link_to(b)
    return {name: found[name] for name in wanted.chain}


def _place_files(
    agents: Agents, opened: OpenedModel, model: SlicedModel, wanted: WantedStream, watcher: Watcher
) -> None:
    layouts = [
        lay_out(wanted.placement, wanted.experiment.chain[0], model.heads_of(cut)) for cut in wanted.placement.cuts
    ]
    place_files(agents.connections, files_by_host(opened, model, layouts), watcher.say)
